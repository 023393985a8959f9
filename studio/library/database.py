"""One SQLite file or a PostgreSQL database: many readers, one writer; what was committed is on disk."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError

from studio.errors import BadRequest, DiskLow, LibraryReadOnly
from studio.library import migrations
from studio.library.backups import back_up, is_due
from studio.library.disk import is_full

log = logging.getLogger(__name__)

# FULL: the write-ahead log is fsynced at each commit, so an answer that was given survives a power cut.
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON")
WRITER = 7_241_860  # PostgreSQL's lock of that number makes writers wait for each other, as SQLite's do


class Database:
    """`url` empty: the SQLite file `file`. Older tables are brought up to date, after a backup beside them.

    `notice`: why nothing can be written, for people; empty when all is well. Raises BadRequest for a URL
    that leads nowhere and for a file that is damaged.
    """

    def __init__(self, file: Path, url: str = "") -> None:
        self._file = None if url else file
        self._engine = _engine(file, url)
        self._writer = threading.RLock()
        self.notice = ""
        self.sqlite = self._engine.dialect.name == "sqlite"
        try:
            self._bring_up_to_date()
        except DatabaseError as error:
            self._engine.dispose()
            raise _cannot_open(error) from None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, committed when the block ends well. Waits for the writer before it.

        Raises LibraryReadOnly where a newer studio made the tables, DiskLow where there is no room.
        """
        if self.notice:
            raise LibraryReadOnly(self.notice, hint="Update Brand Studio; looking at pictures works.")
        with self._alone() as connection:
            yield connection

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        try:
            with self._writer, self._engine.begin() as connection:
                # Taken at the start: a read that turns into a write can fail where another process wrote.
                if self.sqlite:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                else:
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITER})")
                yield connection
        except DatabaseError as error:
            if not is_full(error):
                raise
            log.error("the database's disk is full")
            raise DiskLow(
                "The disk of the library's database is full.",
                hint="Free some space: what was taken in waits and is not lost.",
            ) from None

    def _bring_up_to_date(self) -> None:
        with self.read() as connection:
            revision = migrations.revision_of(connection)
        if revision == migrations.HEAD:
            return
        if revision is not None and migrations.is_newer(revision):
            self.notice = (
                f"A newer Brand Studio made this library (its tables are at step {revision}, "
                f"this studio knows {migrations.HEAD}), so it is only shown, not changed."
            )
            log.warning("%s", self.notice)
            return
        if revision is not None and self._file is not None:
            back_up(self._file, revision)
        with self._alone() as connection:
            revision = migrations.revision_of(connection)  # another process may have been faster
            if revision is None:
                migrations.create(connection)
            elif revision != migrations.HEAD:
                migrations.upgrade(connection, revision)

    def back_up_daily(self, day: float) -> None:
        """A copy in the folder backups, `day` s after the last one; PostgreSQL has tools of its own."""
        if self._file is not None and not self.notice and is_due(self._file, day):
            back_up(self._file, "daily")

    def close(self) -> None:
        self._engine.dispose()


def _engine(file: Path, url: str) -> Engine:
    # Every request thread of the web server may read at once; a pool of five would make them wait.
    if not url:
        engine = create_engine(f"sqlite:///{file}", pool_size=16, max_overflow=64)
        event.listen(engine, "connect", _configure)
        return engine
    try:
        parts = make_url(url)
        if parts.get_backend_name() == "postgresql":
            # The driver that comes with `pip install brand-studio[postgres]`, whatever the URL's short form.
            parts = parts.set(drivername="postgresql+psycopg")
            return create_engine(parts, pool_size=16, max_overflow=64, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError):
        pass
    except ImportError:
        hint = "Install it: pip install 'brand-studio[postgres]'."
        raise BadRequest("PostgreSQL's driver is missing.", hint=hint, code="bad_database") from None
    raise BadRequest(
        "STUDIO_DATABASE_URL is not an address of a PostgreSQL database.",
        hint="For example postgresql://user:password@host/studio; leave it empty for SQLite.",
        code="bad_database",
    )


def _configure(connection: Any, _record: Any) -> None:
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _cannot_open(error: DatabaseError) -> BadRequest:
    if isinstance(error.orig, sqlite3.DatabaseError) and not isinstance(error.orig, sqlite3.OperationalError):
        return BadRequest(
            "The library's database is damaged; nothing was changed.",
            hint="Put the newest file of the folder backups in its place: studio.db in the studio's home. "
            "The pictures themselves are files in the folder pictures and are not touched.",
            code="library_damaged",
        )
    return BadRequest(
        "The library's database cannot be opened.",
        hint="Check that it runs, STUDIO_DATABASE_URL, and the rights to the home folder.",
        code="bad_database",
    )
