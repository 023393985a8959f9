"""Pictures from outside: judged by their first bytes, decoded under limits, encoded anew without notes."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from PIL import ExifTags, Image, ImageOps

from studio.errors import BadRequest, TooLarge, UnsupportedImage
from studio.schema import Format

MAX_SIDE = 16_384  # px
MAX_NOTES = 2 * 2**20  # bytes of text, EXIF and colour profiles in a file
KINDS = "Send a PNG, JPEG or WebP picture."
MODES = {"1": "L", "I;16": "L", "I": "L", "P": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}


@dataclass(frozen=True)
class Upload:
    """`data`: encoded anew, upright, nothing in it but pixels. `width`, `height` in px.

    `turned`: the camera lay on its side; its EXIF note said so.
    """

    data: bytes
    format: Format
    width: int
    height: int
    turned: bool = False


@dataclass(frozen=True)
class Judged:
    """A file whose head is in order; its pixels have not been looked at."""

    picture: Image.Image
    kind: str


def clean(data: bytes, max_bytes: int, max_pixels: int) -> Upload:
    """Raises TooLarge for bytes, UnsupportedImage for all else (`metadata_too_large`, `too_many_pixels`)."""
    return decode(judge(data, max_bytes, max_pixels))


def judge(data: bytes, max_bytes: int, max_pixels: int) -> Judged:
    """Costs next to nothing. Raises TooLarge, UnsupportedImage."""
    if len(data) > max_bytes:
        raise TooLarge(
            f"The file has {len(data) / 2**20:.1f} MB; at most {max_bytes / 2**20:.1f} MB are taken.",
            hint="Save it smaller, as JPEG for instance.",
        )
    kind = _kind(data)
    _check_notes(data, kind)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own size warning: judged below, with a lower limit
            picture = Image.open(io.BytesIO(data), formats=[kind])
        _check_size(picture, max_pixels)
    except UnsupportedImage:
        raise
    except Image.DecompressionBombError:
        raise UnsupportedImage(
            f"The picture has more than {2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f} Mpx; the limit is "
            f"{max_pixels / 1e6:.0f} Mpx.",
            hint="Scale it down first.",
            code="too_many_pixels",
        ) from None
    except Exception:  # decoders raise whatever a damaged file leads them to
        raise _damaged(kind) from None
    return Judged(picture, kind)


def _kind(data: bytes) -> str:
    """By content; names and declared types count for nothing."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    what = "The file is empty." if not data else f"This is no PNG, JPEG or WebP picture ({len(data)} bytes)."
    raise UnsupportedImage(what, hint=KINDS)


def _check_notes(data: bytes, kind: str) -> None:
    """Compressed notes unfold before any pixel is looked at: a small file may hold 50 MB of them."""
    notes = 0
    for name, body in _chunks(data, kind):
        if name not in NOTES[kind]:
            continue
        notes += _unfolded(body) if name in COMPRESSED else len(body)
        if notes <= MAX_NOTES:
            continue
        raise UnsupportedImage(
            f"The picture carries more than {MAX_NOTES / 2**20:.0f} MB of notes.",
            hint="Save it without metadata.",
            code="metadata_too_large",
        )


