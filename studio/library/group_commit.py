"""Group commit: one transaction, and one fsync, for all that wait to write the same kind of thing."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast

from sqlalchemy import Connection

from studio.errors import StudioError
from studio.library.database import Database

A = TypeVar("A")
T = TypeVar("T")


class GroupCommit(Generic[A, T]):
    """`work` writes down a whole group and gives each of it what it got, or the error that refuses it alone.

    Whoever gets to write takes along all that wait. A hundred at once, each with a savepoint and an INSERT of
    its own, cost 0.9 ms of processor each; in one INSERT 0.2.
    """

    def __init__(
        self, database: Database, work: Callable[[Connection, Sequence[A]], Sequence[T | StudioError]]
    ) -> None:
        self._database, self._work = database, work
        self._turn = threading.Lock()
        self._waiting: deque[_Ticket[A, T]] = deque()

    def put(self, asked: A) -> T:
        """Committed when it returns. Raises what refuses it, and what kept the group from being written."""
        mine: _Ticket[A, T] = _Ticket(asked)
        self._waiting.append(mine)
        with self._turn:
            if mine.answer is None:
                self._write()
        if isinstance(mine.answer, Exception):
            raise mine.answer
        return cast(T, mine.answer)

    def _write(self) -> None:
        group = [self._waiting.popleft() for _ in range(len(self._waiting))]
        answers: Sequence[T | Exception]
        try:
            with self._database.write() as connection:
                answers = self._work(connection, [ticket.asked for ticket in group])
        except Exception as error:  # nobody's work is on disk
            answers = [error] * len(group)
        for ticket, answer in zip(group, answers, strict=True):
            ticket.answer = answer


class _Ticket(Generic[A, T]):
    """What waits for a transaction, then what became of it."""

    def __init__(self, asked: A) -> None:
        self.asked = asked
        self.answer: T | Exception | None = None
