"""The invisible mark: what it survives, what it costs, and that it is not seen where it is not."""

from __future__ import annotations

import io
import random
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pocket.scenes import draw_scene, sample_scene
from studio.safety import mark
from studio.safety.mark import Marker
from studio.safety.mark_code import CODED_BITS, Decoder, encode_id

Picture = NDArray[np.uint8]
ID = 0xC0FFEE42


@pytest.fixture(scope="module")
def marker() -> Marker:
    return Marker()


def scenes(count: int, size: int) -> list[Picture]:
    rng = random.Random(5)
    return [draw_scene(sample_scene(rng), size) for _ in range(count)]


def encoded(picture: Picture, kind: str, quality: int) -> Picture:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind, quality=quality)
    return np.asarray(Image.open(stream).convert("RGB"))


def resized(picture: Picture, share: float) -> Picture:
    size = round(picture.shape[1] * share), round(picture.shape[0] * share)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def cropped(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    top, left = int(height * 0.04), int(width * 0.07)
    return picture[top : top + int(height * 0.9), left : left + int(width * 0.9)]


ATTACKS: dict[str, Callable[[Picture], Picture]] = {
    "nothing": lambda picture: picture,
    "JPEG 80": lambda picture: encoded(picture, "JPEG", 80),
    "WebP 80": lambda picture: encoded(picture, "WEBP", 80),
    "50 %": lambda picture: resized(picture, 0.5),
    "150 %": lambda picture: resized(picture, 1.5),
    "10 % crop": cropped,
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
@pytest.mark.parametrize("size", [128, 256, 512])
def test_a_mark_survives(marker: Marker, attack: Callable[[Picture], Picture], size: int) -> None:
    for picture in scenes(3, size):
        reading = marker.read(attack(marker.embed(picture, ID)))
        assert reading is not None and reading.id == ID


@pytest.mark.parametrize("size", [128, 256, 512])
def test_a_mark_stays_above_40_db(marker: Marker, size: int) -> None:
    for picture in scenes(3, size):
        error = marker.embed(picture, ID).astype(float) - picture
        assert 10 * np.log10(255**2 / np.mean(error**2)) >= 40


def test_an_unmarked_picture_says_nothing(marker: Marker) -> None:
    assert all(marker.read(picture) is None for picture in scenes(40, 128))


def test_noise_passes_the_check_less_than_once_in_10000() -> None:
    soft = np.random.default_rng(1).normal(size=(10_000, CODED_BITS))
    assert not any(id is not None for id in Decoder().decode(soft))


def test_wrong_bits_are_corrected() -> None:
    coded = encode_id(ID)
    coded[::11] *= -1  # every eleventh bit is wrong
    assert Decoder().decode(coded[None]) == [ID]


def test_pictures_of_any_side_can_be_marked(marker: Marker) -> None:
    picture = scenes(1, 300)[0][:193, :250]
    assert marker.read(marker.embed(picture, 7)) == mark.Reading(7, 1.0)
