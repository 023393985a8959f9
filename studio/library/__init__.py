"""What the studio keeps: rows in one SQLite file, pictures beside it."""

from studio.library.database import Database
from studio.library.files import is_id, new_id
from studio.library.group_commit import GroupCommit
from studio.library.library import Library

__all__ = ["Database", "GroupCommit", "Library", "is_id", "new_id"]
