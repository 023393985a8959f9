"""The engine in this process, on a thread of its own: for tests, the command line and debugging."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING

from studio.errors import NotReady, StudioError, WorkerCrashed
from studio.executors.routes import Routes
from studio.executors.workbench import Workbench
from studio.schema import Event, ResolvedRequest, WorkerStatus
from studio.settings import Settings

if TYPE_CHECKING:
    from studio.models import Models

log = logging.getLogger(__name__)


class InlineExecutor:
    def __init__(self, settings: Settings, models: Models) -> None:
        self._settings, self._models = settings, models
        self._routes = Routes()
        self._engine: Workbench | None = None
        self._there = threading.Event()  # the engine is, or never will be
        self._work = threading.Event()
        self._stopping = False
        self._status = WorkerStatus(ready=False)
        self._thread = threading.Thread(target=self._serve, name="engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ready(self) -> bool:
        return self._status.ready

    def status(self) -> WorkerStatus:
        return self._status

    def run(self, request: ResolvedRequest, inputs: Mapping[str, bytes]) -> Generator[Event]:
        run = uuid.uuid4().hex

        def submit() -> None:
            self._there.wait()
            if self._engine is not None:
                self._engine.submit(run, request, inputs)
                self._work.set()

        def cancel() -> None:
            if self._engine is not None:
                self._engine.cancel(run)
                self._work.set()

        return self._routes.follow(run, submit, cancel)

    def train(self, training: str) -> Iterator[Event]:
        run = uuid.uuid4().hex

        def begin() -> None:
            self._there.wait()
            if self._engine is not None:
                self._engine.learn(run, training)
                self._work.set()

        def pause() -> None:
            if self._engine is not None:
                self._engine.cancel(run)
                self._work.set()

        return self._routes.follow(run, begin, pause)

    def close(self) -> None:
        self._stopping = True
        self._work.set()
        self._routes.end(NotReady("The studio is stopping.", hint="Start it again and generate again."))
        if self._thread.is_alive():
            self._thread.join(timeout=2)

    def _serve(self) -> None:
        try:
            self._engine = self._make()
            self._there.set()
            while not self._stopping:
                self._turn(self._engine)
            self._engine.close()
        except Exception:
            log.exception("the engine stopped")
            error = WorkerCrashed("The engine stopped.", hint="Start the studio again; its log says why.")
            self._routes.end(error)
        finally:
            self._there.set()
            self._status = WorkerStatus(ready=False)

    def _make(self) -> Workbench:
        from studio.engine import Engine  # torch: only where it is needed

        engine = Engine(self._settings, self._models)
        try:
            engine.load(self._settings.model)
        except StudioError as error:
            log.error("%s is not loaded: %s", self._settings.model, error.message)
        self._status = engine.status()
        return Workbench(engine, self._settings, self._models)

    def _turn(self, engine: Workbench) -> None:
        for run, event in engine.tick():
            self._routes.deliver(run, event)
        if engine.idle():
            self._status = engine.status()
            self._work.wait()
        self._work.clear()
