"""Product lock: the product's own pixels stand in the finished picture, whatever the model drew there.

Pictures are uint8 sRGB, (H, W, 3), or (H, W, 4) with alpha; shares are float32 from 0 to 1. Where the matte,
eroded by the blend's width, is 1, the result holds the product's pixels exactly: as they came, or scaled
down once by area. They are never scaled up; a product with too few pixels stands smaller, and a note says so.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from studio.brand.matte import PLAIN, Matte, cut, freed
from studio.errors import BadRequest
from studio.schema import Product

Pixels = NDArray[np.uint8]
Share = NDArray[np.float32]

MOST = 3000  # px of a product's longer side; a larger picture is scaled down when it is read
SEEN = 0.02  # alpha below which nothing is there
LEAN = 0.05  # of the product's width: light from the upper left moves the shadow to the right
SOFT = (0.09, 0.035)  # the wide part of the shadow: half its height and its blur, in widths of the product
BEHIND = 1.3  # of half its height lies above the base: a thing stands on more than its front edge
CONTACT = (0.02, 0.012)  # the dark line where it stands
FOOT = 0.12  # share of the height that touches the ground
AROUND = 0.25  # of the product's width: no shadow further from its base and sides than that

OWN_SIZE = "product_own_size"  # note: smaller than asked, for it has no more pixels
FITTED = "product_fitted"  # note: smaller than asked, for it would reach out of the picture


@dataclass(frozen=True)
class Cutout:
    """A product without its ground, cropped to what is seen. `pixels` (h, w, 3), `alpha` (h, w)."""

    pixels: Pixels
    alpha: Share


@dataclass(frozen=True)
class Standing:
    """A product at its size and place. `pixels` (h, w, 3), `alpha` (h, w); `left`, `top` in px."""

    pixels: Pixels
    alpha: Share
    left: int
    top: int
    notes: tuple[str, ...]

    @property
    def base(self) -> int:
        return self.top + len(self.alpha)


def read_product(data: bytes) -> Cutout:
    """`data`: PNG, JPEG or WebP of our own. Raises BadRequest (`product_empty`, `product_no_ground`)."""
    picture = Image.open(io.BytesIO(data))
    picture.draft("RGB", (MOST, MOST))
    if max(picture.size) > MOST:
        picture.thumbnail((MOST, MOST), Image.Resampling.BOX)
    pixels, alpha = _opaque_or_not(picture)
    if alpha is None:
        matte = cut(pixels)
        _check_matte(matte)
        pixels, alpha = freed(pixels, matte), matte.alpha
    return _cropped(pixels, alpha)


def check_product(data: bytes) -> None:
    """As `read_product`, looked at small: milliseconds, and the same refusals."""
    picture = Image.open(io.BytesIO(data))
    picture.draft("RGB", (512, 512))
    picture.thumbnail((512, 512), Image.Resampling.BOX)
    pixels, alpha = _opaque_or_not(picture)
    if alpha is None:
        _check_matte(cut(pixels))
    else:
        _cropped(pixels, alpha)


def _opaque_or_not(picture: Image.Image) -> tuple[Pixels, Share | None]:
    if picture.has_transparency_data:
        rgba = np.asarray(picture.convert("RGBA"))
        if rgba[..., 3].min() < 255:
            alpha: Share = rgba[..., 3].astype(np.float32) / np.float32(255)
            return np.ascontiguousarray(rgba[..., :3]), alpha
    return np.asarray(picture.convert("RGB")), None


def _check_matte(matte: Matte) -> None:
    if matte.plain < PLAIN:
        raise BadRequest(
            f"The product's picture has no plain ground: {matte.plain:.0%} of its border is of one colour, "
            f"{PLAIN:.0%} are needed.",
            hint="Send it as PNG with transparency, or photographed on a plain ground.",
            field="product.image",
            code="product_no_ground",
        )
    if matte.empty:
        raise _nothing()


def _nothing() -> BadRequest:
    return BadRequest(
        "Nothing stands out in the product's picture: it is all ground, or all transparent.",
        hint="Send the product on a ground of another colour, or with transparency around it.",
        field="product.image",
        code="product_empty",
    )


def _cropped(pixels: Pixels, alpha: Share) -> Cutout:
    rows, columns = (np.flatnonzero((alpha > SEEN).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        raise _nothing()
    seen = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return Cutout(np.ascontiguousarray(pixels[seen]), np.ascontiguousarray(alpha[seen]))


def place(cutout: Cutout, size: tuple[int, int], product: Product) -> Standing:
    """`size`: width and height of the picture in px. The whole product stays inside it."""
    high, wide = cutout.alpha.shape
    width, base = size[0], max(1, round(product.y * size[1]))
    asked = product.width * width
    room = min(float(width), base * wide / high)
    notes = [note for limit, note in ((wide, OWN_SIZE), (room, FITTED)) if limit < asked - 0.5]
    new_wide = max(1, round(min(asked, wide, room)))
    new_high = min(base, max(1, round(high * new_wide / wide)))
    left = min(max(round(product.x * width - new_wide / 2), 0), width - new_wide)
    pixels, alpha = _smaller(cutout, new_wide, new_high)
    return Standing(pixels, alpha, left, base - new_high, tuple(notes[-1:]))


def _smaller(cutout: Cutout, width: int, height: int) -> tuple[Pixels, Share]:
    """Scaled by area, colours weighted by alpha, so that what is hidden does not bleed in."""
    if (height, width) == cutout.alpha.shape:
        return cutout.pixels, cutout.alpha
    size = (width, height)
    alpha: Any = cv2.resize(cutout.alpha, size, interpolation=cv2.INTER_AREA)
    weighted = cutout.pixels * cutout.alpha[..., None]
    own: Any = cv2.resize(weighted, size, interpolation=cv2.INTER_AREA)
    own = np.round(own / np.maximum(alpha, 1e-4)[..., None])
    return own.clip(0, 255).astype(np.uint8), alpha.clip(0, 1)


def lock(scene: Pixels, standing: Standing, edge: float, shadow: float) -> Pixels:
    """The scene with shadow and product. `scene`: (H, W, 3) or (H, W, 4), and so is the result.

    `edge`: px over which the rim fades, inward, so that nothing of the product's own ground shows.
    `shadow`: share of the light that is gone where it is darkest.
    """
    result = scene.copy()
    high, wide = standing.alpha.shape
    around = round(AROUND * wide) + 1
    top, left = max(0, min(standing.top, standing.base - around)), max(0, standing.left - around)
    touched = slice(top, standing.base + around), slice(left, standing.left + wide + around)
    part = replace(standing, top=standing.top - top, left=standing.left - left)
    result[touched] = _laid(scene[touched], part, edge, shadow)
    return result


def _laid(scene: Pixels, standing: Standing, edge: float, shadow: float) -> Pixels:
    """As `lock`, of the part of the scene that is touched."""
    height, width = scene.shape[:2]
    veil = _veil((height, width), standing) * shadow
    product = np.zeros((height, width, 4), np.float32)
    inside = slice(standing.top, standing.base), slice(standing.left, standing.left + standing.alpha.shape[1])
    product[inside] = np.dstack([standing.pixels, standing.alpha * _inward(standing.alpha, edge)])
    share = product[..., 3:]
    if scene.shape[2] == 3:
        return _rounded(scene * (1 - veil[..., None]) * (1 - share) + product[..., :3] * share)
    # A black veil over whatever is there, then the product over both, with straight alpha.
    below = scene[..., 3:].astype(np.float32) / 255
    dark = below + veil[..., None] * (1 - below)
    colour = scene[..., :3] * below * (1 - veil[..., None])
    alpha = share + dark * (1 - share)
    colour = (product[..., :3] * share + colour * (1 - share)) / np.maximum(alpha, 1e-4)
    return _rounded(np.dstack([colour, alpha * 255]))


def _rounded(picture: Any) -> Pixels:
    return np.asarray(np.clip(np.round(picture), 0, 255).astype(np.uint8))


def _inward(alpha: Share, edge: float) -> Share:
    """1 further inside than `edge` px, falling to 0 at the rim; 1 everywhere for no edge."""
    if edge <= 0:
        return np.ones_like(alpha)
    solid = np.pad((alpha >= 0.5).astype(np.uint8), 1)
    depth: Any = cv2.distanceTransform(solid, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    return np.asarray(np.clip(depth / (edge + 1), 0, 1).astype(np.float32))


def _veil(shape: tuple[int, int], standing: Standing) -> Share:
    """(H, W), how much of the light the product takes: a dark line under its foot, a wide soft part around.

    Both are its outline laid flat on the ground at its base, moved away from the light.
    """
    high, wide = standing.alpha.shape
    foot = standing.alpha[-max(1, round(FOOT * high)) :]
    veil = np.zeros(shape, np.float32)
    for outline, (flat, blur), lean in ((standing.alpha, SOFT, LEAN), (foot, CONTACT, LEAN / 4)):
        half = max(1, round(flat * wide))
        laid: Any = cv2.resize(outline, (wide, 2 * half), interpolation=cv2.INTER_AREA)
        layer = np.zeros(shape, np.float32)
        _paste(layer, laid, standing.left + round(lean * wide), standing.base - round(BEHIND * half))
        layer = np.asarray(cv2.GaussianBlur(layer, (0, 0), max(0.5, blur * wide)))
        veil = 1 - (1 - veil) * (1 - layer)
    veil[: max(0, standing.base - round(AROUND * wide))] = 0
    return veil


def _paste(layer: Share, part: Share, left: int, top: int) -> None:
    """`part` into `layer` with its corner at (left, top); what reaches out is cut off."""
    above, aside = max(0, -top), max(0, -left)
    inside = layer[top + above : top + part.shape[0], left + aside : left + part.shape[1]]
    inside[:] = part[above : above + inside.shape[0], aside : aside + inside.shape[1]]
