"""A client's copy: nothing of how it was made is in it, and it can be verified."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
from PIL import ExifTags, Image, PngImagePlugin

from pocket.scenes import draw_scene, sample_scene
from studio.safety.provenance import Origin, Provenance

SECRET = "a prompt nobody outside may read"
ORIGIN = Origin(7, "p1", "pocket", "2026-11-21T10:00:00Z")


@pytest.fixture(scope="module")
def provenance(tmp_path_factory: pytest.TempPathFactory) -> Provenance:
    return Provenance(tmp_path_factory.mktemp("home") / "keys", "Acme")


def kept(kind: str) -> bytes:
    """A picture as the library keeps it, with its settings in it."""
    picture = Image.fromarray(draw_scene(sample_scene(random.Random(4)), 256))
    stream = io.BytesIO()
    if kind == "PNG":
        notes = PngImagePlugin.PngInfo()
        notes.add_text("parameters", SECRET)
        picture.save(stream, kind, pnginfo=notes)
    else:
        exif = Image.Exif()
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = SECRET.encode()
        picture.save(stream, kind, exif=exif, quality=95)
    assert SECRET.encode() in stream.getvalue()
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_client_copy_says_nothing_of_how_it_was_made(provenance: Provenance, kind: str) -> None:
    copy = provenance.outgoing(kept(kind), ORIGIN).file()
    opened = Image.open(io.BytesIO(copy))
    assert SECRET.encode() not in copy and SECRET not in str(opened.info) and opened.format == kind
    assert opened.info["icc_profile"] and not opened.getexif()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_client_copy_is_verified(provenance: Provenance, kind: str) -> None:
    copy = provenance.outgoing(kept(kind), ORIGIN).file()
    found = provenance.verify(copy, lambda mark: ["p1"] if mark == "00000007" else [])
    assert (found.verdict, found.mark, found.pictures) == ("ours, unchanged", "00000007", ("p1",))


def test_marks_can_be_left_out(tmp_path: Path) -> None:
    plain = Provenance(tmp_path / "keys", "Acme", marks=False)
    copy = plain.outgoing(kept("PNG"), ORIGIN).file()
    assert Image.open(io.BytesIO(copy)).tobytes() == Image.open(io.BytesIO(kept("PNG"))).tobytes()
    assert plain.verify(copy, lambda mark: []).mark == ""


def test_a_picture_too_small_for_a_mark_is_signed_all_the_same(provenance: Provenance) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(stream, "PNG")
    copy = provenance.outgoing(stream.getvalue(), ORIGIN).file()
    assert provenance.verify(copy, lambda mark: []).verdict == "ours, unchanged"
