"""Colour differences by the book, and a score that goes with what one sees."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from studio.brand.colour import difference, from_oklab, read_hex, to_lab, to_oklab, write_hex
from studio.brand.palette import dominant, recolour, score_picture, score_pixels

# Sharma, Wu, Dalal 2005, table 1: the pairs that catch wrong hue arithmetic.
SHARMA = (
    ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
    ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0000),
    ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0011), 7.2195),
    ((50.0, -0.001, 2.49), (50.0, 0.0011, -2.49), 4.7461),
    ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
    ((50.0, 2.5, 0.0), (56.0, -27.0, -3.0), 31.9030),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((90.8027, -2.0831, 1.441), (91.1528, -1.6435, 0.0447), 1.4441),
    ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
)
BRAND = {"red": "#C8102E", "sand": "#EAD7B4"}


def flat(*areas: tuple[str, int]) -> np.ndarray:
    """(N, 3) pixels: so many of each colour."""
    return np.concatenate([np.tile(np.array(read_hex(code), np.uint8), (count, 1)) for code, count in areas])


@pytest.mark.parametrize("one, other, expected", SHARMA)
def test_ciede2000_is_the_published_one(
    one: tuple[float, ...], other: tuple[float, ...], expected: float
) -> None:
    for left, right in ((one, other), (other, one)):
        assert float(difference(np.array(left), np.array(right))) == pytest.approx(expected, abs=5e-5)


def test_lab_and_oklab_are_those_of_another_library() -> None:
    coloraide = pytest.importorskip("coloraide")
    drawn = np.random.default_rng(1).integers(0, 256, (60, 3))
    for rgb, lab, ok in zip(drawn, to_lab(drawn), to_oklab(drawn), strict=True):
        colour = coloraide.Color("srgb", rgb / 255)
        assert np.allclose(colour.convert("lab-d65").coords(), lab, atol=1e-5)
        assert np.allclose(colour.convert("oklab").coords(), ok, atol=1e-6)
    assert np.allclose(from_oklab(to_oklab(drawn)), drawn, atol=1e-6)


def test_a_picture_in_the_brands_colours_scores_full_and_one_in_others_nothing() -> None:
    assert score_pixels(flat(("#C8102E", 300), ("#EAD7B4", 700)), BRAND).score == 100
    assert score_pixels(flat(("#1F4FD8", 500), ("#2E8B45", 500)), BRAND).score < 20


def test_the_score_follows_the_area() -> None:
    scores = [score_pixels(flat(("#C8102E", 1000 - blue), ("#1F4FD8", blue)), BRAND).score for blue in
              (0, 100, 300, 600, 1000)]  # fmt: skip
    assert scores == sorted(scores, reverse=True) and scores[0] - scores[2] > 20


def test_neutrals_that_the_palette_does_not_name_weigh_little() -> None:
    half_white = score_pixels(flat(("#C8102E", 500), ("#FFFFFF", 500)), {"red": "#C8102E"})
    half_green = score_pixels(flat(("#C8102E", 500), ("#2E8B45", 500)), {"red": "#C8102E"})
    assert half_white.score > 75 > half_green.score
    assert [swatch.neutral for swatch in half_white.swatches] == [False, True]
    named = score_pixels(flat(("#C8102E", 500), ("#FFFFFF", 500)), {"red": "#C8102E", "paper": "#FFFFFF"})
    assert named.score == 100 and not any(swatch.neutral for swatch in named.swatches)


def test_light_and_shade_on_one_paint_are_one_paint() -> None:
    shaded = score_pixels(flat(("#C8102E", 500), ("#A00D25", 300), ("#DC3048", 200)), BRAND)
    assert shaded.score > 90


def test_swatches_say_share_and_nearest_colour() -> None:
    found = score_pixels(flat(("#C9112F", 750), ("#1F4FD8", 250)), BRAND).swatches
    assert [(one.colour, one.role, round(one.share, 2)) for one in found] == [
        ("#C9112F", "red", 0.75), ("#1F4FD8", "red", 0.25),
    ]  # fmt: skip
    assert found[0].distance < 1 < found[1].distance


def test_transparent_parts_count_for_nothing() -> None:
    picture = Image.new("RGBA", (64, 64), (31, 79, 216, 0))
    picture.paste((200, 16, 46, 255), (16, 16, 48, 48))
    out = io.BytesIO()
    picture.save(out, "PNG")
    assert score_picture(out.getvalue(), BRAND).score == 100


def test_the_same_pixels_give_the_same_colours_in_any_order() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (2000, 3)).astype(np.uint8)
    colours, shares = dominant(pixels)
    again, shares_again = dominant(pixels[::-1])
    assert np.allclose(colours, again, atol=1e-6) and np.allclose(shares, shares_again)
    assert shares.sum() == pytest.approx(1) and len(colours) <= 8


def test_an_empty_palette_asks_for_nothing() -> None:
    assert score_pixels(flat(("#C8102E", 10)), {}).score == 100


def test_recolour_brings_hues_to_the_palette_and_keeps_every_lightness() -> None:
    rng = np.random.default_rng(5)
    picture = np.clip(rng.normal((205, 60, 40), 18, (40, 40, 3)), 0, 255).astype(np.uint8)
    picture[:10] = 128
    changed = recolour(picture, BRAND, 0.8)
    assert (
        score_pixels(changed.reshape(-1, 3), BRAND).score > score_pixels(picture.reshape(-1, 3), BRAND).score
    )
    before, after = to_oklab(picture)[..., 0], to_oklab(changed)[..., 0]
    assert np.abs(before - after).max() < 0.012
    assert np.abs(changed[:10].astype(int) - 128).max() <= 1
    assert np.array_equal(recolour(picture, BRAND, 0.0), picture)


def test_colours_are_written_as_they_are_read() -> None:
    assert write_hex(np.array(read_hex("#C8102E"))) == "#C8102E"
