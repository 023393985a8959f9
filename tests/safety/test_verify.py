"""Whose picture is it: by manifest, by mark, by neither."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocket.scenes import draw_scene, sample_scene
from studio.safety.keys import read_key
from studio.safety.manifest import Notary
from studio.safety.mark import Marker
from studio.safety.verdict import Verification
from studio.safety.verify import verify

ID = 0x0BADCAFE
MARK = "0badcafe"


@pytest.fixture(scope="module")
def marker() -> Marker:
    return Marker()


@pytest.fixture(scope="module")
def notary(tmp_path_factory: pytest.TempPathFactory) -> Notary:
    return Notary(read_key(tmp_path_factory.mktemp("home") / "keys", "Acme"))


@pytest.fixture(scope="module")
def delivered(marker: Marker, notary: Notary) -> bytes:
    """A picture as a client gets it: marked and signed."""
    picture = marker.embed(draw_scene(sample_scene(random.Random(2)), 256), ID)
    return notary.sign(encoded(Image.fromarray(picture), "PNG"), "image/png", "p1", "pocket", "2026-11-21")


def encoded(picture: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, quality=85)
    return stream.getvalue()


def asked(file: bytes, notary: Notary, marker: Marker, library: dict[str, list[str]]) -> Verification:
    return verify(file, notary, marker, lambda mark: library.get(mark, []))


def test_a_delivered_picture_is_ours_and_unchanged(delivered: bytes, notary: Notary, marker: Marker) -> None:
    found = asked(delivered, notary, marker, {MARK: ["p1"]})
    assert (found.verdict, found.mark, found.pictures) == ("ours, unchanged", MARK, ("p1",))


def test_the_mark_still_tells_when_the_manifest_was_stripped(
    delivered: bytes, notary: Notary, marker: Marker
) -> None:
    bare = encoded(Image.open(io.BytesIO(delivered)), "JPEG")
    found = asked(bare, notary, marker, {MARK: ["p1"]})
    assert found.verdict == "ours, changed since" and found.manifest is None and found.pictures == ("p1",)


def test_a_mark_that_the_library_does_not_know_proves_nothing(
    delivered: bytes, notary: Notary, marker: Marker
) -> None:
    bare = encoded(Image.open(io.BytesIO(delivered)), "JPEG")
    assert asked(bare, notary, marker, {}).verdict == "unknown"


def test_another_studios_picture_is_not_ours(delivered: bytes, marker: Marker, tmp_path: Path) -> None:
    stranger = Notary(read_key(tmp_path / "keys", "Acme"))
    assert asked(delivered, stranger, marker, {}).verdict == "made by another program"


def test_a_plain_photograph_is_unknown(notary: Notary, marker: Marker) -> None:
    noise = np.random.default_rng(3).integers(0, 255, (200, 300, 3), np.uint8)
    assert asked(encoded(Image.fromarray(noise), "WEBP"), notary, marker, {}).verdict == "unknown"
