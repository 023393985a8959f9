"""What a picture carries when it leaves the house, and reading it again when it comes back.

The library keeps the engine's exact pixels, so that a picture can be made again bit for bit and used as an
input without an older mark in it. Mark and manifest are put on the copy that a client gets.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from studio.safety.keys import read_key
from studio.safety.manifest import Notary
from studio.safety.mark import SMALLEST, Marker
from studio.safety.outgoing import MIMES, Outgoing
from studio.safety.verdict import Verification
from studio.safety.verify import verify


@dataclass(frozen=True)
class Origin:
    """What a picture's mark and manifest say. `mark`: 0..2**32-1; `picture`: its id; `made`: ISO time."""

    mark: int
    picture: str
    model: str
    made: str


class Provenance:
    """`keys`: folder of the signing key. `marks`: False leaves pixels alone. Thread-safe."""

    def __init__(self, keys: Path, organisation: str, marks: bool = True) -> None:
        self._marker = Marker()
        self._notary = Notary(read_key(keys, organisation))
        self._marks = marks

    def outgoing(
        self,
        file: bytes,
        origin: Origin,
        decorate: Callable[[Image.Image], Image.Image] | None = None,
        mark: bool | None = None,
    ) -> Outgoing:
        """The pixels of `file` (PNG, JPEG, WebP), marked. `decorate`: what is drawn on them before.

        `mark`: whether this picture is marked, whatever others are; None = as all are.

        Gone: prompt, seed, settings and every other note. Kept: the colour profile, and transparency;
        on what is cut out nothing is drawn.
        """
        opened = Image.open(io.BytesIO(file), formats=list(MIMES))
        alpha = opened.convert("RGBA").getchannel("A") if opened.has_transparency_data else None
        picture = opened.convert("RGB")
        pixels = np.asarray(picture if decorate is None or alpha is not None else decorate(picture))
        if (self._marks if mark is None else mark) and min(pixels.shape[:2]) >= SMALLEST:
            pixels = self._marker.embed(pixels, origin.mark)

        def seal(data: bytes, mime: str) -> bytes:
            return self._notary.sign(data, mime, origin.picture, origin.model, origin.made)

        profile = opened.info.get("icc_profile") or _srgb()
        marked_picture = Image.fromarray(pixels)
        if alpha is not None:
            marked_picture.putalpha(alpha)
        return Outgoing(marked_picture, str(opened.format), profile, seal)

    def verify(self, file: bytes, marked: Callable[[str], Sequence[str]]) -> Verification:
        """See `verify.verify`."""
        return verify(file, self._notary, self._marker, marked)


def _srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
