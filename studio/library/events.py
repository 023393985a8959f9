"""What happens to a job, as it happens: numbered, replayed to whoever comes late, heard by any number."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Sequence

from studio.schema import FINAL, Event, Picture, Preview, Progress


class Live:
    """Events of one job, numbered upwards, also across restarts (they start from the clock).

    `last`: a number that may have been given before, `told`: the events that are still known of that time.
    Of Progress, and of the Previews of one picture, only the newest is kept: who listens slowly skips some.
    """

    def __init__(self, last: int = 0, told: Sequence[tuple[int, Event]] = ()) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.events: list[tuple[int, Event]] = list(told)
        self.progress = 0.0
        self.eta: float | None = None
        self.ended = False
        self.number = max([last, *(number for number, _ in told)])

    def next_number(self) -> int:
        return max(self.number + 1, int(time.time() * 1000))

    def publish(self, event: Event, number: int | None = None) -> None:
        with self.changed:
            if self.ended:
                return
            self.number = self.next_number() if number is None else number
            if isinstance(event, Progress):
                self.progress, self.eta = event.step / max(event.of, 1), event.eta
            self.ended = isinstance(event, FINAL)
            kept = [(number, old) for number, old in self.events if not self._outdated(old, event)]
            self.events = [*kept, (self.number, event)]
            self.changed.notify_all()

    def _outdated(self, old: Event, new: Event) -> bool:
        if isinstance(old, Progress):
            return isinstance(new, Progress)
        if isinstance(old, Preview):
            return self.ended or (isinstance(new, (Preview, Picture)) and new.index == old.index)
        return False

    def has_ended(self) -> bool:
        return self.ended

    def follow(self, after: int) -> Generator[tuple[int, Event]]:
        while True:
            with self.changed:
                fresh, ended = self._after(after), self.ended
                while not fresh and not ended:
                    self.changed.wait()
                    fresh, ended = self._after(after), self.ended
            for number, event in fresh:
                after = number
                yield number, event
            if ended:
                return

    def _after(self, after: int) -> list[tuple[int, Event]]:
        return [(number, event) for number, event in self.events if number > after]