COMPRESSED = (b"zTXt", b"iTXt", b"iCCP")
NOTES = {
    "PNG": (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP"),
    "JPEG": tuple(bytes([0xFF, marker]) for marker in (*range(0xE0, 0xF0), 0xFE)),
    "WEBP": (b"EXIF", b"XMP ", b"ICCP"),
}


def _unfolded(body: memoryview) -> int:
    """Bytes of the note once decompressed, counted no further than the limit."""
    start = bytes(body[:200]).find(b"\x78")  # where zlib's own header is, after the keyword
    if start < 0:
        return len(body)
    unpack = zlib.decompressobj()
    try:
        return max(len(body), len(unpack.decompress(body[start:], MAX_NOTES + 1)))
    except zlib.error:
        return len(body)


def _chunks(data: bytes, kind: str) -> Iterator[tuple[bytes, memoryview]]:
    """(name, body) of each part of the file."""
    view = memoryview(data)
    at = {"PNG": 8, "JPEG": 2, "WEBP": 12}[kind]
    while at + 8 <= len(data):
        if kind == "JPEG":
            if data[at] != 0xFF or data[at + 1] == 0xDA:  # the scan starts: pixels from here on
                return
            head, name, size = 4, data[at : at + 2], int.from_bytes(data[at + 2 : at + 4], "big") + 2
        elif kind == "PNG":
            head, (size, name) = 8, struct.unpack(">I4s", data[at : at + 8])
            size += 12
        else:
            head, (name, size) = 8, struct.unpack("<4sI", data[at : at + 8])
            size += 8 + size % 2
        yield name, view[at + head : at + size]
        at += size


def decode(judged: Judged) -> Upload:
    """The one place where a decoder meets bytes from outside; sandbox/ gives it a process with limits.

    Raises UnsupportedImage for a damaged picture.
    """
    try:
        judged.picture.load()
        turned = judged.picture.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1)
        upright = ImageOps.exif_transpose(judged.picture)
        mode = "RGBA" if upright.has_transparency_data else MODES.get(upright.mode, upright.mode)
        plain = _eight_bit(upright).convert(mode)
    except MemoryError:
        raise
    except Exception:  # decoders raise whatever a damaged file leads them to
        raise _damaged(judged.kind) from None
    return replace(_encode(plain, "jpeg" if judged.kind == "JPEG" else "png"), turned=turned)


def _damaged(kind: str) -> UnsupportedImage:
    return UnsupportedImage(f"The {kind} picture is damaged: it cannot be decoded.", hint=KINDS)


def _eight_bit(picture: Image.Image) -> Image.Image:
    if not picture.mode.startswith("I;16"):
        return picture
    # Pillow's own conversion clips: every tone above 255 of 65535 would turn white.
    return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))


def _check_size(picture: Image.Image, max_pixels: int) -> None:
    width, height = picture.size
    # A phone's JPEG may hold a second, small picture behind the first; it does not move.
    frames = 1 if picture.format in ("JPEG", "MPO") else getattr(picture, "n_frames", 1)
    if frames > 1:
        raise UnsupportedImage(f"The picture moves: it has {frames} frames.", hint="Send a still picture.")
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise UnsupportedImage(
            f"The picture has {width}x{height} px = {width * height / 1e6:.1f} Mpx; the limit is "
            f"{max_pixels / 1e6:.0f} Mpx and {MAX_SIDE} px a side.",
            hint="Scale it down first.",
            code="too_many_pixels",
        )


def _encode(picture: Image.Image, format: Format) -> Upload:
    bare = Image.new(picture.mode, picture.size)
    bare.paste(picture)  # pixels alone: no notes, no profile, no orientation left over
    out = io.BytesIO()
    if format == "jpeg":
        bare.save(out, "JPEG", quality=95, subsampling=0)
    else:
        bare.save(out, "PNG", compress_level=1)  # a fifth of the time of the default, a tenth more bytes
    return Upload(out.getvalue(), format, picture.width, picture.height)


def flat(data: bytes) -> bytes:
    """A picture of our own, transparent parts laid on white; the same bytes where there are none."""
    picture = Image.open(io.BytesIO(data))
    if not picture.has_transparency_data:
        return data
    ground = Image.new("RGBA", picture.size, "white")
    return _encode(Image.alpha_composite(ground, picture.convert("RGBA")).convert("RGB"), "png").data


def check_mask(data: bytes, size: tuple[int, int]) -> None:
    """A mask must be as large as its picture, opaque, and white somewhere. Raises BadRequest (`bad_mask`)."""
    mask = Image.open(io.BytesIO(data))
    if mask.size != size:
        problem = f"The mask has {mask.width}x{mask.height} px; its picture has {size[0]}x{size[1]}."
    elif mask.has_transparency_data and mask.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        problem = f"The mask has transparent parts; it must be grey, {size[0]}x{size[1]} px, without any."
    elif mask.convert("L").getextrema()[1] == 0:
        problem = "The mask selects nothing: it is all black."
    else:
        return
    raise BadRequest(problem, hint="White is painted over, black is kept.", field="mask", code="bad_mask")


def size_of(data: bytes) -> tuple[int, int]:
    """(width, height) in px of a picture of our own."""
    return Image.open(io.BytesIO(data)).size
