"""One SQLite file, many readers, one writer at a time; a commit is on disk when it returns."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event

from studio.library.tables import metadata

# FULL: the write-ahead log is fsynced at each commit, so an answer that was given survives a power cut.
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON")


class Database:
    def __init__(self, file: Path) -> None:
        # Every request thread of the web server may read at once; a pool of five would make them wait.
        self._engine = create_engine(f"sqlite:///{file}", pool_size=16, max_overflow=64)
        event.listen(self._engine, "connect", _configure)
        self._writer = threading.RLock()
        metadata.create_all(self._engine)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, committed when the block ends well. Waits for the writer before it."""
        with self._writer, self._engine.begin() as connection:
            # Taken at the start: a read that turns into a write later can fail where another process wrote.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    def close(self) -> None:
        self._engine.dispose()


def _configure(connection: Any, _record: Any) -> None:
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
