"""Product lock and mattes: pixels stay what they are, shadows only darken, grounds are of one colour."""

from __future__ import annotations

import io
import random

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pocket.scenes import Scene, draw_with_mask, sample_scene
from studio.brand.matte import PLAIN, cut, grounded
from studio.brand.product_lock import (
    FITTED,
    OWN_SIZE,
    Cutout,
    Standing,
    check_product,
    lock,
    place,
    read_product,
)
from studio.errors import BadRequest
from studio.schema import Product

Pixels = NDArray[np.uint8]
EDGE = 3


def png(pixels: Pixels) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def speckled(height: int, width: int) -> Pixels:
    """Every pixel another colour: nothing that is changed goes unseen."""
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


def disc(side: int) -> NDArray[np.float32]:
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    return (np.hypot(rows, columns) < side / 2).astype(np.float32)


def bottle() -> Cutout:
    return Cutout(speckled(60, 60), disc(60))


def asked(**fields: float) -> Product:
    return Product(image="a", **fields)  # type: ignore[arg-type]


def inner(standing: Standing, edge: float) -> NDArray[np.bool_]:
    """The matte eroded by the blend's width."""
    size = 2 * int(np.ceil(edge)) + 3
    solid = np.pad((standing.alpha == 1).astype(np.uint8), 1)
    core = cv2.erode(solid, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    return np.asarray(core[1:-1, 1:-1] > 0)


def under(picture: Pixels, standing: Standing) -> Pixels:
    high, wide = standing.alpha.shape
    return picture[standing.top : standing.top + high, standing.left : standing.left + wide]


@pytest.mark.parametrize("channels", [3, 4])
def test_inside_the_eroded_matte_every_pixel_is_the_product_s_own(channels: int) -> None:
    standing = place(bottle(), (120, 120), asked())
    scene = np.full((120, 120, channels), 90, np.uint8)
    core = inner(standing, EDGE)
    stands = under(lock(scene, standing, EDGE, 0.8), standing)
    assert standing.alpha.shape == (60, 60) and core.sum() > 1_000
    assert np.array_equal(stands[core][:, :3], bottle().pixels[core])


def test_a_larger_product_is_scaled_down_once_by_area_and_then_left_alone() -> None:
    whole = Cutout(speckled(90, 60), np.ones((90, 60), np.float32))
    standing = place(whole, (100, 100), asked(width=0.3))
    once = cv2.resize(whole.pixels.astype(np.float32), (30, 45), interpolation=cv2.INTER_AREA)
    assert standing.notes == () and np.array_equal(standing.pixels, np.round(once))
    core = inner(standing, EDGE)
    stands = under(lock(np.zeros((100, 100, 3), np.uint8), standing, EDGE, 0.5), standing)
    assert np.array_equal(stands[core], standing.pixels[core])


def test_a_product_is_never_enlarged_and_a_note_says_so() -> None:
    standing = place(bottle(), (400, 400), asked(width=0.5))
    assert standing.alpha.shape == (60, 60) and standing.notes == (OWN_SIZE,)


def test_a_tall_product_is_fitted_into_the_picture_and_a_note_says_so() -> None:
    tall = Cutout(speckled(400, 100), np.ones((400, 100), np.float32))
    standing = place(tall, (200, 200), asked(width=0.5, y=0.8))
    assert (standing.top, standing.base, standing.notes) == (0, 160, (FITTED,))


@pytest.mark.parametrize(("x", "left"), [(0.0, 0), (0.5, 70), (1.0, 140)])
def test_it_stands_where_it_is_put_and_never_half_outside(x: float, left: int) -> None:
    standing = place(bottle(), (200, 100), asked(x=x, y=0.9, width=0.3))
    assert (standing.left, standing.base) == (left, 90)


def test_the_shadow_only_darkens_and_only_at_the_base() -> None:
    scene = speckled(200, 200)
    standing = place(bottle(), (200, 200), asked(width=0.3, y=0.7))
    bare, shaded = (lock(scene, standing, 0, shadow).astype(int) for shadow in (0, 0.7))
    around = np.ones((200, 200), bool)
    under(around, standing)[standing.alpha > 0] = False  # type: ignore[arg-type]
    assert np.array_equal(bare[around], scene[around])
    assert (shaded <= bare).all()
    changed = np.nonzero((shaded != bare).any(axis=2))
    assert changed[0].min() >= standing.base - 0.25 * 60 and changed[0].max() < standing.base + 0.5 * 60
    assert shaded[standing.base + 1, 100].sum() < 0.6 * bare[standing.base + 1, 100].sum()


def test_the_rim_fades_and_nothing_of_the_product_s_own_ground_shows() -> None:
    photo = np.full((80, 80, 3), 250, np.uint8)
    cv2.circle(photo, (40, 40), 30, (150, 30, 30), -1, cv2.LINE_AA)
    standing = place(read_product(png(photo)), (160, 160), asked(width=1))
    black = np.zeros((160, 160, 3), np.uint8)
    hard, result = (lock(black, standing, edge, 0).astype(int) for edge in (0, 2))
    assert hard.max() <= 170 and hard[..., 1].max() <= 60  # white would be 250, half of it 140
    row = under(result, standing)[30, :, 0]  # type: ignore[arg-type]
    assert list(row[:4]) == sorted(row[:4]) and row[0] < 80 and row[6] == 150


def test_colours_under_full_transparency_do_not_bleed_in() -> None:
    hidden = np.zeros((80, 80, 4), np.uint8)
    hidden[..., 1] = 255  # green where nobody sees it
    cv2.circle(hidden, (40, 40), 30, (200, 0, 0, 255), -1)
    standing = place(read_product(png(hidden)), (64, 64), asked(width=0.2))
    assert standing.pixels[..., 1].max() == 0


def test_a_shadow_on_nothing_is_black_with_alpha() -> None:
    standing = place(bottle(), (120, 120), asked())
    picture = lock(np.zeros((120, 120, 4), np.uint8), standing, 1, 0.6)
    assert picture[0, 0].tolist() == [0, 0, 0, 0]
    below = picture[standing.base + 1, 60]
    assert below[:3].tolist() == [0, 0, 0] and 40 < below[3] < 255
    assert (under(picture, standing)[inner(standing, 1)][:, 3] == 255).all()


NOISE = np.random.default_rng(1).integers(0, 256, (80, 80, 3), np.uint8)


@pytest.mark.parametrize(
    ("pixels", "code"),
    [
        (NOISE, "product_no_ground"),
        (np.full((80, 80, 3), 245, np.uint8), "product_empty"),
        (np.zeros((80, 80, 4), np.uint8), "product_empty"),
    ],
)
def test_a_picture_without_a_product_to_cut_out_is_refused(pixels: Pixels, code: str) -> None:
    for read in (read_product, check_product):
        with pytest.raises(BadRequest) as caught:
            read(png(pixels))
        assert (caught.value.code, caught.value.field) == (code, "product.image")
        assert caught.value.hint


def overlap(alpha: NDArray[np.float32], mask: Pixels) -> float:
    ours, theirs = alpha > 0.5, mask > 127
    return float((ours & theirs).sum() / (ours | theirs).sum())


def drawn(setting: str, count: int) -> list[tuple[Pixels, Pixels]]:
    rng = random.Random(11)
    fields = ({**vars(sample_scene(rng)), "setting": setting, "style": "flat"} for _ in range(count))
    return [draw_with_mask(Scene(**one)) for one in fields]


@pytest.mark.parametrize("setting", ["plain", "gradient", "two-tone"])
def test_drawn_products_are_cut_out_as_they_were_drawn(setting: str) -> None:
    found = [overlap(cut(picture).alpha, mask) for picture, mask in drawn(setting, 8)]
    assert float(np.mean(found)) > 0.9


def test_a_plain_ground_is_one_colour_and_a_cut_out_has_none() -> None:
    picture, mask = drawn("plain", 1)[0]
    matte = cut(picture)
    assert matte.plain > PLAIN
    on_colour, on_none = grounded(picture, matte, (12, 200, 99)), grounded(picture, matte, None)
    outside, core = cv2.dilate(mask, np.ones((9, 9))) == 0, cv2.erode(mask, np.ones((7, 7))) == 255
    assert {tuple(one) for one in on_colour[matte.alpha == 0].tolist()} == {(12, 200, 99)}
    assert (matte.alpha[outside] == 0).mean() > 0.98 and (matte.alpha[core] == 1).mean() > 0.98
    assert on_none.shape == (*picture.shape[:2], 4) and not on_none[matte.alpha == 0].any()
    assert np.array_equal(on_none[matte.alpha == 1][:, :3], picture[matte.alpha == 1])
    assert np.array_equal(on_none[..., 3], np.round(matte.alpha * 255))
