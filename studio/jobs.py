"""The queue: a job is a committed row before anybody hears of it, and ends in exactly one way.

Rows are the truth; a `Live` is what the running process adds to one.
"""

from __future__ import annotations

import fcntl
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Row, func, insert, select, update

from studio.errors import Conflict, NotFound, NotReady, QueueFull, StudioError, WorkerCrashed
from studio.executors import Executor
from studio.library import Database, Library, is_id, new_id
from studio.library.events import Live
from studio.library.tables import jobs
from studio.schema import (
    Cancelled,
    Done,
    Event,
    Failed,
    ImageRow,
    JobView,
    Picture,
    Queued,
    Rendered,
    ResolvedRequest,
    State,
)
from studio.settings import Settings

log = logging.getLogger(__name__)

ATTEMPTS = 2  # of a job whose worker died: one that kills every worker must not stop the queue
KEPT = 256  # ended jobs whose events stay in memory; older ones are told from their rows
PATIENCE = 3.0  # s that closing waits for runners, which look up at each event
POLL = 0.5  # s between looks at a job that another process runs
OPEN = ("queued", "running")

Stamp = Callable[[bytes, ResolvedRequest, int], bytes]  # PNG, request, seed -> file with its settings in it
Inputs = Callable[[ResolvedRequest], Mapping[str, bytes]]


