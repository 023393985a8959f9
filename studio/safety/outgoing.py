"""A picture on its way out of the house."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

MIMES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
QUALITY = 92  # of JPEG and WebP


def on_white(picture: Image.Image) -> Image.Image:
    """RGB, transparent parts laid on white."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    ground = Image.new("RGBA", picture.size, "white")
    ground.alpha_composite(picture.convert("RGBA"))
    return ground.convert("RGB")


@dataclass(frozen=True)
class Outgoing:
    """`picture`: RGB or RGBA as people outside may have it, marked. `kind`: PNG, JPEG or WEBP, as the
    library has it.

    `seal`: (file, mime type) -> the file with its manifest.
    """

    picture: Image.Image
    kind: str
    profile: bytes
    seal: Callable[[bytes, str], bytes]

    def file(self, kind: str | None = None, largest: int | None = None) -> bytes:
        """A signed file with nothing of how the picture was made. `largest`: px of the longer side."""
        kind = self.kind if kind is None else kind
        picture = self.picture
        if largest is not None and max(picture.size) > largest:
            picture = picture.copy()
            picture.thumbnail((largest, largest), Image.Resampling.LANCZOS)
        if kind == "JPEG" and picture.mode == "RGBA":
            picture = on_white(picture)
        out = io.BytesIO()
        options = {} if kind == "PNG" else {"quality": QUALITY}
        picture.save(out, kind, icc_profile=self.profile or None, **options)
        return self.seal(out.getvalue(), MIMES[kind])
