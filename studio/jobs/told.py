"""What is told of a job: as it stands, and as it happens, from memory or, after a restart, from its row."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from sqlalchemy import Row

from studio.jobs.queue import OPEN, Queue
from studio.library import Library
from studio.library.events import Live
from studio.schema import Cancelled, Done, Event, Failed, ImageRow, JobView, ResolvedRequest

POLL = 0.5  # s between looks at a job that another process runs


class Teller:
    def __init__(self, queue: Queue, library: Library, alive: Mapping[str, Live]) -> None:
        self._queue, self._library, self._alive = queue, library, alive

    def views(self, rows: Sequence[Row[Any]]) -> list[JobView]:
        pictures = self._library.of_jobs([row.source or row.id for row in rows])
        waiting = any(row.state == "queued" for row in rows)
        line = {id: place for place, id in enumerate(self._queue.line())} if waiting else {}
        pace = self._queue.pace() if waiting else 0.0
        return [self._view(row, pictures[row.source or row.id], line.get(row.id), pace) for row in rows]

    def waiting(self, row: Row[Any], ahead: int) -> JobView:
        """A job that was just taken in. Its exact place would cost a look at the whole queue."""
        return self._view(row, (), ahead, 0.0)

    def _view(
        self, row: Row[Any], pictures: tuple[ImageRow, ...], position: int | None, pace: float
    ) -> JobView:
        request = ResolvedRequest.model_validate_json(row.request)
        progress = 1.0 if row.state == "completed" else min(1.0, len(pictures) / request.count)
        live, eta = self._alive.get(row.id), None
        if row.state == "running" and live is not None:
            progress, eta = max(progress, live.progress), live.eta
        elif position is not None and pace:
            eta = (position + 1) * pace
        return JobView(
            id=row.id, state=row.state, progress=progress, request=request, images=pictures,
            error=json.loads(row.error) if row.error else None, created=row.created, seconds=row.seconds,
            user=row.user, priority=row.priority, held=bool(row.held), cached=row.source is not None,
            position=position, eta=eta, attempts=row.attempts, started=row.started, ended=row.ended,
        )  # fmt: skip

    def events(self, id: str, after: int) -> Generator[tuple[int, Event]]:
        row = self._queue.row(id)
        live = self._alive.get(id)
        return live.follow(after) if live is not None else self._from_row(row, after)

    def _from_row(self, row: Row[Any], after: int) -> Generator[tuple[int, Event]]:
        while row.state in OPEN:  # another process runs it
            time.sleep(POLL)
            row = self._queue.row(row.id)
        told = self._library.told(row.source or row.id)
        for number, picture in enumerate(told, start=row.last_event - len(told)):
            # A picture from before pictures kept their number, and one that answers another job, gets one.
            given = number if row.source or not picture[0] else picture[0]
            if given > after:
                yield given, picture[1]
        endings: Mapping[str, Event] = {
            "completed": Done(row.seconds),
            "cancelled": Cancelled(),
            "failed": Failed(json.loads(row.error or "{}")),
        }
        if row.last_event > after:
            yield row.last_event, endings[row.state]

    def wait(self, id: str, timeout: float | None) -> None:
        """Returns when the job has ended, or after `timeout` s."""
        until = None if timeout is None else time.monotonic() + timeout
        while self._queue.row(id).state in OPEN and (until is None or time.monotonic() < until):
            live = self._alive.get(id)
            if live is None:
                time.sleep(POLL)
                continue
            with live.changed:
                left = None if until is None else until - time.monotonic()
                live.changed.wait_for(live.has_ended, left)
