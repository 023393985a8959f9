"""Pictures of the library against a brand's palette: scored, sorted, kept."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from folders import make_model
from PIL import Image

from studio.errors import BadRequest, NotFound
from studio.executors import FakeExecutor
from studio.schema import Rendered, ResolvedRequest
from studio.settings import Settings
from studio.studio import Studio

RED, SAND, BLUE = (200, 16, 46), (245, 235, 221), (31, 79, 216)  # cinnabar and porcelain are guochao's


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    make_model(tmp_path / "models" / "pocket")
    with closing(Studio.open(Settings(home=tmp_path), FakeExecutor())) as studio:
        yield studio


def put(
    studio: Studio, job: str, colours: tuple[tuple[int, int, int], ...], preset: str | None = None
) -> str:
    picture = Image.new("RGB", (64, 64), colours[0])
    for number, colour in enumerate(colours):
        picture.paste(colour, (0, number * 64 // len(colours), 64, 64))
    out = io.BytesIO()
    picture.save(out, "PNG")
    request = ResolvedRequest(
        prompt=job, preset=preset, model="pocket", negative_prompt="", width=64, height=64, steps=1,
        guidance=1.0, scheduler="ddim", seed=1,
    )  # fmt: skip
    row = studio.library.add(job, request, Rendered(0, 1, 64, 64, out.getvalue(), 0.1), out.getvalue())
    assert row is not None
    return row.id


def test_pictures_are_sorted_by_how_well_they_keep_to_the_palette(studio: Studio) -> None:
    half, off, full = (
        put(studio, "half", (RED, BLUE)),
        put(studio, "off", (BLUE,)),
        put(studio, "full", (RED, SAND)),
    )
    ranked = studio.by_palette("guochao")
    assert [row.id for row, _ in ranked] == [full, half, off]
    assert ranked[0][1].score > 95 and ranked[2][1].score < 30
    assert [row.id for row, _ in studio.by_palette("guochao", at_least=95)] == [full]
    assert [row.id for row, _ in studio.by_palette("guochao", search="half")] == [half]


def test_a_picture_is_scored_against_its_own_preset_or_a_named_one(studio: Studio) -> None:
    own, bare = put(studio, "own", (RED,), "guochao"), put(studio, "bare", (RED,))
    name, found = studio.palette_score(own)
    assert (name, found.swatches[0].role) == ("guochao", "cinnabar") and found.score > 95
    assert studio.palette_score(bare, "nordic")[1].score < 40
    with pytest.raises(BadRequest, match="no preset"):
        studio.palette_score(bare)
    with pytest.raises(NotFound):
        studio.palette_score(bare, "nobody")


def test_colours_are_found_once_and_kept(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    id = put(studio, "one", (RED, SAND))
    before = studio.palette_score(id, "guochao")[1]
    studio.library.image(id).file.unlink()
    assert studio.palette_score(id, "guochao")[1] == before
    gone = put(studio, "gone", (BLUE,))
    studio.library.image(gone).file.unlink()
    assert [row.id for row, _ in studio.by_palette("guochao")] == [id]
    with pytest.raises(NotFound):
        studio.palette_score(gone, "guochao")
