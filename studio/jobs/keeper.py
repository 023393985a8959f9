"""Looks after the queue beside the runners: signs of life, jobs whose process died, a disk that was full."""

from __future__ import annotations

import fcntl
import json
import logging
import threading
import time
from typing import IO, TYPE_CHECKING, Any

from studio.errors import DiskLow, WorkerCrashed
from studio.jobs.queue import LEASE, Queue
from studio.library import Database, Library
from studio.library.events import Live
from studio.settings import Settings

if TYPE_CHECKING:
    from studio.jobs.jobs import Jobs

log = logging.getLogger(__name__)

TICK = 1.0  # s between looks
DAY = 24 * 3600.0


class Keeper:
    """One of the processes that share a home keeps its queue: it alone takes over what others left."""

    def __init__(
        self, settings: Settings, database: Database, library: Library, queue: Queue, jobs: Jobs
    ) -> None:
        self._settings, self._database, self._library = settings, database, library
        self._queue, self._jobs = queue, jobs
        self._lock: IO[str]
        self._writers: IO[str]
        self._keeps = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="job-keeper", daemon=True)

    def start(self) -> None:
        self._lock = (self._settings.home / "queue.lock").open("w")
        self._writers = (self._settings.home / "writers.lock").open("w")
        self._queue.lives = True
        self._reconcile()
        if self._try_to_keep():
            self._adopt(self._queue.keep())
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(TICK * 2)
            self._lock.close()
            self._writers.close()

    def _try_to_keep(self) -> bool:
        self._keeps = _is_free(self._lock)
        return self._keeps

    def _reconcile(self) -> None:
        """Only while no other process writes: its half-written picture would look like one left behind."""
        if _is_free(self._writers):
            self._library.reconcile()
        fcntl.flock(self._writers, fcntl.LOCK_SH)

    def _adopt(self, dead: str | None) -> None:
        crashed = WorkerCrashed("The studio stopped twice while this job ran.", hint="Try it again.")
        rows = self._queue.adopt(dead, json.dumps(crashed.as_dict()), Live().next_number())
        if rows:
            log.info("%d jobs go on", len(rows))
        self._jobs.adopted(list(rows))

    def _watch(self) -> None:
        last = time.monotonic()
        was_full = False
        while not self._closed.wait(TICK):
            try:
                full = self._library.disk.is_full()
                if was_full and not full:
                    log.warning("the disk has room again: the queue goes on")
                    self._jobs.call_runners()
                was_full = full
                if not full:
                    self._jobs.settle()
                if time.monotonic() - last > LEASE / 3:
                    last = time.monotonic()
                    self._look_around()
            except DiskLow as error:
                log.warning("the queue is not looked after: %s", error.message)
            except Exception:  # the database's server, say: the next look may go well
                log.exception("the queue could not be looked after")

    def _look_around(self) -> None:
        self._queue.renew(self._jobs.told())
        if self._keeps:
            self._adopt(None)
        elif self._try_to_keep():
            self._adopt(self._queue.keep())
        if self._keeps:
            self._database.back_up_daily(DAY)


def _is_free(lock: IO[Any]) -> bool:
    """True where this process holds `lock` alone from now on."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
