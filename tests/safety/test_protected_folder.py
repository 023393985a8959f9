"""The folder of protected pictures: what was learned is kept, and what changes is noticed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from bench.protected import known
from bench.protected_marks import as_known, jpeg, place, scene
from studio.safety import protected
from studio.safety.protected import Protected
from studio.safety.protected_index import JUDGED, Index, bounded, levels_of
from studio.safety.protected_words import Words


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "protected"
    folder.mkdir()
    as_known(3).save(folder / "a.png")
    as_known(5).save(folder / "标志.png")
    return folder


def kept(folder: Path) -> list[Path]:
    return [file for file in folder.parent.iterdir() if file != folder]


def never(*_: object) -> None:
    raise AssertionError("learned anew")


def test_what_was_learned_is_kept_for_the_next_start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Protected(folder).index() is not None
    monkeypatch.setattr(protected, "_mark", never)
    again = Protected(folder)
    index = again.index()
    assert again.names == ("a", "标志") and index is not None
    assert index.search(place(scene(3), 3, 3)[0], 0.82)[0].mark == 0


def test_only_what_is_new_is_learned(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Protected(folder).index()
    as_known(8).save(folder / "b.png")
    learn, seen = protected._mark, []
    monkeypatch.setattr(protected, "_mark", lambda *asked: seen.append(asked[1].name) or learn(*asked))
    again = Protected(folder)
    again.index()
    assert again.names == ("a", "b", "标志") and seen == ["b.png"]


@pytest.mark.parametrize("damage", [b"", b"not numbers", None])
def test_a_damaged_file_of_what_was_learned_is_made_again(folder: Path, damage: bytes | None) -> None:
    Protected(folder).index()
    (file,) = kept(folder)
    whole = file.read_bytes()
    file.write_bytes(whole[:-100] if damage is None else damage)
    assert Protected(folder).index() is not None
    assert file.read_bytes() == whole


def test_a_file_that_was_written_over_counts_soon(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder's own time stays as it is."""
    watching = Protected(folder)
    watching.index()
    before = folder.stat()
    with (folder / "a.png").open("wb") as file:
        as_known(8).save(file, "PNG")
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))
    monkeypatch.setattr(protected, "AGAIN", 0.0)
    index = watching.index()
    assert index is not None and index.search(place(scene(8), 8, 8)[0], 0.82)[0].mark == 0


def test_an_emptied_folder_leaves_nothing_behind(folder: Path) -> None:
    Protected(folder).index()
    for file in folder.iterdir():
        file.unlink()
    assert Protected(folder).index() is None and kept(folder) == []


def test_without_room_on_the_disk_it_is_learned_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert Protected(folder).index() is not None
    assert "No space left" in caplog.text and kept(folder) == []


def test_a_mark_is_found_among_many_and_no_more_is_compared() -> None:
    index = Index(known(230))
    for number in (3, 6, 8):
        picture = jpeg(place(scene(number), number, number)[0])
        assert 0 < len(index.places(levels_of(bounded(picture)))) <= JUDGED
        assert index.search(picture, 0.82)[0].mark == number


def test_corners_that_are_the_same_are_paired_wherever_they_are_kept() -> None:
    rng = np.random.default_rng(0)
    described = rng.integers(0, 256, (3_000, 64), np.uint8)
    words = Words(described)
    corner, entry, rank = words.pairs(described[:500])
    first = rank == 0
    assert np.array_equal(corner[first], np.arange(500))
    assert np.array_equal(words.order[entry[first]], np.arange(500))
