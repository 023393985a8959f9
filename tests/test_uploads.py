"""Uploads: stills of three kinds, small enough, upright, bare; everything else is refused by its head."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from studio import uploads
from studio.errors import StudioError, TooLarge, UnsupportedImage
from studio.uploads import clean

MB = 2**20


def take(data: bytes) -> uploads.Upload:
    return clean(data, 20 * MB, 40_000_000)


def file(kind: str, size: tuple[int, int] = (6, 4), mode: str = "RGB", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, 100 if mode in ("L", "I;16", "1") else None).save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def claimed(width: int, height: int) -> bytes:
    """A PNG of a kilobyte that says it is this large."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def noted(*notes: bytes) -> bytes:
    png = file("PNG")
    return (
        png[:33] + b"".join(chunk(b"zTXt", b"note\0\0" + zlib.compress(note, 9)) for note in notes) + png[33:]
    )


@pytest.mark.parametrize(("kind", "format"), [("PNG", "png"), ("JPEG", "jpeg"), ("WEBP", "png")])
def test_three_kinds_are_taken(kind: str, format: str) -> None:
    kept = take(file(kind))
    assert (kept.format, kept.width, kept.height) == (format, 6, 4)
    assert Image.open(io.BytesIO(kept.data)).format == format.upper()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_of_png_becomes_a_plain_one(mode: str) -> None:
    kept = Image.open(io.BytesIO(take(file("PNG", mode=mode)).data))
    assert kept.mode in ("L", "RGB", "RGBA") and kept.size == (6, 4)


def test_sixteen_bit_grey_keeps_its_tones() -> None:
    tones = np.array([[0, 0x8000, 0xFFFF]], np.uint16)
    out = io.BytesIO()
    Image.fromarray(tones).save(out, "PNG")
    kept = np.asarray(Image.open(io.BytesIO(take(out.getvalue()).data)))
    assert kept.tolist() == [[0, 128, 255]]


def test_cmyk_photographs_become_rgb() -> None:
    assert Image.open(io.BytesIO(take(file("JPEG", mode="CMYK")).data)).mode == "RGB"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"x", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<!doctype html><script>1</script>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"8BPS\0\1" + bytes(30), b"%PDF-1.7\n",
        b"SIMPLE  =                    T" + bytes(80), file("GIF"),
        file("BMP"), file("TIFF"), b"PK\3\4" + bytes(30),
    ],
)  # fmt: skip
def test_other_kinds_are_refused_by_content(data: bytes) -> None:
    with pytest.raises(UnsupportedImage) as caught:
        take(data)
    assert caught.value.code == "unsupported_image" and "PNG, JPEG or WebP" in caught.value.hint


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_damaged_picture_is_refused_not_crashed_on(kind: str) -> None:
    whole = file(kind, (64, 64))
    for end in (12, 20, len(whole) // 2):
        with pytest.raises(UnsupportedImage):
            take(whole[:end])


@pytest.mark.parametrize("size", [(20_000, 20_000), (10_000, 10_000), (16_400, 8), (2**31 - 1, 2**31 - 1)])
def test_a_picture_too_large_is_refused_before_it_is_decoded(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", decode)
    with pytest.raises(UnsupportedImage) as caught:
        take(claimed(*size))
    assert caught.value.code == "too_many_pixels"


def test_the_refusal_says_how_many_pixels() -> None:
    with pytest.raises(UnsupportedImage, match=r"10000x10000 px = 100.0 Mpx; the limit is 40 Mpx"):
        take(claimed(10_000, 10_000))


@pytest.mark.parametrize("data", [noted(bytes(50 * MB)), noted(*[bytes(MB)] * 100)])
def test_notes_that_unfold_are_refused_before_they_do(data: bytes) -> None:
    with pytest.raises(UnsupportedImage) as caught:
        take(data)
    assert caught.value.code == "metadata_too_large"


def test_bytes_over_the_limit_are_refused_as_too_large() -> None:
    with pytest.raises(TooLarge, match=r"21\.0 MB; at most 20\.0 MB"):
        take(bytes(21 * MB))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_moving_pictures_are_refused(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    out = io.BytesIO()
    frames[0].save(out, kind, save_all=True, append_images=frames[1:])
    with pytest.raises(UnsupportedImage, match="2 frames"):
        take(out.getvalue())


def test_a_phones_second_picture_behind_the_first_is_no_movement() -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    out = io.BytesIO()
    frames[0].save(out, "MPO", save_all=True, append_images=frames[1:])
    assert take(out.getvalue()).format == "jpeg"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_turned_photograph_is_set_upright_and_stripped(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    exif[0x010E] = "a secret place"
    kept = take(file(kind, (6, 4), exif=exif))
    assert (kept.width, kept.height) == (4, 6)
    assert b"secret" not in kept.data and not Image.open(io.BytesIO(kept.data)).getexif()


def test_text_and_profiles_are_stripped() -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("parameters", "<img src=x onerror=1>")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    kept = Image.open(io.BytesIO(take(file("PNG", pnginfo=notes, icc_profile=profile)).data))
    assert kept.info == {}


def test_a_broken_orientation_does_no_harm() -> None:
    exif = Image.Exif()
    exif[0x0112] = 99
    assert take(file("JPEG", exif=exif)).width == 6


@pytest.mark.parametrize("seed", range(40))
def test_random_damage_ends_in_a_picture_or_a_refusal(seed: int) -> None:
    random = np.random.default_rng(seed)
    whole = bytearray(file(("PNG", "JPEG", "WEBP")[seed % 3], (32, 32)))
    for place in random.integers(0, len(whole), 6):
        whole[place] = random.integers(0, 256)
    try:
        take(bytes(whole))
    except StudioError as error:
        assert error.status in (413, 422)


def test_transparent_parts_are_laid_on_white() -> None:
    clear = take(file("PNG", mode="RGBA")).data
    assert Image.open(io.BytesIO(uploads.flat(clear))).getpixel((0, 0)) == (255, 255, 255)
    opaque = take(file("PNG")).data
    assert uploads.flat(opaque) is opaque
