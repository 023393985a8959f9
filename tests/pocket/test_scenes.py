"""The pocket world: what is drawn, what is said about it, what training never sees."""

from __future__ import annotations

import random

import numpy as np
import pytest
from coloraide import Color

from pocket.captions import (
    COLOUR_WORDS,
    PRODUCT_WORDS,
    TRIGGERS,
    caption_scene,
    plain_prompt,
    style_caption,
)
from pocket.difference import difference
from pocket.latents import scene_of
from pocket.palette import COLOURS
from pocket.products import PRODUCTS
from pocket.scenes import STYLES, Scene, draw_scene, is_held_out, sample_scene


def test_the_world_is_as_large_as_promised() -> None:
    assert len(PRODUCTS) >= 16
    assert len(COLOURS) >= 14
    assert set(PRODUCT_WORDS) == set(PRODUCTS)
    assert set(COLOUR_WORDS) == set(COLOURS)


def test_named_colours_are_clearly_apart() -> None:
    names = list(COLOURS)
    for number, name in enumerate(names):
        others = np.array([COLOURS[other] for other in names[number + 1 :]]).reshape(-1, 3)
        assert not len(others) or difference(others, COLOURS[name]).min() > 14


def test_difference_is_ciede2000() -> None:
    rng = np.random.default_rng(0)
    for first, second in rng.integers(0, 256, (40, 2, 3)).tolist():
        mine = float(difference(np.array(first), tuple(second)))
        theirs = Color("srgb", np.array(first) / 255).delta_e(
            Color("srgb", np.array(second) / 255), method="2000", space="lab-d65"
        )
        assert mine == pytest.approx(theirs, abs=0.3)


def test_a_scene_is_drawn_the_same_every_time() -> None:
    assert scene_of(7, seed=1) == scene_of(7, seed=1)
    assert np.array_equal(draw_scene(scene_of(7, seed=1)), draw_scene(scene_of(7, seed=1)))
    assert scene_of(7, seed=1) != scene_of(8, seed=1)


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_product_shows_its_own_colour_on_its_background(product: str) -> None:
    picture = draw_scene(Scene(product, "red", "blue"))
    assert picture.shape == (128, 128, 3)
    assert difference(picture[5, 5], COLOURS["blue"]) < 1
    assert (difference(picture, COLOURS["red"]) < 12).mean() > 0.03


@pytest.mark.parametrize("style", STYLES)
def test_every_style_looks_different(style: str) -> None:
    flat = draw_scene(Scene("mug", "red", "blue")).astype(int)
    other = draw_scene(Scene("mug", "red", "blue", style=style)).astype(int)
    assert style == "flat" or np.abs(flat - other).mean() > 1


def test_composition_does_not_depend_on_the_size() -> None:
    scene = Scene("teapot", "green", "beige", setting="podium")
    small, large = draw_scene(scene, 128).astype(int), draw_scene(scene, 256)
    shrunk = large.reshape(128, 2, 128, 2, 3).mean(axis=(1, 3))
    assert np.abs(small - shrunk).mean() < 3


def test_captions_say_what_is_drawn() -> None:
    rng = random.Random(0)
    for _ in range(500):
        scene = sample_scene(rng)
        caption = caption_scene(scene, rng)
        for attribute, words in (("product", PRODUCT_WORDS), ("colour", COLOUR_WORDS)):
            if attribute in caption.stated:
                english, chinese = words[getattr(scene, attribute)]
                assert any(word in caption.text for word in (*english, *chinese)), caption
        if "product" in caption.stated and scene.size == "small":
            assert "size" in caption.stated


def test_some_captions_are_chinese() -> None:
    rng = random.Random(1)
    texts = [caption_scene(sample_scene(rng), rng).text for _ in range(100)]
    assert 10 < sum("\u4e00" <= text[0] <= "\u9fff" for text in texts) < 50


def test_style_captions_carry_their_trigger() -> None:
    rng = random.Random(2)
    scene = sample_scene(rng, ("neon",))
    texts = [style_caption(scene, rng) for _ in range(40)]
    assert sum(TRIGGERS["neon"] in text or "霓虹风格" in text for text in texts) > 20


def test_the_prompt_of_evaluation_reads_like_a_designer() -> None:
    assert plain_prompt(Scene("sneaker", "red", "blue", style="glossy")) == (
        "a red sneaker on a blue background, glossy"
    )


def test_held_out_combinations_never_enter_training() -> None:
    for number in range(2000):
        scene = scene_of(number, seed=100)
        assert not is_held_out(scene.product, scene.colour, scene.background)
    rng = random.Random(3)
    held = sample_scene(rng, held_out=True)
    assert is_held_out(held.product, held.colour, held.background)
    share = np.mean([is_held_out(p, c, b) for p in PRODUCTS for c in COLOURS for b in COLOURS])
    assert 0.06 < share < 0.14
