"""One server for one home folder: a second one would run the same queue."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from studio.errors import BadRequest, Conflict

FILE = "server.lock"


@contextmanager
def served_alone(home: Path, address: str) -> Iterator[None]:
    """Holds the home for this process; `address` is told to whoever comes second. Raises Conflict."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / FILE).open("a+", encoding="utf-8")
    except OSError as error:
        raise BadRequest(
            f"The studio's home folder cannot be used: {error.strerror}.",
            hint="Set STUDIO_HOME to a folder of yours.",
            code="bad_home",
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise Conflict(
                f"A Brand Studio serves this home folder already: {lock.read(200).strip() or 'no address'}.",
                hint="Open that address, or start this one with another STUDIO_HOME.",
                code="home_taken",
            ) from None
        lock.truncate(0)
        lock.write(address + "\n")
        lock.flush()
        yield
