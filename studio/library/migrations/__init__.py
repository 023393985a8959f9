"""From the tables an older studio made to the ones of tables.py: one file a step, in versions/.

The step before a library had revisions is 0001: a database with jobs and no revision is one of those.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from studio.library.tables import metadata

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

HEAD = "0005"
FIRST = "0001"
FOLDER = Path(__file__).parent


def revision_of(connection: Connection) -> str | None:
    """None for a database without tables."""
    tables = inspect(connection).get_table_names()
    if "alembic_version" in tables:
        return str(connection.scalar(text("SELECT version_num FROM alembic_version")))
    return FIRST if "jobs" in tables else None


def is_newer(revision: str) -> bool:
    """True for one that this studio does not know."""
    return not revision.isdecimal() or int(revision) > int(HEAD)


def create(connection: Connection) -> None:
    """All tables of an empty database at once; alembic, which takes a while to import, is not needed."""
    metadata.create_all(connection)
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


def upgrade(connection: Connection, revision: str) -> None:
    """Every step from `revision` to HEAD, within the transaction that `connection` is in."""
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext

    steps = scripts()
    with EnvironmentContext(Config(), steps, fn=lambda at, _: steps._upgrade_revs(HEAD, at)) as context:
        context.configure(connection=connection, target_metadata=metadata)
        if revision == FIRST:
            context.get_context().stamp(steps, FIRST)
        context.run_migrations()


def scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(FOLDER))
