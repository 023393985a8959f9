"""A library of any age opens, whole or not at all; one from the future is shown and not touched."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from old_library import JOB, PICTURES, make_old_library
from sqlalchemy import Engine, event

from studio.errors import BadRequest, LibraryReadOnly
from studio.library import Database, Library, migrations
from studio.settings import Settings
from studio.studio import Studio


def shape(file: Path) -> dict[str, Any]:
    """Columns and indexes of every table, whatever order they were made in."""
    with closing(sqlite3.connect(file)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            table: (
                sorted(row[1:] for row in database.execute(f"PRAGMA table_info({table})")),
                sorted(row[1:4] for row in database.execute(f"PRAGMA index_list({table})")),
            )
            for table in tables
        }


def test_an_upgraded_library_has_the_tables_of_a_new_one(tmp_path: Path) -> None:
    old, new = make_old_library(tmp_path / "old"), tmp_path / "new.db"
    Database(old).close()
    Database(new).close()
    assert shape(old) == shape(new)


def test_the_newest_step_is_the_one_that_opening_looks_for() -> None:
    assert migrations.scripts().get_current_head() == migrations.HEAD


def test_an_old_library_keeps_its_pictures_and_finds_them(tmp_path: Path) -> None:
    make_old_library(tmp_path)
    database = Database(tmp_path / "studio.db")
    library = Library(tmp_path, database)
    library.reconcile()
    for search in ("mug", "红", "红色", "model:pocket", "date:2023"):
        assert [row.id for row in library.images(search=search)] == list(PICTURES[::-1]), search
    assert library.picture_bytes(PICTURES[0]) == (b"picture", "image/png")
    database.close()


def test_a_job_of_an_old_library_is_queued_again(tmp_path: Path) -> None:
    make_old_library(tmp_path, state="running")
    studio = Studio.open(Settings(home=tmp_path, executor="fake"))
    studio.start()
    job = studio.wait(JOB, 20)
    studio.close()
    assert job.state == "completed" and [row.id for row in job.images] == list(PICTURES)


def test_a_backup_is_made_before_the_tables_change(tmp_path: Path) -> None:
    before = shape(make_old_library(tmp_path))
    Database(tmp_path / "studio.db").close()
    (backup,) = (tmp_path / "backups").iterdir()
    assert backup.name.startswith("studio-0001-") and shape(backup) == before
    Database(tmp_path / "studio.db").close()
    assert len(list((tmp_path / "backups").iterdir())) == 1


class Stop(Exception):
    pass


@contextmanager
def stopping_at(statement: int) -> Iterator[None]:
    seen: list[str] = []

    def count(*args: Any) -> None:
        seen.append(args[2])
        if len(seen) == statement:
            raise Stop

    event.listen(Engine, "before_cursor_execute", count)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", count)


def test_an_upgrade_that_stops_anywhere_leaves_the_old_library(tmp_path: Path) -> None:
    file = make_old_library(tmp_path)
    before = shape(file)
    for statement in range(1, 200):
        try:
            with stopping_at(statement):
                Database(file).close()
        except Stop:
            assert shape(file) == before
        else:
            break
    assert statement > 20 and shape(file) != before


def test_a_library_of_a_newer_studio_is_shown_and_not_changed(tmp_path: Path) -> None:
    make_old_library(tmp_path, state="queued")
    file = tmp_path / "studio.db"
    Database(file).close()
    with closing(sqlite3.connect(file)) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    studio = Studio.open(Settings(home=tmp_path, executor="fake"))
    studio.start()
    assert [row.id for row in studio.images()] == list(PICTURES[::-1])
    with pytest.raises(LibraryReadOnly, match="newer Brand Studio") as caught:
        studio.trash([PICTURES[0]])
    assert str(tmp_path) not in caught.value.message + caught.value.hint
    assert studio.job(JOB).state == "queued"
    studio.close()


def test_a_damaged_database_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "studio.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises(BadRequest) as caught:
        Studio.open(Settings(home=tmp_path, executor="fake"))
    assert caught.value.code == "library_damaged" and str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("url", ["mysql://root@localhost/x", "nonsense", "sqlite:///x.db"])
def test_only_postgresql_is_taken_as_another_database(tmp_path: Path, url: str) -> None:
    with pytest.raises(BadRequest) as caught:
        Database(tmp_path / "studio.db", url)
    assert caught.value.code == "bad_database" and "password" not in caught.value.message
