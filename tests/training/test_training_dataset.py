from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from studio.errors import BadRequest, StudioError
from studio.training.buckets import buckets, crop, nearest
from studio.training.captions import with_trigger
from studio.training.dataset import Dataset, keep_dataset, list_datasets, load_dataset, picture_file, split

SIZE = 64


def drawn(number: int, side: int = 96, blur: float = 0.0) -> Image.Image:
    """A picture of its own: boxes and a disc whose places and colours the number decides."""
    rng = np.random.default_rng(number)
    pixels = np.full((side, side, 3), rng.integers(0, 256, 3), np.uint8)
    for _ in range(6):
        x, y, width, height = (int(value) for value in rng.integers(4, side * 0.7, 4))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        cv2.rectangle(pixels, (x, y), (x + width // 2, y + height // 2), colour, -1)
    if blur:
        pixels = cv2.GaussianBlur(pixels, (0, 0), blur)
    return Image.fromarray(pixels)


def saved(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def folder_of(path: Path, count: int = 8) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (path / f"{number}.png").write_bytes(saved(drawn(number)))
        (path / f"{number}.txt").write_text(f"picture {number}", encoding="utf-8")
    return path


def kept(source: Path, home: Path, **options: object) -> Dataset:
    return keep_dataset(source, home, name="test", size=SIZE, **options)  # type: ignore[arg-type]


def findings(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    return {entry.name: entry.findings for entry in dataset.entries}


def test_a_folder_becomes_a_set_with_its_captions(tmp_path: Path) -> None:
    dataset = kept(folder_of(tmp_path / "in"), tmp_path / "sets", licence="ours")
    assert len(dataset.used) == 8
    assert {entry.caption for entry in dataset.used} == {f"picture {number}" for number in range(8)}
    assert dataset.licence == "ours" and dataset.source == "in"
    assert all(picture_file(tmp_path / "sets", dataset, entry).is_file() for entry in dataset.used)
    assert load_dataset(tmp_path / "sets", dataset.id) == dataset


def test_the_same_pictures_are_the_same_version_and_another_caption_is_another(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in")
    first, again = kept(source, tmp_path / "sets"), kept(source, tmp_path / "sets")
    (source / "3.txt").write_text("other words", encoding="utf-8")
    other = kept(source, tmp_path / "sets")
    assert first.id == again.id != other.id
    assert {one.id for one in list_datasets(tmp_path / "sets")} == {first.id, other.id}


def test_what_is_wrong_with_a_picture_is_named_and_keeps_it_out(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in")
    (source / "a-copy.jpeg.png").write_bytes((source / "1.png").read_bytes())
    (source / "near.jpg").write_bytes(saved(drawn(2).resize((92, 92)), "JPEG", quality=80))
    (source / "soft.png").write_bytes(saved(drawn(24, blur=5)))
    (source / "tiny.png").write_bytes(saved(drawn(21).resize((20, 20))))
    (source / "broken.png").write_bytes(saved(drawn(22))[:200])
    dataset = kept(source, tmp_path / "sets")
    found = findings(dataset)
    assert "exact_duplicate" in found["a-copy.jpeg.png"] or "exact_duplicate" in found["1.png"]
    assert "near_duplicate" in found["near.jpg"]
    assert next(entry.like for entry in dataset.entries if entry.name == "near.jpg") == "2.png"
    assert "blurred" in found["soft.png"]
    assert "too_small" in found["tiny.png"]
    assert "corrupt" in found["broken.png"]
    assert len(dataset.used) == 8


def test_the_same_drawing_in_other_colours_is_no_duplicate(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in")
    other = np.asarray(drawn(3)).copy()[..., ::-1]
    (source / "recoloured.png").write_bytes(saved(Image.fromarray(np.ascontiguousarray(other))))
    assert findings(kept(source, tmp_path / "sets"))["recoloured.png"] == ("no_caption",)


def test_a_picture_can_be_used_although_something_was_found(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in")
    (source / "soft.png").write_bytes(saved(drawn(24, blur=5)))
    dataset = kept(source, tmp_path / "sets", kept_anyway=["soft.png"])
    assert "soft.png" in {entry.name for entry in dataset.used}


def test_a_picture_taken_sideways_is_turned_upright(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in")
    exif = Image.Exif()
    exif[0x0112] = 6
    (source / "side.jpg").write_bytes(saved(drawn(30).resize((120, 80)), "JPEG", exif=exif))
    dataset = kept(source, tmp_path / "sets")
    entry = next(entry for entry in dataset.entries if entry.name == "side.jpg")
    assert (entry.width, entry.height) == (80, 120) and "turned" in entry.findings and entry.used


def test_captions_come_from_a_table_and_files_go_before_it(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in")
    (source / "2.txt").unlink()
    table = 'file_name,text\n1.png,from the table\n2.png,"two, with comma"\nnobody.png,lost\n'
    (source / "captions.csv").write_text(table, encoding="utf-8-sig")
    (source / "4.txt").write_bytes(b"\xff\xfe\xfa")
    (source / "orphan.txt").write_text("x", encoding="utf-8")
    dataset = kept(source, tmp_path / "sets")
    captions = {entry.name: entry.caption for entry in dataset.entries}
    assert captions["1.png"] == "picture 1" and captions["2.png"] == "two, with comma"
    assert captions["4.png"] == "" and "no_caption" in findings(dataset)["4.png"]
    assert dict(dataset.problems) == {
        "4.txt": "caption_unreadable", "nobody.png": "caption_orphan", "orphan.txt": "caption_orphan"
    }  # fmt: skip


def test_a_kohya_folder_says_repeats_and_words(tmp_path: Path) -> None:
    folder_of(tmp_path / "in")
    for text in (tmp_path / "in").glob("*.txt"):
        text.unlink()
    (tmp_path / "in").rename(tmp_path / "3_gold_sticker")
    (tmp_path / "outer").mkdir()
    (tmp_path / "3_gold_sticker").rename(tmp_path / "outer" / "3_gold_sticker")
    dataset = kept(tmp_path / "outer", tmp_path / "sets")
    assert {(entry.repeats, entry.caption) for entry in dataset.used} == {(3, "gold sticker")}


@pytest.mark.parametrize(
    ("caption", "trigger", "made"),
    [
        ("a red mug", "acme style", "a red mug, acme style"),
        ("[trigger], a red mug", "acme style", "acme style, a red mug"),
        ("an Acme Style mug", "acme style", "an Acme Style mug"),
        ("", "acme style", "acme style"),
        ("a mug, [trigger]", "", "a mug"),
    ],
)
def test_the_trigger_is_put_in_once(caption: str, trigger: str, made: str) -> None:
    assert with_trigger(caption, trigger) == made


def zip_of(file: Path, entries: dict[str, bytes], count: int = 6) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(count):
            archive.writestr(f"set/{number}.png", saved(drawn(number)))
        for name, data in entries.items():
            archive.writestr(name, data)
    return file


def test_a_zip_is_read_and_litter_is_counted(tmp_path: Path) -> None:
    litter = {"__MACOSX/set/._0.png": b"x", "set/.DS_Store": b"x", "set/notes.md": b"x"}
    dataset = kept(zip_of(tmp_path / "in.zip", {"set/0.txt": b"nought", **litter}), tmp_path / "sets")
    assert len(dataset.used) == 6 and dataset.ignored == 3
    assert next(entry.caption for entry in dataset.entries if entry.name == "set/0.png") == "nought"


@pytest.mark.parametrize("name", ["../evil.png", "/etc/evil.png", "C:\\evil.png", "a\\..\\..\\evil.png"])
def test_a_zip_that_names_places_outside_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadRequest) as said:
        kept(zip_of(tmp_path / "in.zip", {name: b"x"}), tmp_path / "sets")
    assert said.value.code == "unsafe_archive" and not list((tmp_path / "sets").iterdir())


def test_a_link_in_a_zip_and_a_bomb_are_refused(tmp_path: Path) -> None:
    file = zip_of(tmp_path / "link.zip", {})
    with zipfile.ZipFile(file, "a") as archive:
        link = zipfile.ZipInfo("set/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    bomb = zip_of(tmp_path / "bomb.zip", {"set/bomb.txt": bytes(40 * 2**20)})
    for source, code in ((file, "unsafe_archive"), (bomb, "archive_too_large")):
        with pytest.raises(StudioError) as said:
            kept(source, tmp_path / "sets")
        assert said.value.code == code


def test_links_of_a_folder_are_left_out(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in")
    (tmp_path / "secret.png").write_bytes(saved(drawn(40)))
    (source / "link.png").symlink_to(tmp_path / "secret.png")
    assert len(kept(source, tmp_path / "sets").entries) == 8


def test_too_few_pictures_are_refused_with_figures(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", 4)
    (source / "copy.png").write_bytes((source / "0.png").read_bytes())
    with pytest.raises(BadRequest, match="4 of 5 pictures") as said:
        kept(source, tmp_path / "sets")
    assert said.value.code == "too_few_pictures" and "1 exact duplicate" in said.value.hint
    assert not list((tmp_path / "sets").iterdir())


def test_the_split_is_stable_and_takes_its_share(tmp_path: Path) -> None:
    dataset = kept(folder_of(tmp_path / "in", 20), tmp_path / "sets", hold_out=0.2)
    assert len(dataset.held_out) == 4 and len(dataset.training) == 16
    again = split(list(reversed(dataset.entries)), 0.2)
    assert {entry.file for entry in again if entry.held_out} == {entry.file for entry in dataset.held_out}
    assert not any(entry.held_out for entry in split(dataset.entries, 0.0))


def test_buckets_hold_the_models_area_and_a_picture_finds_its_own() -> None:
    known = buckets(512, 64)
    assert (512, 512) in known and (384, 640) in known
    assert all(width * height <= 512 * 512 and width % 64 == height % 64 == 0 for width, height in known)
    assert nearest(1000, 1000, known) == (512, 512)
    assert nearest(1600, 900, known) == (640, 384)
    left, top, right, bottom = crop(1600, 900, (640, 384))
    assert 0 <= left < right <= 1600 and 0 <= top < bottom <= 900
    assert abs((right - left) / (bottom - top) - 640 / 384) < 0.01
