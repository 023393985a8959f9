"""Trainings beside pictures on one device: pictures go first, and a training is never left out for long."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from studio.schema import Cancelled, Event, Failed, ResolvedRequest, WorkerStatus
from studio.settings import Settings
from studio.training.plan import Places
from studio.training.runs import Run

if TYPE_CHECKING:
    from studio.engine import Engine
    from studio.models import Models

SHARE = 2.0  # s of pictures after which a training gets a step although more pictures wait

Turns = Generator[Event | None, None, None]


class Workbench:
    """An engine and the trainings that share its device; to its callers an engine.

    `submit`, `learn` and `cancel` may be called from any thread, all else from the one that calls `tick`.
    """

    def __init__(self, engine: Engine, settings: Settings, models: Models) -> None:
        self.engine = engine
        self._settings, self._models = settings, models
        self._coming: list[tuple[str, str]] = []
        self._lessons: dict[str, Turns] = {}
        self._left: list[str] = []
        self._last = time.monotonic()

    def submit(self, run: str, request: ResolvedRequest, inputs: Mapping[str, bytes]) -> None:
        self.engine.submit(run, request, inputs)

    def learn(self, run: str, training: str) -> None:
        """Begins or goes on with a training by the id of its folder."""
        self._coming.append((run, training))

    def cancel(self, run: str) -> None:
        """Of a training: it pauses, with all that it learned on disk."""
        self._left.append(run)
        self.engine.cancel(run)

    def idle(self) -> bool:
        return self.engine.idle() and not (self._lessons or self._coming or self._left)

    def status(self) -> WorkerStatus:
        return self.engine.status()

    def close(self) -> None:
        for lesson in self._lessons.values():
            lesson.close()
        self.engine.close()

    def tick(self) -> list[tuple[str, Event]]:
        """A step of pictures; of training where none wait, or too when training waited SHARE seconds."""
        while self._coming:
            run, training = self._coming.pop(0)
            self._lessons[run] = self._begin(training)
        events: list[tuple[str, Event]] = []
        while self._left:
            events += self._leave(self._left.pop())
        busy = not self.engine.idle()
        if busy or not self._lessons:
            events += self.engine.tick()
        if self._lessons and (not busy or time.monotonic() - self._last > SHARE):
            run = next(iter(self._lessons))
            events += [(run, event) for event in self._step(run)]
            self._last = time.monotonic()
        return events

    def _begin(self, training: str) -> Turns:
        from studio.executors.lessons import turns_of  # peft: only where something is trained

        folder = Places(self._settings.home).runs / training
        return turns_of(Run(folder), self._settings, self._models)

    def _leave(self, run: str) -> Iterator[tuple[str, Event]]:
        lesson = self._lessons.pop(run, None)
        if lesson is not None:
            fault = self._guarded(lesson.close)
            yield run, Cancelled() if fault is None else fault

    def _step(self, run: str) -> Iterator[Event]:
        told: list[Event | None] = []
        try:
            fault = self._guarded(lambda: told.append(next(self._lessons[run])))
        except StopIteration:
            del self._lessons[run]
            return
        if fault is not None:
            del self._lessons[run]
            told = [fault]
        yield from (event for event in told if event is not None)

    def _guarded(self, work: Any) -> Failed | None:
        try:
            work()
        except StopIteration:
            raise
        except Exception as error:
            from studio.executors.lessons import explained

            return Failed(explained(error).as_dict())
        return None
