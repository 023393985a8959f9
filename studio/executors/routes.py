"""From one stream of (run, event) to a generator for each run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from queue import SimpleQueue
from typing import Any

from studio.errors import EngineError, StudioError
from studio.schema import FINAL, Event, Failed


class Routes:
    """`deliver` and `end` are called by who reads the worker, `follow` by the threads that run requests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[str, SimpleQueue[Event | StudioError]] = {}
        self._ended: StudioError | None = None

    def deliver(self, run: str, event: Event) -> None:
        with self._lock:
            queue = self._queues.get(run)
        if queue is not None:
            queue.put(event)

    def busy(self) -> bool:
        """True while somebody follows a run."""
        with self._lock:
            return bool(self._queues)

    def end(self, error: StudioError) -> None:
        """Every run, now and later, raises `error`. The first call counts."""
        with self._lock:
            if self._ended is None:
                self._ended = error
            for queue in self._queues.values():
                queue.put(self._ended)

    def follow(self, run: str, submit: Callable[[], None], cancel: Callable[[], None]) -> Generator[Event]:
        """Events of a run up to its last one. `cancel` is called if the generator is closed before."""
        queue: SimpleQueue[Event | StudioError] = SimpleQueue()
        with self._lock:
            if self._ended is not None:
                raise self._ended
            self._queues[run] = queue
        over = False
        try:
            submit()
            while not over:
                event = queue.get()
                over = isinstance(event, (StudioError, *FINAL))
                if isinstance(event, StudioError):
                    raise event
                if isinstance(event, Failed):
                    raise error_of(event.error)
                yield event
        finally:
            with self._lock:
                del self._queues[run]
            if not over:
                cancel()


def error_of(told: Mapping[str, Any]) -> StudioError:
    """The exception that a worker told as a dict: of the class its code belongs to."""
    kinds = {kind.code: kind for kind in _all_kinds(StudioError)}
    kind = kinds.get(told["code"], EngineError)
    return kind(told["message"], hint=told["hint"], field=told["field"], code=told["code"])


def _all_kinds(kind: type[StudioError]) -> Iterator[type[StudioError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _all_kinds(child)
