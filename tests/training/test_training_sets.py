"""A set after it was read: whose pictures are, other captions and splits, what the crop leaves."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from test_training_dataset import drawn, folder_of, kept, saved

from studio.errors import BadRequest, NotFound
from studio.safety.provenance import Origin, Provenance
from studio.settings import ROOT
from studio.training.dataset import Change, change_dataset, load_dataset, picture_file, summary
from studio.training.frames import frame_of, pairs

POCKET = ROOT / "assets" / "models" / "pocket"


@pytest.fixture(scope="module")
def provenance(tmp_path_factory: pytest.TempPathFactory) -> Provenance:
    return Provenance(tmp_path_factory.mktemp("keys"), "Another House")


def test_pictures_that_somebody_claims_are_told_and_stay_in(tmp_path: Path, provenance: Provenance) -> None:
    folder = folder_of(tmp_path / "in")
    marked = provenance.outgoing(
        saved(drawn(20, 192)), Origin(77, "x" * 32, "m", "2026-11-21T00:00:00+00:00")
    )
    (folder / "marked.png").write_bytes(marked.file())
    exif = Image.Exif()
    exif[0x8298], exif[0x013B] = "(c) Acme\x00 2026", "Anna"
    (folder / "claimed.jpg").write_bytes(saved(drawn(21), "JPEG", exif=exif, quality=95))
    notes = PngInfo()
    rights = "<rdf:Alt><rdf:li xml:lang='x-default'>Beta &amp; Sons</rdf:li></rdf:Alt>"
    notes.add_itxt("XML:com.adobe.xmp", f"<x:xmpmeta><dc:rights>{rights}</dc:rights></x:xmpmeta>")
    (folder / "noted.png").write_bytes(saved(drawn(22), pnginfo=notes))
    dataset = kept(folder, tmp_path / "sets", verify=lambda file: provenance.verify(file, lambda mark: []))
    found = {entry.name: entry for entry in dataset.used}
    assert {"marked", "signed"} <= set(found["marked.png"].findings)
    assert "Brand Studio" in found["marked.png"].detail and "0000004d" in found["marked.png"].detail
    assert (
        "claimed" in found["claimed.jpg"].findings and found["claimed.jpg"].detail == "(c) Acme 2026 · Anna"
    )
    assert "claimed" in found["noted.png"].findings and "Beta" in found["noted.png"].detail
    assert not any(entry.detail for name, entry in found.items() if name[0].isdigit())
    rows: Any = summary(dataset)["rows"]
    assert "claimed" in next(row for row in rows if row["name"] == "claimed.jpg")["findings"]
    clean = picture_file(tmp_path / "sets", dataset, found["claimed.jpg"]).read_bytes()
    assert b"Acme" not in clean


def test_a_note_of_a_megabyte_or_of_no_end_takes_no_time(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "in")
    notes = PngInfo()
    notes.add_itxt("XML:com.adobe.xmp", "<dc:rights>" * 100_000)
    (folder / "long.png").write_bytes(saved(drawn(30), pnginfo=notes))
    assert "long.png" in {entry.name for entry in kept(folder, tmp_path / "sets").used}


def test_typed_captions_make_a_new_version_and_the_old_one_stays(tmp_path: Path) -> None:
    home = tmp_path / "sets"
    folder = folder_of(tmp_path / "in", 10)
    (folder / "3.txt").unlink()
    dataset = kept(folder, home, licence="ours")
    assert "no_caption" in next(entry for entry in dataset.used if entry.name == "3.png").findings
    change = Change({"3.png": " a red \n mug ", "4.png": ""}, hold_out=0.3)
    changed = change_dataset(home, dataset, change)
    rows = {entry.name: entry for entry in changed.used}
    assert rows["3.png"].caption == "a red mug" and "no_caption" not in rows["3.png"].findings
    assert rows["4.png"].caption == "" and "no_caption" in rows["4.png"].findings
    assert rows["5.png"].caption == "picture 5" and len(changed.held_out) == 3
    assert changed.id != dataset.id and load_dataset(home, dataset.id) == dataset
    assert all(picture_file(home, changed, entry).is_file() for entry in changed.used)
    assert change_dataset(home, dataset, change).id == changed.id  # the same again is the same version
    assert change_dataset(home, dataset, Change(licence="CC0-1.0")).licence == "CC0-1.0"
    assert not list(home.glob(".*"))


@pytest.mark.parametrize(
    ("captions", "error"), [({"x.png": "a"}, NotFound), ({"3.png": "x" * 20_000}, BadRequest)]
)
def test_captions_that_fit_no_picture_or_no_prompt_are_refused(
    tmp_path: Path, captions: dict[str, str], error: Any
) -> None:
    dataset = kept(folder_of(tmp_path / "in"), tmp_path / "sets")
    with pytest.raises(error) as caught:
        change_dataset(tmp_path / "sets", dataset, Change(captions))
    assert caught.value.field == "captions"


def test_what_the_crop_leaves_is_shown_those_first_that_lose_most(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "in")
    (folder / "wide.png").write_bytes(saved(drawn(40, 256).resize((400, 100))))
    dataset = kept(folder, tmp_path / "sets")
    shown = list(pairs(tmp_path / "sets", dataset, 128, POCKET, most=3))
    assert len(shown) == 3 and shown[0].entry.name == "wide.png"
    first = shown[0]
    left, top, right, bottom = first.frame.box
    width, height = first.frame.bucket
    assert (top, bottom) == (0, 100) and left > 0 and right < 400 and width > height
    assert (right - left) / (bottom - top) == pytest.approx(width / height, rel=0.02)
    after = Image.open(io.BytesIO(first.after))
    assert after.width / after.height == pytest.approx(width / height, rel=0.02)
    square = frame_of(next(entry for entry in dataset.used if entry.name == "0.png"), 128, POCKET)
    assert square.box == (0, 0, 96, 96) and square.bucket == (128, 128)