class Jobs:
    """`stamp` makes a rendered PNG the file that is kept; `inputs` fetches the pictures a request names."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        library: Library,
        executor: Executor,
        stamp: Stamp,
        inputs: Inputs,
    ) -> None:
        self._settings, self._database, self._library = settings, database, library
        self._executor, self._stamp, self._inputs = executor, stamp, inputs
        self._me = secrets.token_hex(8)
        self._alive: dict[str, Live] = {}
        self._wake = threading.Condition()
        self._waiting = 0  # queued rows that no runner was woken for yet
        self._stopping = False
        self._runners: list[threading.Thread] = []
        self._lock: Any = None

    def start(self) -> None:
        """Takes over what an earlier process left, unless another living one keeps this home's queue.

        A library that can only be read runs nothing.
        """
        if self._database.notice:
            return
        if self._keep(self._settings.home / "queue.lock"):
            self._library.reconcile()
            self._adopt()
        for number in range(self._settings.rows):
            runner = threading.Thread(target=self._serve, name=f"job-{number}", daemon=True)
            runner.start()
            self._runners.append(runner)

    def close(self) -> None:
        """Running jobs go back to the queue at their next event; call before the executor is closed."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        until = time.monotonic() + PATIENCE
        for runner in self._runners:
            runner.join(timeout=max(0.0, until - time.monotonic()))
        if self._lock is not None:
            self._lock.close()

    def _keep(self, file: Path) -> bool:
        self._lock = file.open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _adopt(self) -> None:
        crashed = WorkerCrashed(
            f"The studio stopped {ATTEMPTS} times while this job ran.", hint="Try it again."
        )
        mine = {"owner": self._me}
        with self._database.write() as connection:
            worn = (jobs.c.state == "running") & (jobs.c.attempts >= ATTEMPTS)
            error = json.dumps(crashed.as_dict())
            failed = {"state": "failed", "error": error, "last_event": Live().next_number()}
            connection.execute(update(jobs).where(worn).values(failed | mine))
            again = {"state": "queued"} | mine
            connection.execute(update(jobs).where(jobs.c.state.in_(OPEN)).values(again))
            ids = list(connection.scalars(select(jobs.c.id).where(jobs.c.state == "queued")))
        for position, id in enumerate(ids):
            self._live(id).publish(Queued(position))
        self._call_runners(len(ids))

    def _call_runners(self, count: int) -> None:
        with self._wake:
            self._waiting += count
            self._wake.notify(count)

    def _serve(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._stopping or self._waiting > 0)
                if self._stopping:
                    return
                self._waiting -= 1
            try:
                row = self._claim()
                if row is not None:
                    self._run(row)
            except Exception:  # a full disk, say: the other jobs must still find a runner
                log.exception("a job could not be brought to an end")

    def _claim(self) -> Row[Any] | None:
        oldest = (
            select(jobs).where(jobs.c.state == "queued", jobs.c.owner == self._me).order_by(jobs.c.number)
        )
        with self._database.write() as connection:
            row = connection.execute(oldest.limit(1)).first()
            if row is not None:
                running = {"state": "running", "attempts": row.attempts + 1}
                connection.execute(update(jobs).where(jobs.c.id == row.id).values(running))
        return row

    def _run(self, row: Row[Any]) -> None:
        live, begun = self._live(row.id), time.monotonic()
        request = ResolvedRequest.model_validate_json(row.request)
        error: StudioError
        try:
            run = self._executor.run(request, self._inputs(request))
            with closing(cast("Generator[Event]", run)) as events:
                for event in events:
                    if live.ended:  # cancelled; leaving the block closes the generator within one step
                        return
                    if self._stopping:
                        return self._requeue(row, attempts=row.attempts)
                    if self._take(row.id, live, request, event, begun):
                        return
            error = WorkerCrashed("The run ended without a result.", hint="Try it again.")
        except StudioError as said:
            error = said
        except OSError as fault:
            log.exception("job %s could not be stored", row.id)
            error = StudioError(
                f"The picture could not be stored: {fault.strerror or 'unknown fault'}.",
                hint="Check the free space of the disk that holds the library.",
                code="storage",
            )
        except Exception:
            log.exception("job %s failed", row.id)
            error = StudioError("The job failed in a way nobody foresaw; the log has it.", code="internal")
        if isinstance(error, (WorkerCrashed, NotReady)) and self._stopping:
            return self._requeue(row, attempts=row.attempts)
        if isinstance(error, WorkerCrashed) and row.attempts + 1 < ATTEMPTS:
            return self._requeue(row, attempts=row.attempts + 1)
        self._end(row.id, live, "failed", Failed(error.as_dict()), time.monotonic() - begun)

    def _take(self, id: str, live: Live, request: ResolvedRequest, event: Event, begun: float) -> bool:
        """True when `event` was the job's last."""
        if isinstance(event, Rendered):
            self._keep_picture(id, live, request, event)
        elif isinstance(event, Done):
            return self._end(id, live, "completed", event, event.seconds)
        elif isinstance(event, Failed):
            return self._end(id, live, "failed", event, time.monotonic() - begun)
        else:
            live.publish(event)
        return False

    def _keep_picture(self, id: str, live: Live, request: ResolvedRequest, event: Rendered) -> None:
        data = self._stamp(event.data, request, event.seed)
        with live.changed:  # a cancel that was answered must not be followed by another picture
            if live.ended:
                return
            row = self._library.add(id, request, event, data)
            if row is not None:
                live.publish(Picture(row.id, row.index, row.seed, row.width, row.height, row.seconds))

    def _end(self, id: str, live: Live, state: State, event: Event, seconds: float) -> bool:
        """True. The row first, then the event: whoever hears of the end finds it in the row."""
        with live.changed:
            if not live.ended:
                number = live.next_number()
                last: dict[str, Any] = {"state": state, "seconds": seconds, "last_event": number}
                if isinstance(event, Failed):
                    last["error"] = json.dumps(dict(event.error))
                with self._database.write() as connection:
                    connection.execute(
                        update(jobs).where(jobs.c.id == id, jobs.c.state.in_(OPEN)).values(last)
                    )
                live.publish(event, number)
        self._forget()
        return True

    def _requeue(self, row: Row[Any], attempts: int) -> None:
        with self._database.write() as connection:
            again = {"state": "queued", "attempts": attempts}
            mine = (jobs.c.id == row.id) & (jobs.c.state == "running")
            done = connection.execute(update(jobs).where(mine).values(again))
        self._call_runners(done.rowcount)

    def _forget(self) -> None:
        with self._wake:
            ended = [id for id, live in self._alive.items() if live.ended]
            for id in ended[: max(0, len(ended) - KEPT)]:
                del self._alive[id]

    def _live(self, id: str) -> Live:
        with self._wake:
            return self._alive.setdefault(id, Live())

    def submit(self, request: ResolvedRequest) -> JobView:
        """Committed when it returns. Raises QueueFull."""
        id, live = new_id(), Live()
        created = time.time()
        row = {"id": id, "state": "queued", "owner": self._me, "created": created}
        row["request"] = request.model_dump_json()
        with self._database.write() as connection:
            ahead = connection.scalar(select(func.count()).where(jobs.c.state == "queued")) or 0
            if ahead >= self._settings.queue:
                raise QueueFull(
                    f"{ahead} jobs are waiting; the queue holds {self._settings.queue}.",
                    hint=f"Try again in {QueueFull.retry_after} s.",
                )
            connection.execute(insert(jobs).values(row))
        with self._wake:
            self._alive[id] = live
        live.publish(Queued(ahead))
        self._call_runners(1)
        return JobView(id, "queued", 0.0, request, (), None, created, 0.0)

    def get(self, id: str) -> JobView:
        """Raises NotFound (`job_not_found`)."""
        return self._view(self._row(id), self._library.of_jobs([id])[id])

    def recent(self, limit: int) -> list[JobView]:
        """Newest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(jobs).order_by(jobs.c.number.desc()).limit(max(1, limit))).all()
        pictures = self._library.of_jobs([row.id for row in rows])
        return [self._view(row, pictures[row.id]) for row in rows]

    def counts(self) -> tuple[int, int]:
        """(queued, running)."""
        found = self.by_state()
        return found.get("queued", 0), found.get("running", 0)

    def by_state(self) -> dict[State, int]:
        """Every job there ever was; states that none has are left out."""
        query = select(jobs.c.state, func.count()).group_by(jobs.c.state)
        with self._database.read() as connection:
            return {state: int(count) for state, count in connection.execute(query)}

    def events(self, id: str, after: int) -> Iterator[tuple[int, Event]]:
        """Those after event number `after`, then what comes, up to the final one, which comes once."""
        row = self._row(id)
        live = self._alive.get(id)
        return live.follow(after) if live is not None else self._told_from_row(row, after)

    def wait(self, id: str, timeout: float | None) -> JobView:
        """The job once it has ended, or as it stands after `timeout` s."""
        until = None if timeout is None else time.monotonic() + timeout
        view = self.get(id)
        while not view.final and (until is None or time.monotonic() < until):
            live = self._alive.get(id)
            if live is None:
                time.sleep(POLL)
            else:
                with live.changed:
                    left = None if until is None else until - time.monotonic()
                    live.changed.wait_for(live.has_ended, left)
            view = self.get(id)
        return view

    def cancel(self, id: str) -> JobView:
        """Ended when it returns; the work stops within a step, finished pictures stay. Raises Conflict."""
        if self._row(id).state in OPEN:
            self._end(id, self._live(id), "cancelled", Cancelled(), 0.0)
        view = self.get(id)
        if view.state != "cancelled":
            raise Conflict(
                f"The job is {view.state} already.", hint="Only a job that has not ended can be cancelled."
            )
        return view

    def _told_from_row(self, row: Row[Any], after: int) -> Iterator[tuple[int, Event]]:
        while row.state in OPEN:  # another process runs it
            time.sleep(POLL)
            row = self._row(row.id)
        if after >= row.last_event:
            return
        pictures = self._library.of_jobs([row.id])[row.id]
        for number, one in enumerate(pictures, start=row.last_event - len(pictures)):
            if number > after:
                yield number, Picture(one.id, one.index, one.seed, one.width, one.height, one.seconds)
        endings: Mapping[str, Event] = {
            "completed": Done(row.seconds),
            "cancelled": Cancelled(),
            "failed": Failed(json.loads(row.error or "{}")),
        }
        yield row.last_event, endings[row.state]

    def _row(self, id: str) -> Row[Any]:
        with self._database.read() as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == (id if is_id(id) else ""))).first()
        if row is None:
            raise NotFound(
                "No such job.", hint="A job's id is what submitting it answered.", code="job_not_found"
            )
        return row

    def _view(self, row: Row[Any], pictures: tuple[ImageRow, ...]) -> JobView:
        request = ResolvedRequest.model_validate_json(row.request)
        progress = 1.0 if row.state == "completed" else len(pictures) / request.count
        live = self._alive.get(row.id)
        if live is not None and row.state == "running":
            progress = max(progress, live.progress)
        error = json.loads(row.error) if row.error else None
        return JobView(row.id, row.state, progress, request, pictures, error, row.created, row.seconds)
