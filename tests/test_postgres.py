"""The same queue and library on PostgreSQL: a real server, where one is installed."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, inspect, text

from studio.errors import BadRequest, QueueFull
from studio.library import Database, migrations
from studio.schema import GenerationRequest
from studio.settings import Settings
from studio.studio import Studio


def server_folder() -> Path | None:
    """Debian keeps the server's programs out of PATH."""
    found = shutil.which("initdb")
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) if found is None else [Path(found)]
    return places[-1].parent if places else None


BIN = server_folder()
# The server refuses to be root; the package makes an account for it.
ACCOUNT: dict[str, Any] = {"user": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}

psycopg = pytest.importorskip("psycopg")
pytestmark = pytest.mark.skipif(BIN is None, reason="PostgreSQL's server is not installed")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """URL of an empty server, reached through a socket in its own folder."""
    assert BIN is not None
    with TemporaryDirectory(prefix="pg") as folder:
        if ACCOUNT:
            shutil.chown(folder, "postgres")
        data = Path(folder) / "data"
        user = "postgres" if ACCOUNT else getpass.getuser()
        run(BIN / "initdb", "--pgdata", data, "--auth", "trust", "--no-sync", "--encoding", "UTF8")
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        run(BIN / "pg_ctl", "--pgdata", data, "--wait", "--log", Path(folder) / "log", "-o", options, "start")
        try:
            yield f"postgresql://{user}@/{{name}}?host={folder}"
        finally:
            run(BIN / "pg_ctl", "--pgdata", data, "--mode", "immediate", "stop")


def run(*command: Any) -> None:
    subprocess.run(
        [str(part) for part in command], check=True, stdout=subprocess.DEVNULL, cwd="/tmp", **ACCOUNT
    )


@pytest.fixture
def url(server: str, request: pytest.FixtureRequest) -> str:
    """A database of the test's own."""
    name = f"t{abs(hash(request.node.name)) % 10**8}"
    with psycopg.connect(server.format(name="postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.format(name=name)


def open_studio(home: Path, url: str, **settings: Any) -> Studio:
    studio = Studio.open(Settings(home=home, executor="fake", database_url=url, rows=2, **settings))
    studio.start()
    return studio


def test_jobs_and_pictures_live_in_postgresql(home: Path, url: str) -> None:
    studio = open_studio(home, url)
    asked = GenerationRequest(prompt="a red mug 红色", seed=4294967295, count=2, steps=1, width=64, height=64)
    job = studio.wait(studio.submit(asked).id, 20)
    studio.close()
    assert job.state == "completed" and [row.seed for row in job.images] == [4294967295, 0]
    assert not (home / "studio.db").exists()
    again = open_studio(home, url)
    assert again.job(job.id) == job
    for search, found in (("red mug", 2), ("红", 2), ("lorry", 0), ("\0", 2)):
        assert len(again.images(search=search)) == found, search
    again.trash([job.images[0].id])
    assert again.library.counts() == (1, 1)
    assert [type(event).__name__ for _, event in again.events(job.id)][-1] == "Done"
    again.close()


def test_what_was_queued_goes_on_after_a_restart(home: Path, url: str) -> None:
    first = Studio.open(Settings(home=home, executor="fake", database_url=url))
    jobs = [first.submit(GenerationRequest(prompt=str(n), steps=1, width=64, height=64)).id for n in range(5)]
    first.close()
    second = open_studio(home, url)
    assert [second.wait(id, 20).state for id in jobs] == ["completed"] * 5
    second.close()


def test_many_writers_at_once_fill_the_queue_to_its_bound_exactly(home: Path, url: str) -> None:
    studios = [
        Studio.open(Settings(home=home, executor="fake", database_url=url, queue=10)) for _ in range(2)
    ]

    def push(number: int) -> bool:
        try:
            studios[number % 2].submit(GenerationRequest(prompt="x", steps=1, width=64, height=64))
        except QueueFull:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(push, range(30)))
    assert answers.count(True) == 10
    for studio in studios:
        studio.close()


def test_tables_are_made_once_and_at_the_newest_step(tmp_path: Path, url: str) -> None:
    Database(tmp_path / "unused.db", url).close()
    database = Database(tmp_path / "unused.db", url)
    with database.read() as connection:
        assert migrations.revision_of(connection) == migrations.HEAD
    database.close()


def test_the_steps_lead_to_the_same_tables_on_postgresql(tmp_path: Path, url: str) -> None:
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    Database(tmp_path / "unused.db", url).close()
    new = columns_of(engine)
    with engine.begin() as connection:  # back to the tables of the first studio
        for table in sorted(set(new) - {"jobs", "images", "uploads"}):
            connection.execute(text(f"DROP TABLE {table}"))
        for table, columns in FRESH.items():
            for column in columns:
                connection.execute(text(f'ALTER TABLE {table} DROP COLUMN "{column}"'))
    Database(tmp_path / "unused.db", url).close()
    assert columns_of(engine) == new
    engine.dispose()


def columns_of(engine: Engine) -> dict[str, list[tuple[str, str, bool]]]:
    look = inspect(engine)
    return {
        table: sorted((row["name"], str(row["type"]), row["nullable"]) for row in look.get_columns(table))
        for table in look.get_table_names()
    }


FRESH = {
    "jobs": (
        "user", "priority", "place", "held", "fence", "lease", "snapshot", "cache_key", "source", "started",
        "ended",
    ),
    "images": ("user", "star", "receipt", "event"),
    "uploads": ("user", "sha256"),
}  # fmt: skip


def test_a_server_that_does_not_answer_is_told_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(BadRequest) as caught:
        Database(tmp_path / "unused.db", "postgresql://someone:hush@127.0.0.1:1/none")
    assert caught.value.code == "bad_database" and "hush" not in caught.value.message + caught.value.hint
