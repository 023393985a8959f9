"""A disk without room: nothing new is taken in, what was taken in waits, and looking goes on."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import insert

from studio.api.app import unwalled
from studio.errors import DiskLow
from studio.jobs import keeper
from studio.library import Database, disk, library
from studio.library.tables import flags
from studio.schema import GenerationRequest
from studio.studio import Studio

ASKED = GenerationRequest(prompt="a mug", width=64, height=64, steps=1, count=3)


@pytest.fixture
def full(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = studio.library.disk.room()[1]
    monkeypatch.setattr(studio.library.disk, "room", lambda: (mark - 1, mark))


@pytest.mark.usefixtures("full")
def test_below_the_mark_nothing_is_taken_in(studio: Studio) -> None:
    with pytest.raises(DiskLow, match="MiB are free"):
        studio.submit(ASKED)
    with pytest.raises(DiskLow):
        studio.library.add_upload(b"picture", "png", 8, 8)
    client = TestClient(unwalled(studio))
    refused = client.post("/api/v1/jobs", json=ASKED.model_dump(exclude_none=True))
    assert (refused.status_code, refused.json()["error"]["code"]) == (507, "disk_low")
    assert client.get("/api/v1/images").status_code == 200 and client.get("/livez").status_code == 200
    assert studio.jobs_list() == [] and list((studio.settings.home / "uploads").iterdir()) == []


def test_a_picture_that_found_no_room_is_made_when_there_is_some(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "PAUSE", 0.2)
    monkeypatch.setattr(keeper, "TICK", 0.1)
    whole, failures = library.write_whole, [0, 0]

    def no_room(file: Path, data: bytes) -> None:
        failures[0] += 1
        if 2 <= failures[0] <= 4:
            failures[1] += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(file, data)

    monkeypatch.setattr(library, "write_whole", no_room)
    job = studio.wait(studio.submit(ASKED).id, 60)
    assert job.state == "completed" and [row.index for row in job.images] == [0, 1, 2]
    assert failures[1] == 3 and job.attempts == 1  # waiting for room is no attempt
    assert len(list((studio.settings.home / "pictures").iterdir())) == 3


def test_a_half_written_file_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.library import files

    def broken(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", broken)
    with pytest.raises(OSError, match="No space"):
        files.write_whole(tmp_path / "a.png", b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_cannot_grow_says_so(tmp_path: Path) -> None:
    database = Database(tmp_path / "studio.db")
    with pytest.raises(DiskLow), database.write() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # SQLite takes it as: not one page more
        connection.execute(insert(flags).values(name="big", value="x" * 2_000_000))
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM flags").scalar() == 0
    database.close()


def test_a_small_disk_needs_only_a_share_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Use:
        total, free = 1000, 40

    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: Use)
    small: Any = disk.Disk(tmp_path, 2 * 2**30)
    assert small.room() == (40, 50) and not small.is_full()
    with pytest.raises(DiskLow):
        small.check()
