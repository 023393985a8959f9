"""The logos of presets: read from beside the brand files, laid over what goes out."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image

from studio.brand.logo import LEAST, fit, overlay
from studio.brand.rules import Spot
from studio.errors import BadRequest, StudioError
from studio.presets import Presets
from studio.presets.kit import Logo

BADGE = 240  # px, widest in the head of a review room
LARGEST = 16_000_000  # px of a logo file


class Logos:
    """`find`: a logo's file by its name. Read each time: a changed file counts."""

    def __init__(self, presets: Presets, find: Callable[[str], Path | None]) -> None:
        self._presets, self._find = presets, find

    def of(self, preset: str | None) -> Callable[[Image.Image], Image.Image] | None:
        """Lays the preset's logo over a picture. None: it has none, or is gone. Raises BadRequest."""
        logo = self._logo(preset)
        return None if logo is None else partial(self._over, logo, self._versions(logo))

    def spot(self, preset: str | None, size: tuple[int, int], picture: Image.Image | None) -> Spot | None:
        """Where the preset's logo would lie on a picture of `size` px, or lies on `picture`.

        None: it has none. Raises BadRequest (`logo_missing`).
        """
        logo = self._logo(preset)
        if logo is None:
            return None
        versions, wanted = self._versions(logo), logo.width * size[0]
        if picture is None:
            box = fit(size, versions["dark"].size, logo.position, logo.width, logo.clear)
            return Spot(box, wanted, round(logo.clear * box[3]))
        placed = overlay(picture, versions, logo.position, logo.width, logo.clear)
        return Spot(placed.box, wanted, round(logo.clear * placed.box[3]), placed.contrast)

    def badge(self, preset: str) -> str:
        """The dark version, for light ground, as base64 of a small PNG; '' where there is none."""
        logo = self._logo(preset)
        if logo is None:
            return ""
        picture = self._versions(logo)["dark"]
        picture.thumbnail((BADGE, BADGE), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        picture.save(out, "PNG", optimize=True)
        return base64.b64encode(out.getvalue()).decode()

    def _logo(self, preset: str | None) -> Logo | None:
        try:
            return None if preset is None else self._presets.get(preset).logo
        except StudioError:
            return None

    def _versions(self, logo: Logo) -> dict[str, Image.Image]:
        return {"light": self._read(logo.light), "dark": self._read(logo.dark)}

    def _read(self, name: str) -> Image.Image:
        file = self._find(name)
        try:
            if file is None:
                raise FileNotFoundError
            with Image.open(file, formats=["PNG"]) as opened:
                if opened.width * opened.height > LARGEST:
                    raise ValueError
                return opened.convert("RGBA")
        except (OSError, ValueError):
            raise BadRequest(
                f"The logo {name} is missing or no PNG of at most {LARGEST // 10**6} megapixels.",
                hint="Put it into the folder logos beside the brand file.",
                field="logo",
                code="logo_missing",
            ) from None

    def _over(self, logo: Logo, versions: dict[str, Image.Image], picture: Image.Image) -> Image.Image:
        if logo.width * picture.width < LEAST:
            return picture
        return overlay(picture, versions, logo.position, logo.width, logo.clear).picture
