"""A brand's logo over a picture: version by contrast, clear space, never larger than it is."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from folders import make_model
from PIL import Image

from studio.brand.logo import overlay
from studio.catalog import LOGO_POSITIONS
from studio.errors import BadRequest, PresetInvalid
from studio.executors import FakeExecutor
from studio.presets import Presets, read_preset
from studio.review.links import ShareRequest
from studio.schema import GenerationRequest
from studio.settings import ROOT, Settings
from studio.studio import Studio

VERSIONS = {
    "light": Image.new("RGBA", (200, 100), (250, 245, 235, 255)),
    "dark": Image.new("RGBA", (200, 100), (30, 20, 20, 255)),
}


@pytest.mark.parametrize(("ground", "version"), [("white", "dark"), ("black", "light"), ("#C8102E", "light")])
def test_the_version_with_more_contrast_is_taken(ground: str, version: str) -> None:
    placed = overlay(Image.new("RGB", (800, 600), ground), VERSIONS, "bottom-right", 0.2, 0.5)
    assert placed.version == version and placed.contrast > 3


def test_the_ground_below_the_logo_counts_and_not_the_picture() -> None:
    picture = Image.new("RGB", (800, 600), "white")
    picture.paste("black", (400, 300, 800, 600))
    assert overlay(picture, VERSIONS, "bottom-right", 0.2, 0.5).version == "light"
    assert overlay(picture, VERSIONS, "top-left", 0.2, 0.5).version == "dark"


def test_a_striped_ground_is_judged_where_it_is_worst() -> None:
    picture = np.zeros((600, 800, 3), np.uint8)
    picture[:, ::2] = 255
    assert overlay(Image.fromarray(picture), VERSIONS, "centre", 0.2, 0.5).contrast < 1.5


@pytest.mark.parametrize("position", LOGO_POSITIONS)
@pytest.mark.parametrize("size", [(800, 600), (300, 900), (64, 64)])
def test_space_is_kept_on_all_sides(position: str, size: tuple[int, int]) -> None:
    placed = overlay(Image.new("RGB", size, "white"), VERSIONS, position, 0.25, 0.5)
    left, top, width, height = placed.box
    space = round(0.5 * height)
    assert min(left, top, size[0] - left - width, size[1] - top - height) >= space - 1
    assert abs(width / height - 2) < 0.2


def test_a_logo_is_never_drawn_larger_than_it_is() -> None:
    placed = overlay(Image.new("RGB", (4000, 3000), "white"), VERSIONS, "bottom-right", 0.5, 0.5)
    assert placed.box[2:] == (200, 100)


@pytest.mark.parametrize(
    ("logo", "said"),
    [
        ("{light: a.png}", "no dark version"),
        ("{light: ../a.png, dark: b.png}", "PNG file's name"),
        ("{light: a.png, dark: b.png, position: middle}", "no position"),
        ("{light: a.png, dark: b.png, width: 0.9}", "0.03 to 0.6"),
        ("{light: a.png, dark: b.png, colour: red}", "not known"),
    ],
)
def test_a_mistake_in_a_logo_is_named_with_its_place(logo: str, said: str) -> None:
    with pytest.raises(PresetInvalid, match=said):
        read_preset(f"version: 1\nname: acme\nlogo: {logo}\n".encode(), "acme")


def test_logos_of_shipped_presets_are_there_and_contrast_with_each_other() -> None:
    logos = [preset.logo for preset in Presets((ROOT / "presets",)).list() if preset.logo]
    assert logos
    for logo in logos:
        for name, ground in ((logo.light, "black"), (logo.dark, "white")):
            picture = Image.open(io.BytesIO((ROOT / "presets" / "logos" / name).read_bytes()))
            assert overlay(Image.new("RGB", (400, 400), ground), {"": picture}, "top", 0.3, 1).contrast > 7


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    home = tmp_path / "home"
    make_model(home / "models" / "pocket")
    folder = home / "presets"
    (folder / "logos").mkdir(parents=True)
    (folder / "acme.yaml").write_text("version: 1\nlogo: {light: l.png, dark: d.png, width: 0.4}\n")
    for version, name in (("light", "l.png"), ("dark", "d.png")):
        VERSIONS[version].save(folder / "logos" / name)
    with closing(Studio.open(Settings(home=home, review_port=0), FakeExecutor())) as studio:
        studio.start()
        yield studio


def made(studio: Studio, side: int = 256) -> str:
    request = GenerationRequest(prompt="a red mug", preset="acme", width=side, height=side, steps=2, seed=5)
    return studio.wait(studio.submit(request).id).images[0].id


def test_client_copies_bear_the_logo_and_are_marked_and_signed_all_the_same(studio: Studio) -> None:
    id = made(studio)
    copy, bare = (studio.client_copy(id, logo)[0] for logo in (True, False))
    with_logo, without = (np.asarray(Image.open(io.BytesIO(file))).astype(int) for file in (copy, bare))
    changed = np.abs(with_logo - without).max(axis=2) > 60
    rows, columns = np.nonzero(changed)
    assert rows.min() > 128 and columns.min() > 100 and changed.mean() > 0.03
    for file in (copy, bare):
        found = studio.verify(file)
        assert (found.verdict, found.pictures) == ("ours, unchanged", (id,))


def test_a_logo_that_nobody_could_read_is_left_out(studio: Studio) -> None:
    id = made(studio, 128)  # 40 % of it are 51 px
    copies = (Image.open(io.BytesIO(studio.client_copy(id, logo)[0])) for logo in (True, False))
    assert len({copy.tobytes() for copy in copies}) == 1


def test_the_room_wears_the_logo_and_a_missing_one_is_told_before_sharing(studio: Studio) -> None:
    id = made(studio)
    link = studio.share(ShareRequest(images=(id,)))
    assert studio.review.links.get(link.id).brand["logo"]
    (studio.settings.home / "presets" / "logos" / "d.png").unlink()
    with pytest.raises(BadRequest, match="d.png is missing"):
        studio.share(ShareRequest(images=(id,)))
