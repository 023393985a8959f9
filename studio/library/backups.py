"""Copies of the database that stand on their own, made while others use it."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from studio.library.files import sync_folder

KEPT = 7


def back_up(database: Path, label: str) -> Path:
    """`backups/studio-LABEL-TIME.db` beside the file; the oldest go when there are more than seven."""
    folder = database.parent / "backups"
    folder.mkdir(exist_ok=True)
    file = folder / f"studio-{label}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.db"
    rough = file.with_suffix(".tmp")
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(rough)) as target:
        source.backup(target)
    rough.rename(file)
    sync_folder(folder)
    for old in sorted(folder.glob("studio-*.db"), key=lambda one: one.stat().st_mtime)[:-KEPT]:
        old.unlink(missing_ok=True)
    return file


def is_due(database: Path, age: float) -> bool:
    """True where there is no copy yet, or the newest is older than `age` s."""
    copies = list((database.parent / "backups").glob("studio-*.db"))
    newest = max((copy.stat().st_mtime for copy in copies), default=0.0)
    return time.time() - newest > age
