"""What happens to a job, as it happens: numbered, replayed to whoever comes late, heard by any number."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from studio.schema import FINAL, Event, Picture, Preview, Progress


class Live:
    """Events of one job, numbered upwards, also across restarts (they start from the clock).

    Of Progress, and of the Previews of one picture, only the newest is kept: who listens slowly skips some.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.events: list[tuple[int, Event]] = []
        self.progress = 0.0
        self.ended = False
        self._number = 0

    def next_number(self) -> int:
        return max(self._number + 1, int(time.time() * 1000))

    def publish(self, event: Event, number: int | None = None) -> None:
        with self.changed:
            if self.ended:
                return
            self._number = self.next_number() if number is None else number
            if isinstance(event, Progress):
                self.progress = event.step / max(event.of, 1)
            self.ended = isinstance(event, FINAL)
            kept = [(number, old) for number, old in self.events if not self._outdated(old, event)]
            self.events = [*kept, (self._number, event)]
            self.changed.notify_all()

    def _outdated(self, old: Event, new: Event) -> bool:
        if isinstance(old, Progress):
            return isinstance(new, Progress)
        if isinstance(old, Preview):
            return self.ended or (isinstance(new, (Preview, Picture)) and new.index == old.index)
        return False

    def has_ended(self) -> bool:
        return self.ended

    def follow(self, after: int) -> Iterator[tuple[int, Event]]:
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
