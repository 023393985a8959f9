"""The engine in a process of its own: the page never imports torch, and survives whatever the worker does."""

from __future__ import annotations

import logging
import multiprocessing
import threading
import time
import uuid
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection

import psutil

from studio.errors import NotReady, StudioError, WorkerCrashed
from studio.executors.routes import Routes
from studio.executors.worker import Answer, Cancel, Command, Learn, Submit, work
from studio.schema import Event, ResolvedRequest, WorkerStatus
from studio.settings import Settings

log = logging.getLogger(__name__)

PATIENCE = 1.0  # s between asking a worker to end and making it
LOOK = 1.0  # s between looks at a silent worker
AT_WORK = 0.02  # share of a core: a silent worker that uses more reads a model or is in a very long step
AT_MOST = 10  # times the patience, at work or not
LONGEST_PAUSE = 30.0  # s between two starts of a worker that dies each time before its model is in memory


class LocalExecutor:
    """One worker process, started again whenever it dies; its runs get WorkerCrashed then."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._changed = threading.Condition()
        self._worker: _Worker | None = None
        self._closed = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="worker-keeper", daemon=True)

    def start(self) -> None:
        self._keeper.start()

    def ready(self) -> bool:
        return self.status().ready

    def status(self) -> WorkerStatus:
        worker = self._worker
        return worker.status if worker is not None else WorkerStatus(ready=False)

    def run(self, request: ResolvedRequest, inputs: Mapping[str, bytes]) -> Generator[Event]:
        with self._changed:
            self._changed.wait_for(lambda: self._closed.is_set() or self._living() is not None)
            worker = self._living()
        if worker is None or self._closed.is_set():
            raise _stopping()
        yield from worker.run(request, inputs)

    def train(self, training: str) -> Iterator[Event]:
        with self._changed:
            self._changed.wait_for(lambda: self._closed.is_set() or self._living() is not None)
            worker = self._living()
        if worker is None or self._closed.is_set():
            raise _stopping()
        yield from worker.train(training)

    def _living(self) -> _Worker | None:
        return None if self._worker is None or self._worker.over.is_set() else self._worker

    def close(self) -> None:
        with self._changed:
            self._closed.set()
            self._changed.notify_all()
            worker = self._worker
        if worker is not None:
            worker.stop()
        if self._keeper.is_alive():
            self._keeper.join(PATIENCE)
        if worker is not None and self._keeper.is_alive():
            worker.kill()
            self._keeper.join(PATIENCE / 2)

    def _keep(self) -> None:
        """Starts workers, one after the other, and reads what the living one says."""
        pause = 0.0
        while not self._closed.wait(pause):
            pause = min(LONGEST_PAUSE, 2 * pause + 1)
            try:
                worker = _Worker(self._settings)
            except OSError:  # no memory or no process left: later there may be
                log.exception("no worker could be started")
                continue
            with self._changed:
                self._worker = worker
                self._changed.notify_all()
            if self._closed.is_set():  # while the process was being started
                worker.stop()
            worker.read()
            if not self._closed.is_set():
                log.error("the worker process %s", worker.end)
            if worker.was_ready:  # only one that dies at each start has to wait
                pause = 0.0


class _Worker:
    """A process, the pipe to it, and the runs it holds."""

    def __init__(self, settings: Settings) -> None:
        context = multiprocessing.get_context("spawn")
        self._routes = Routes()
        self._sending = threading.Lock()
        self.status = WorkerStatus(ready=False)
        self.was_ready = False
        self.over = threading.Event()
        self._patience = settings.hang
        self._pipe: Connection[Command, Answer]
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=work, args=(settings, theirs), name="studio-worker", daemon=True
        )
        self._process.start()
        self._meter = psutil.Process(self._process.pid)
        theirs.close()  # or its end would never be seen from here
        self._heard, self._used, self._spoke = time.monotonic(), 0.0, False

    def run(self, request: ResolvedRequest, inputs: Mapping[str, bytes]) -> Generator[Event]:
        run = uuid.uuid4().hex
        return self._routes.follow(
            run,
            submit=lambda: self._send(Submit(run, request, dict(inputs))),
            cancel=lambda: self._send(Cancel(run)),
        )

    def train(self, training: str) -> Iterator[Event]:
        run = uuid.uuid4().hex
        return self._routes.follow(
            run,
            submit=lambda: self._send(Learn(run, training)),
            cancel=lambda: self._send(Cancel(run)),
        )

    def read(self) -> None:
        """Returns when the process has ended."""
        try:
            while not self._hangs():
                if self._pipe.poll(LOOK):
                    self._take(self._pipe.recv())
                    self._spoke = True
                    self._note()
        except (EOFError, OSError):
            self._process.join(PATIENCE)
        except Exception:
            log.exception("an answer of the worker could not be read")
        self._process.kill()
        self._process.join()
        self.status = WorkerStatus(ready=False)
        self._routes.end(self._obituary())
        self.over.set()
        with self._sending:
            self._pipe.close()

    def _note(self) -> None:
        """It gave a sign of life, or has nothing to do."""
        self._heard, self._used = time.monotonic(), self._cpu_seconds()

    def _hangs(self) -> bool:
        """True when it holds runs, says nothing for too long, and does not even compute."""
        silent = time.monotonic() - self._heard
        if silent < self._patience:
            return False
        if not (self._spoke and self._routes.busy()):  # a start takes as long as it takes
            self._note()
            return False
        at_work = self._cpu_seconds() - self._used > silent * AT_WORK
        if at_work and silent < AT_MOST * self._patience:
            return False
        log.error("the worker said nothing for %.0f s while it held runs; it is ended", silent)
        return True

    def _cpu_seconds(self) -> float:
        with suppress(psutil.Error):
            times = self._meter.cpu_times()
            return float(times.user + times.system)
        return 0.0

    def stop(self) -> None:
        """The worker keeps nothing, so it need not finish anything. `read` returns by this."""
        self._routes.end(_stopping())
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def _take(self, answer: Answer) -> None:
        if isinstance(answer, WorkerStatus):
            self.status = answer
            self.was_ready |= answer.ready
        else:
            self._routes.deliver(*answer)

    def _send(self, command: Command) -> None:
        """To a worker that is gone, nothing is sent: `read` tells its runs."""
        try:
            with self._sending:
                self._pipe.send(command)
        except OSError:
            log.debug("the worker is gone")

    @property
    def end(self) -> str:
        code = self._process.exitcode or 0
        return f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"

    def _obituary(self) -> StudioError:
        return WorkerCrashed(
            f"The worker process {self.end} while it held this run.",
            hint="It is being started again: generate again. If it happens again, ask for a smaller picture.",
        )


def _stopping() -> StudioError:
    return NotReady("The studio is stopping.", hint="Start it again and generate again.")
