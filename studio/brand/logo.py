"""A brand's logo laid over a picture: clear space, position, and the version that can be seen there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from studio.brand.colour import linear
from studio.catalog import LOGO_POSITIONS

LEAST = 64  # px of width below which nobody can read a logo: then there is none
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # WCAG 2.2, relative luminance

Box = tuple[int, int, int, int]  # left, top, width, height in px


@dataclass(frozen=True)
class Placed:
    """`contrast`: WCAG's, 1 to 21, at the worst below it."""

    picture: Image.Image
    box: Box
    version: str
    contrast: float


def overlay(
    picture: Image.Image, versions: Mapping[str, Image.Image], position: str, width: float, clear: float
) -> Placed:
    """`versions`: RGBA by name; the one with most contrast to what lies below is taken.

    `width`: share of the picture's; a logo is never drawn larger than it is. `clear`: space kept to the
    picture's edges, in heights of the logo.
    """
    tried = [_place(picture, name, logo, position, width, clear) for name, logo in versions.items()]
    name, logo, box, contrast = max(tried, key=lambda one: one[3])
    out = picture.convert("RGBA")
    out.alpha_composite(logo, box[:2])
    return Placed(out.convert("RGB"), box, name, contrast)


def _place(
    picture: Image.Image, name: str, logo: Image.Image, position: str, width: float, clear: float
) -> tuple[str, Image.Image, Box, float]:
    box = left, top, wide, high = fit(picture.size, logo.size, position, width, clear)
    small = logo if (wide, high) == logo.size else logo.resize((wide, high), Image.Resampling.LANCZOS)
    below = np.asarray(picture.convert("RGB"))[top : top + high, left : left + wide]
    return name, small, box, contrast(np.asarray(small), below)


def fit(size: tuple[int, int], logo: tuple[int, int], position: str, width: float, clear: float) -> Box:
    """Where a logo of `logo` (width, height) px lies on a picture of `size` px; else as `overlay`."""
    shape = logo[1] / logo[0]
    wanted = min(width * size[0], logo[0])
    wanted = min(wanted, size[0] / (1 + 2 * clear * shape), size[1] / (shape * (1 + 2 * clear)))
    wide, high = max(1, int(wanted)), max(1, int(wanted * shape))
    space = round(clear * high)
    across, down = LOGO_POSITIONS[position]
    left = space + round(across * (size[0] - 2 * space - wide))
    top = space + round(down * (size[1] - 2 * space - high))
    return left, top, wide, high


def contrast(logo: NDArray[np.uint8], below: NDArray[np.uint8]) -> float:
    """Of a logo's mean colour ((h, w, 4)) to the lighter and darker tenth of what is below ((h, w, 3))."""
    drawn = logo[..., 3] > 127
    if not drawn.any():
        return 1.0
    own = float((linear(logo[drawn][:, :3]) @ LUMINANCE).mean())
    ground = np.percentile(linear(below) @ LUMINANCE, (10, 50, 90))
    ratios = [(max(own, light) + 0.05) / (min(own, light) + 0.05) for light in ground]
    return float(min(ratios))
