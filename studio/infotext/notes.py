"""What stands in a picture file beside its pixels, by the names the tools use."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import Any

from PIL import ExifTags, Image

PARAMETERS = "parameters"
OWN = "brand_studio"
SCHEME = "fooocus_scheme"
UNICODE = b"UNICODE\0"
PREFIX = 8  # bytes of a UserComment that name its letters
COMFY = ("prompt", "workflow")
FIRST = (ExifTags.Base.Model, ExifTags.Base.Make, ExifTags.Base.UserComment, ExifTags.Base.MakerNote)


def texts_of(data: bytes) -> dict[str, str]:
    """Notes by name; what is no PNG, JPEG or WebP picture has none. Untrusted text."""
    try:
        return _texts(data)
    except Exception:  # decoders raise whatever a damaged file leads them to
        return {}


def _texts(data: bytes) -> dict[str, str]:
    picture = Image.open(io.BytesIO(data), formats=["PNG", "JPEG", "WEBP"])
    found = {str(key): value for key, value in picture.info.items() if isinstance(value, str)}
    exif = picture.getexif()
    # Some tools put them into the first directory, where these tags do not belong.
    tags = {tag: exif[tag] for tag in FIRST if tag in exif} | dict(exif.get_ifd(ExifTags.IFD.Exif))
    own = tags.get(ExifTags.Base.MakerNote)
    if isinstance(own, bytes) and own.startswith(OWN.encode() + b"\0"):
        found[OWN] = own[len(OWN) + 1 :].decode("utf-8", "replace")
    elif own is not None and PARAMETERS not in found:
        found[SCHEME] = _plain(own)
    if ExifTags.Base.UserComment in tags:
        found[PARAMETERS] = _comment(tags[ExifTags.Base.UserComment])
    _named(found, tags)
    return {key[:80]: text for key, text in found.items()}


def _named(found: dict[str, str], tags: Mapping[int, Any]) -> None:
    """ComfyUI's WebP: `prompt:{...}` and `workflow:{...}` in tags for cameras. SwarmUI's JPEG: bare JSON."""
    for tag in (ExifTags.Base.Model, ExifTags.Base.Make):
        name, colon, text = _plain(tags.get(tag, "")).partition(":")
        if colon and name in COMFY:
            found.setdefault(name, text)
        elif name.startswith("{"):
            found.setdefault(PARAMETERS, f"{name}{colon}{text}")


def _comment(value: Any) -> str:
    """A UserComment: eight bytes that name its letters, then the text."""
    if not isinstance(value, bytes):
        return _plain(value)
    if not value.startswith(UNICODE):
        head = value[:PREFIX]
        return _plain(value[PREFIX:] if head in (b"ASCII\0\0\0", b"\0" * PREFIX) else value)
    body = value[len(UNICODE) :]
    # The standard does not say which byte comes first; in Latin text the zeros do.
    little = body[1::2].count(0) > body[0::2].count(0)
    return body.decode("utf-16-le" if little else "utf-16-be", "replace")


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        with contextlib.suppress(UnicodeDecodeError):
            return value.decode("utf-8").strip("\0")
        return value.decode("latin-1").strip("\0")
    return value if isinstance(value, str) else ""
