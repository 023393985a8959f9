"""Protected marks in pictures, on drawn scenes; bench/protected.py has the long form."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.protected_marks import as_known, jpeg, place, scene
from studio.safety.checks import Checks, told
from studio.safety.protected import Protected
from studio.safety.rules import Policy, read_rules

MARKS = (0, 3, 5, 6, 8, 15)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("protected")
    for number in MARKS:
        as_known(number).save(folder / f"mark-{number}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not a picture")
    return folder


def png(picture: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def checks(folder: Path) -> Checks:
    return Checks(folder, {})


@pytest.mark.parametrize("mark", MARKS)
def test_a_small_turned_recoloured_mark_is_found_with_its_place(checks: Checks, mark: int) -> None:
    picture, box = place(scene(mark), mark, mark)
    (check,) = checks.look(png(jpeg(picture)))
    assert (check.check, check.looked_for, check.done) == ("protected", len(MARKS), "flag")
    first = check.findings[0]
    assert first.match == f"mark-{mark}" and first.score >= 0.82
    for told_of, drawn in zip(first.box, box, strict=True):
        assert abs(told_of * 512 - drawn) < 12 + 0.12 * box[2]


def test_scenes_without_a_mark_raise_no_alarm(checks: Checks) -> None:
    for seed in range(6):
        assert checks.look(png(jpeg(scene(500 + seed))))[0].findings == ()


def test_a_mark_on_plain_ground_is_cut_out_of_it_and_an_artwork_is_taken_whole(tmp_path: Path) -> None:
    paper = Image.new("RGB", (600, 600), "white")
    mark = as_known(3).resize((300, 300))
    paper.paste(mark, (150, 150), mark)
    paper.save(tmp_path / "on-paper.jpg")
    Image.fromarray(scene(77)).save(tmp_path / "artwork.png")
    checks = Checks(tmp_path, {})
    picture, _ = place(scene(3), 3, 3)
    assert checks.look(png(picture))[0].findings[0].match == "on-paper"
    assert checks.look(png(jpeg(scene(77), 60)))[0].findings[0].match == "artwork"


def test_the_folder_is_looked_at_again_when_it_changes(tmp_path: Path) -> None:
    protected = Protected(tmp_path / "none-yet")
    assert protected.index() is None
    (tmp_path / "none-yet").mkdir()
    as_known(3).save(tmp_path / "none-yet" / "a.png")
    assert protected.index() is not None and protected.names == ("a",)
    (tmp_path / "none-yet" / "a.png").unlink()
    assert protected.index() is None


def test_an_empty_folder_checks_nothing(tmp_path: Path) -> None:
    checks, file = Checks(tmp_path, {}), png(scene(1))
    assert checks.apply(file) == (file, ())


@pytest.mark.parametrize("policy", ["flag", "blur", "block"])
def test_what_is_found_is_flagged_blurred_or_blocked(folder: Path, policy: Policy) -> None:
    picture, (left, top, width, height) = place(scene(3), 3, 3)
    file = png(picture)
    data, checked = Checks(folder, {"protected": policy}).apply(file)
    (check,) = told(checked)
    assert check["done"] == policy and check["findings"][0]["match"] == "mark-3"
    changed = np.any(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) != picture, axis=2)
    inside = changed[top : top + height, left : left + width].mean()
    outside = changed.mean()
    if policy == "flag":
        assert data == file
    elif policy == "blur":
        assert inside > 0.9 and outside < 0.3
    else:
        assert changed.mean() > 0.95


def test_the_policy_is_read_from_the_rules(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("protected: blur\n")
    assert read_rules(file, "x").protected == "blur"
    file.write_text("protected: maybe\n")
    with pytest.raises(Exception, match="flag, blur or block"):
        read_rules(file, "x")
