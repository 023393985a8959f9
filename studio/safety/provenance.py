"""What a picture carries when it leaves the house, and reading it again when it comes back.

The library keeps the engine's exact pixels, so that a picture can be made again bit for bit and used as an
input without an older mark in it. Mark and manifest are put on the copy that a client gets.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from studio.safety.keys import read_key
from studio.safety.manifest import Notary
from studio.safety.mark import SMALLEST, Marker
from studio.safety.verify import MIMES, Verification, verify

QUALITY = 92  # of JPEG and WebP copies


class Provenance:
    """`keys`: folder of the signing key. `marks`: False leaves pixels alone. Thread-safe."""

    def __init__(self, keys: Path, organisation: str, marks: bool = True) -> None:
        self._marker = Marker()
        self._notary = Notary(read_key(keys, organisation))
        self._marks = marks

    def client_copy(self, file: bytes, mark: int, picture: str, model: str, made: str) -> bytes:
        """The pixels of `file` (PNG, JPEG, WebP), marked and signed, in the same format.

        Gone: prompt, seed, settings and every other note. Kept: the colour profile. `made`: ISO time.
        """
        opened = Image.open(io.BytesIO(file), formats=list(MIMES))
        kind = str(opened.format)
        pixels = np.asarray(opened.convert("RGB"))
        if self._marks and min(pixels.shape[:2]) >= SMALLEST:
            pixels = self._marker.embed(pixels, mark)
        profile = opened.info.get("icc_profile") or _srgb()
        out = io.BytesIO()
        options = {} if kind == "PNG" else {"quality": QUALITY}
        Image.fromarray(pixels).save(out, kind, icc_profile=profile, **options)
        return self._notary.sign(out.getvalue(), MIMES[kind], picture, model, made)

    def verify(self, file: bytes, marked: Callable[[str], Sequence[str]]) -> Verification:
        """See `verify.verify`."""
        return verify(file, self._notary, self._marker, marked)


def _srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
