"""Room on the library's disk: below a mark nothing new is taken in, far below it nothing is made."""

from __future__ import annotations

import errno
import shutil
import time
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from studio.errors import DiskLow

SHARE = 20  # of a small disk, one part in so many is enough
STOP = 8  # running jobs stop at this part of the mark: what was taken in before should still be made
PAUSE = 3.0  # s after a write found no room, though the figures say there is some
FULL = ("disk is full", "disk I/O error", "No space left", "DiskFull")  # what SQLite and PostgreSQL say


class Disk:
    """`mark`: bytes that should be free, or a twentieth of the disk where that is less."""

    def __init__(self, folder: Path, mark: int) -> None:
        self._folder, self._asked = folder, mark
        self._until = 0.0

    def check(self) -> None:
        """Raises DiskLow below the mark."""
        free, mark = self.room()
        if free < mark or self._faulty():
            raise DiskLow(
                f"{free / 2**20:.0f} MiB are free on the library's disk; {mark / 2**20:.0f} MiB must be.",
                hint="Free some space, or move the library: STUDIO_HOME. Pictures that are there stay.",
            )

    def is_full(self) -> bool:
        """True where there is hardly room for a picture."""
        free, mark = self.room()
        return free < mark / STOP or self._faulty()

    def room(self) -> tuple[int, int]:
        """(free, mark) in bytes."""
        use = shutil.disk_usage(self._folder)
        return use.free, min(self._asked, use.total // SHARE)

    def fault(self) -> DiskLow:
        """For a write that found no room."""
        self._until = time.monotonic() + PAUSE
        return DiskLow(
            "The library's disk is full.", hint="Free some space: what was taken in waits and is not lost."
        )

    def _faulty(self) -> bool:
        return time.monotonic() < self._until


def is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, DBAPIError) and any(words in str(error.orig) for words in FULL)
