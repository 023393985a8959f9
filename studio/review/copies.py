"""Copies of chosen pictures: pixels encoded anew, with nothing of the file they came from."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image

SMALL = 512  # px a side up to which a PNG is light enough for a phone
LARGEST = 2048  # px a side of what the room shows; whoever may download gets every pixel
QUALITY = 90  # WebP


@dataclass(frozen=True)
class Encoded:
    """`suffix`: png or webp. Sizes in px."""

    data: bytes
    suffix: str
    width: int
    height: int


def bare(data: bytes) -> Image.Image:
    """The picture with its pixels alone: no text, no EXIF, no profile, no frames."""
    with Image.open(io.BytesIO(data), formats=["PNG", "JPEG", "WEBP"]) as opened:
        mode = "RGBA" if opened.has_transparency_data else "RGB"
        plain = opened.convert(mode)
    empty = Image.new(mode, plain.size)
    empty.paste(plain)
    return empty


def to_show(data: bytes) -> Encoded:
    """At most LARGEST px a side."""
    picture = bare(data)
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    small = max(picture.size) <= SMALL
    return encoded(picture, "png" if small else "webp")


def to_keep(data: bytes) -> Encoded:
    """What a client may download: every pixel, as PNG."""
    return encoded(bare(data), "png")


def encoded(picture: Image.Image, suffix: str) -> Encoded:
    out = io.BytesIO()
    if suffix == "png":
        picture.save(out, "PNG", compress_level=6)
    else:
        picture.save(out, "WEBP", quality=QUALITY, method=4)
    return Encoded(out.getvalue(), suffix, *picture.size)
