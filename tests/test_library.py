"""Pictures are whole or not there, and are found by words and by age."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.errors import NotFound
from studio.library import Database, Library, files, new_id
from studio.schema import ImageRow, Rendered, ResolvedRequest


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    database = Database(tmp_path / "studio.db")
    yield Library(tmp_path, database)
    database.close()


def add(library: Library, prompt: str = "a mug", job: str = "", index: int = 0, **fields: Any) -> ImageRow:
    usual = {"model": "pocket", "negative_prompt": "", "width": 8, "height": 8, "steps": 1, "guidance": 5.0}
    request = ResolvedRequest(**{"prompt": prompt, **usual, "scheduler": "pndm", "seed": 3, **fields})
    row = library.add(
        job or new_id(), request, Rendered(index, 3, 8, 8, b"", 0.1, ("tiled_decode",)), b"picture"
    )
    assert row is not None
    return row


def test_a_picture_comes_back_as_it_was_put_in(library: Library) -> None:
    row = add(library, "红色运动鞋\n<script>")
    assert library.image(row.id) == row
    assert (row.request.prompt, row.notes, row.trashed) == ("红色运动鞋\n<script>", ("tiled_decode",), False)
    assert library.picture_bytes(row.id) == (b"picture", "image/png")
    assert str(row.file) not in repr(row)


def test_pages_follow_each_other_newest_first(library: Library) -> None:
    ids = [add(library, str(number)).id for number in range(7)][::-1]
    first = library.images(limit=3)
    second = library.images(limit=3, before=first[-1].id)
    third = library.images(limit=3, before=second[-1].id)
    assert [row.id for row in (*first, *second, *third)] == ids
    assert library.images(before="unknown") == []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("RED", {"a red mug", "a red shoe 100%"}),
        ("mug red", {"a red mug"}),
        ("100%", {"a red shoe 100%"}),
        ("_", set()),
        ("红色", {"红色的杯子"}),
        ("' or 1=1", set()),
        ("guochao", {"红色的杯子"}),
    ],
)
def test_search_takes_words_as_they_are(library: Library, words: str, found: set[str]) -> None:
    add(library, "a red mug")
    add(library, "a red shoe 100%")
    add(library, "红色的杯子", loras=({"name": "guochao", "weight": 1.0},))
    assert {row.request.prompt for row in library.images(search=words)} == found


def test_the_bin_hides_and_gives_back(library: Library) -> None:
    kept, binned = add(library), add(library)
    library.trash([binned.id])
    assert [row.id for row in library.images()] == [kept.id]
    assert [(row.id, row.trashed) for row in library.images(trash=True)] == [(binned.id, True)]
    assert library.counts() == (1, 1)
    library.restore([binned.id])
    assert library.counts() == (2, 0)


def test_the_bin_takes_all_or_none(library: Library) -> None:
    row = add(library)
    with pytest.raises(NotFound, match="1 of 2"):
        library.trash([row.id, "0" * 32])
    assert library.counts() == (1, 0)


def test_a_job_gets_each_of_its_pictures_once(library: Library) -> None:
    row = add(library, job="j")
    again = library.add("j", row.request, Rendered(0, 3, 8, 8, b"", 0.1), b"other")
    assert again is None
    assert library.of_jobs(["j", "k"]) == {"j": (row,), "k": ()}
    assert [file.read_bytes() for file in row.file.parent.iterdir()] == [b"picture"]


def test_a_start_clears_what_a_killed_writer_left(library: Library) -> None:
    row = add(library)
    folder = row.file.parent
    (folder / f"{new_id()}.png.tmp").write_bytes(b"half")
    orphan = folder / f"{new_id()}.png"
    orphan.write_bytes(b"whole, but its row never came")
    library.reconcile()
    assert [file.name for file in folder.iterdir()] == [row.file.name]
    assert (folder.parent / "unclaimed" / orphan.name).read_bytes().startswith(b"whole")


def test_a_write_that_fails_leaves_no_file(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    row = add(library)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(library._database, "write", full)
    with pytest.raises(OSError, match="No space"):
        add(library)
    assert [file.name for file in row.file.parent.iterdir()] == [row.file.name]


def test_a_file_is_synced_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        steps.append("rename")
        return real(self, target)

    monkeypatch.setattr(files.os, "fsync", lambda handle: steps.append("fsync"))
    monkeypatch.setattr(Path, "rename", rename)
    files.write_whole(tmp_path / "a.png", b"x")
    assert steps == ["fsync", "rename", "fsync"] and [file.name for file in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("id", ["../../etc/passwd", "..%2f", "/etc/passwd", "\0", "", "x" * 4096, "0" * 32])
def test_no_id_leads_out_of_the_library(library: Library, id: str) -> None:
    with pytest.raises(NotFound) as caught:
        library.picture_bytes(id)
    assert caught.value.message == "No such picture."


def test_a_link_in_the_library_is_not_followed(library: Library, tmp_path: Path) -> None:
    row = add(library)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    row.file.unlink()
    row.file.symlink_to(secret)
    with pytest.raises(NotFound):
        library.picture_bytes(row.id)


def test_ids_sort_by_age_and_never_repeat() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000 and all(files.is_id(id) for id in ids)
    assert sorted(ids, key=lambda id: id[:12]) == ids
