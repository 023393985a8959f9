"""Runs what the queue holds: runners claim jobs, executors make pictures, events tell of them.

Rows are the truth; a `Live` is what the running process adds to one.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from typing import Any

from sqlalchemy import Row

from studio.errors import Conflict, DiskLow, NotReady, StudioError, WorkerCrashed
from studio.executors import Executor
from studio.jobs.keeper import Keeper
from studio.jobs.parts import Part, missing
from studio.jobs.queue import ATTEMPTS, OPEN, Order, Queue
from studio.jobs.told import Teller
from studio.library import Database, Library
from studio.library.events import Live
from studio.schema import (
    Cancelled,
    Done,
    Event,
    Failed,
    JobView,
    Picture,
    Progress,
    Queued,
    Rendered,
    ResolvedRequest,
    State,
)
from studio.settings import Settings

log = logging.getLogger(__name__)

KEPT = 256  # ended jobs whose events stay in memory; older ones are told from their rows
PATIENCE = 3.0  # s that closing waits for runners, which look up at each event

Stamp = Callable[[bytes, ResolvedRequest, int], bytes]  # PNG, request, seed -> file with its settings in it
Inputs = Callable[[ResolvedRequest, Mapping[str, Any]], Mapping[str, bytes]]
Receipt = Callable[[ResolvedRequest, Rendered], Mapping[str, Any]]
Judge = Callable[[Rendered, ResolvedRequest], Rendered]


class Jobs:
    """`stamp` makes a rendered PNG the file that is kept; `inputs` fetches the pictures a request names, and
    refuses a job whose weights are gone; `judge` sees what is in a picture, `receipt` says what made it."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        library: Library,
        executor: Executor,
        stamp: Stamp,
        inputs: Inputs,
        receipt: Receipt = lambda request, picture: {},
        judge: Judge = lambda picture, request: picture,
    ) -> None:
        self._settings, self._database, self._library = settings, database, library
        self._executor, self._stamp, self._inputs, self._receipt = executor, stamp, inputs, receipt
        self._judge = judge
        me = secrets.token_hex(8)
        self.queue = Queue(database, me, settings.queue)
        self._alive: dict[str, Live] = {}
        self._running: dict[str, Row[Any]] = {}
        self._unsettled: list[tuple[Row[Any], int]] = []  # could not go back to the queue: the disk was full
        self._wake = threading.Condition()
        self._news = 0  # grows when a runner may find something it did not find before
        self._stopping = self._draining = False
        self._runners: list[threading.Thread] = []
        self._keeper = Keeper(settings, database, library, self.queue, self)
        self._teller = Teller(self.queue, library, self._alive)

    # --- starting and stopping ---

    def start(self) -> None:
        """Takes over what an earlier process left, unless another living one keeps this home's queue.

        A library that can only be read runs nothing.
        """
        if self._database.notice:
            return
        self._keeper.start()
        for number in range(self._settings.rows):
            runner = threading.Thread(target=self._serve, name=f"job-{number}", daemon=True)
            runner.start()
            self._runners.append(runner)

    def drain(self) -> None:
        """From now on no job is taken in and none begins; running ones stop after their current picture."""
        with self._wake:
            self._draining = True
            self._wake.notify_all()

    def close(self, patience: float = 0.0) -> None:
        """Running jobs go back to the queue: after a picture within `patience` s, else at their next event.

        Call before the executor is closed.
        """
        self.drain()
        self._join(time.monotonic() + patience)
        with self._wake:
            self._stopping = True
        self._join(time.monotonic() + PATIENCE)
        self._keeper.close()

    def _join(self, until: float) -> None:
        for runner in self._runners:
            runner.join(timeout=max(0.0, until - time.monotonic()))

    @property
    def draining(self) -> bool:
        return self._draining

    # --- what the keeper asks ---

    def adopted(self, rows: list[Row[Any]]) -> None:
        """Jobs that wait here from now on. Their events go on with higher numbers than they had."""
        for position, row in enumerate(rows):
            live = Live(row.last_event, self._library.told(row.id))
            with self._wake:
                live = self._alive.setdefault(row.id, live)
            live.publish(Queued(position))
        self.call_runners()

    def told(self) -> dict[str, int]:
        """Number of the last event of each job that runs here."""
        with self._wake:
            return {id: self._alive[id].number for id in self._running if id in self._alive}

    def settle(self) -> None:
        """Tries again what a full disk kept from being written down."""
        with self._wake:
            waiting, self._unsettled = self._unsettled, []
        for row, attempts in waiting:
            self._requeue(row, attempts)
        self.call_runners()

    def call_runners(self, all: bool = True) -> None:
        with self._wake:
            self._news += 1
            self._wake.notify(len(self._runners) if all else 1)

    # --- running ---

    def _serve(self) -> None:
        while True:
            with self._wake:
                seen = self._news
            row = self._claim()
            if row is not None:
                self._run(row)
                continue
            with self._wake:
                self._wake.wait_for(lambda seen=seen: self._draining or self._news != seen)  # type: ignore[misc]
                if self._draining:
                    return

    def _claim(self) -> Row[Any] | None:
        if self._draining or self._library.disk.is_full():
            return None
        try:
            return self.queue.claim()
        except Exception:  # the disk, or the database's server: the keeper calls again
            log.exception("no job could be taken from the queue")
            return None

    def _run(self, row: Row[Any]) -> None:
        live = self._live(row.id)
        with self._wake:
            self._running[row.id] = row
        try:
            self._attempt(row, live)
        except DiskLow as error:
            log.error("job %s waits: %s", row.id, error.message)
            self._requeue(row, row.attempts - 1)
        except Exception:
            log.exception("job %s could not be brought to an end", row.id)
            self._requeue(row, row.attempts)
        finally:
            with self._wake:
                self._running.pop(row.id, None)

    def _attempt(self, row: Row[Any], live: Live) -> None:
        begun = time.monotonic()
        error: StudioError
        try:
            return self._make(row, live, begun)
        except DiskLow:
            raise
        except StudioError as said:
            error = said
        except Exception:
            log.exception("job %s failed", row.id)
            error = StudioError("The job failed in a way nobody foresaw; the log has it.", code="internal")
        stopping = self._draining and isinstance(error, (WorkerCrashed, NotReady))
        if stopping or (isinstance(error, WorkerCrashed) and row.attempts < ATTEMPTS):
            self._requeue(row, row.attempts - stopping)
        else:
            self._end(row, live, "failed", Failed(error.as_dict()), time.monotonic() - begun)

    def _make(self, row: Row[Any], live: Live, begun: float) -> None:
        """What is missing of the job. Pictures that an earlier attempt kept are not made again."""
        request = ResolvedRequest.model_validate_json(row.request)
        inputs = self._inputs(request, json.loads(row.snapshot or "{}"))
        for part in missing(request, self._library.indexes(row.id)):
            if not self._make_part(row, live, request, part, inputs):
                return
        seconds = time.monotonic() - begun
        self._end(row, live, "completed", Done(seconds), seconds)

    def _make_part(
        self, row: Row[Any], live: Live, request: ResolvedRequest, part: Part, inputs: Mapping[str, bytes]
    ) -> bool:
        """True when it was made to its end; False when the job was cancelled, put back or given away."""
        made = 0  # since the studio was told to stop
        run = self._executor.run(part.request, inputs)
        with closing(run) as events:  # leaving the block closes the generator: the engine stops in a step
            for event in events:
                if live.ended:
                    return False
                if self._stopping or (made and isinstance(event, Progress)):
                    self._requeue(row, row.attempts - 1)
                    return False
                event = part.of_job(event)
                if isinstance(event, Rendered):
                    if not self._keep_picture(row, live, request, event):
                        return False
                    made += self._draining
                elif isinstance(event, Done):
                    return True
                elif isinstance(event, Failed):
                    self._end(row, live, "failed", event, 0.0)
                    return False
                else:
                    live.publish(event)
        raise WorkerCrashed("The run ended without a result.", hint="Try it again.")

    def _keep_picture(self, row: Row[Any], live: Live, request: ResolvedRequest, event: Rendered) -> bool:
        """False where this claim has lost the job: it was cancelled, or another one runs it."""
        request = request.of_picture(event.index)
        event = self._judge(event, request)
        data = self._stamp(event.data, request, event.seed)
        receipt = json.dumps(self._receipt(request, event))
        with live.changed:  # a cancel that was answered must not be followed by another picture
            if live.ended:
                return False
            number = live.next_number()
            image = self._library.add(
                row.id, request, event, data, user=row.user, receipt=receipt, event=number, fence=row.fence
            )
            if image is None:
                return not live.ended and self._library.holds(row.id, row.fence)
            told = Picture(image.id, image.index, image.seed, image.width, image.height, image.seconds)
            live.publish(told, number)
        return True

    def _end(self, row: Row[Any], live: Live, state: State, event: Event, seconds: float) -> None:
        """The row first, then the event: whoever hears of the end finds it in the row."""
        error = json.dumps(dict(event.error)) if isinstance(event, Failed) else None
        with live.changed:
            if not live.ended:
                number = live.next_number()
                done = self.queue.finish(row.id, state, number, seconds=seconds, error=error, fence=row.fence)
                if done:
                    live.publish(event, number)
        self._forget()

    def _requeue(self, row: Row[Any], attempts: int) -> None:
        try:
            self.queue.requeue(row, max(0, attempts))
        except Exception as error:
            full = isinstance(error, DiskLow)  # told already, and it passes
            log.warning("job %s could not go back to the queue yet", row.id, exc_info=not full)
            with self._wake:
                self._unsettled.append((row, attempts))
            return
        self.call_runners(all=False)

    def _forget(self) -> None:
        with self._wake:
            ended = [id for id, live in self._alive.items() if live.ended]
            for id in ended[: max(0, len(ended) - KEPT)]:
                del self._alive[id]

    def _live(self, id: str) -> Live:
        with self._wake:
            return self._alive.setdefault(id, Live())

    # --- verbs ---

    def submit(self, request: ResolvedRequest, **order: Any) -> JobView:
        """Committed when it returns; fields of `Order`. Raises QueueFull, DiskLow, Conflict, NotReady."""
        if self._draining:
            raise NotReady("The studio is stopping.", hint="Start it again and generate again.")
        self._library.disk.check()
        placed = self.queue.put(Order(request, **order))
        row = placed.row
        if placed.fresh and row.state == "queued":
            self._live(row.id).publish(Queued(placed.ahead))
            self.call_runners(all=False)
            return self._teller.waiting(row, placed.ahead)
        return self.get(row.id)

    def answered(self, cache_key: str, user: str) -> str | None:
        """A job whose pictures are what the same request would make, all of them still there."""
        job = self.queue.answered(cache_key, user)
        if job is None:
            return None
        images = self._library.of_jobs([job.id])[job.id]
        whole = len(images) == json.loads(job.request)["count"]
        return job.id if whole and all(not row.trashed and row.file.is_file() for row in images) else None

    def get(self, id: str) -> JobView:
        """Raises NotFound (`job_not_found`)."""
        return self._teller.views([self.queue.row(id)])[0]

    def recent(self, limit: int, user: str | None = None) -> list[JobView]:
        """Newest first; of one user, or of all."""
        return self._teller.views(self.queue.recent(limit, user))

    def ended(self, after: float, limit: int = 200) -> list[JobView]:
        """Jobs of all users that ended later than `after` (UTC, s since 1970), earliest first."""
        return self._teller.views(self.queue.ended(after, limit))

    def counts(self) -> tuple[int, int]:
        """(queued, running)."""
        found = self.by_state()
        return found.get("queued", 0), found.get("running", 0)

    def by_state(self) -> dict[State, int]:
        """Every job there ever was; states that none has are left out."""
        return self.queue.by_state()

    def events(self, id: str, after: int) -> Generator[tuple[int, Event]]:
        """Those after event number `after`, then what comes, up to the final one, which comes once."""
        return self._teller.events(id, after)

    def wait(self, id: str, timeout: float | None) -> JobView:
        """The job once it has ended, or as it stands after `timeout` s."""
        self._teller.wait(id, timeout)
        return self.get(id)

    def cancel(self, id: str) -> JobView:
        """Ended when it returns; the work stops within a step, finished pictures stay. Raises Conflict."""
        if self.queue.row(id).state in OPEN:
            live = self._live(id)
            with live.changed:
                number = live.next_number()
                if not live.ended and self.queue.finish(id, "cancelled", number, seconds=0.0):
                    live.publish(Cancelled(), number)
            self._forget()
        view = self.get(id)
        if view.state != "cancelled":
            raise Conflict(
                f"The job is {view.state} already.", hint="Only a job that has not ended can be cancelled."
            )
        return view

    def change(
        self, id: str, priority: int | None = None, held: bool | None = None, before: str | None = None
    ) -> JobView:
        """Of a waiting job: priority, holding it back, the job it goes before. Raises Conflict, NotFound."""
        self.queue.change(id, priority, held, before)
        self.call_runners()
        return self.get(id)

    def pause(self, paused: bool) -> None:
        """Whether the whole queue waits. Running jobs go on; a restart does not forget it."""
        self.queue.pause(paused)
        self.call_runners()
