"""How well a picture keeps to a brand's palette: 0 to 100, with the colours that make it so.

A picture's dominant colours (area-weighted clusters in Lab) are held against the nearest colour of the
palette by CIEDE2000. Lightness counts half (kL = 2), because light and shade on one paint are one paint to
a designer. Neutral-aware: white, grey and black that the palette does not name count a quarter, because
paper, shadow and reflections are in every picture and belong to no brand.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from studio.brand.colour import Colours, difference, from_oklab, read_hex, to_lab, to_oklab, write_hex

SIDE = 64  # px the picture is scaled to: 4,096 pixels tell its colours
CELL = 8  # sRGB steps: pixels in one cell of that width count as one colour
APART = 12.0  # Lab units between the colours that clusters begin with
MOST = 8  # dominant colours
LEAST = 0.01  # share of the area below which a colour is none
NEAR = 9.0  # CIEDE2000: colours nearer than this become one
NEUTRAL = 9.0  # Lab chroma below which a colour is neutral
NEUTRAL_WEIGHT = 0.25
LIGHT = 2.0  # kL
SAME = 3.0  # CIEDE2000 up to which nobody sees a miss
HALF = 14.0  # CIEDE2000 beyond SAME that halves the credit
STEEP = 2.0
ROUNDS = 6  # of k-means


@dataclass(frozen=True)
class Swatch:
    """`share` of the area, 0 to 1. `role`, `nearest`: palette entry it is held against, `distance` away
    in CIEDE2000.

    `neutral`: one that the palette does not name and that therefore counts less.
    """

    colour: str
    share: float
    role: str
    nearest: str
    distance: float
    neutral: bool


@dataclass(frozen=True)
class PaletteScore:
    """`score`: 0 (nothing of the palette) to 100 (nothing else). `swatches`: largest area first."""

    score: float
    swatches: tuple[Swatch, ...]


def score_picture(data: bytes, palette: Mapping[str, str]) -> PaletteScore:
    """`data`: an encoded picture; its transparent parts count for nothing. `palette`: '#RRGGBB' by role."""
    return score_pixels(read_pixels(data), palette)


def read_pixels(data: bytes) -> NDArray[np.uint8]:
    """(N, 3) opaque pixels of the picture, scaled down."""
    picture = Image.open(io.BytesIO(data))
    picture.draft("RGB", (SIDE, SIDE))
    small = picture.convert("RGBA")
    small.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    pixels = np.asarray(small).reshape(-1, 4)
    seen = pixels[pixels[:, 3] > 127]
    return np.ascontiguousarray((seen if len(seen) else pixels)[:, :3])


def score_pixels(pixels: NDArray[np.uint8], palette: Mapping[str, str]) -> PaletteScore:
    """`pixels`: (N, 3) sRGB. An empty palette asks for nothing: 100."""
    return score_colours(*dominant(pixels), palette)


def score_colours(
    colours: NDArray[np.float64], shares: NDArray[np.float64], palette: Mapping[str, str]
) -> PaletteScore:
    """As `score_pixels`, of what `dominant` found."""
    if not palette:
        return PaletteScore(100.0, ())
    roles, codes = list(palette), list(palette.values())
    brand = to_lab(np.array([read_hex(code) for code in codes]))
    lab = to_lab(colours)
    distances = difference(lab[:, None, :], brand[None, :, :], LIGHT)
    nearest = distances.argmin(axis=1)
    distance = distances.min(axis=1)
    free = _chroma(lab) < NEUTRAL
    if (_chroma(brand) < NEUTRAL).any():
        free &= distance > HALF  # a neutral that the palette names counts in full
    weights = shares * np.where(free, NEUTRAL_WEIGHT, 1.0)
    score = 100 * float((weights * credit(distance)).sum() / weights.sum())
    swatches = tuple(
        Swatch(write_hex(colour), float(share), roles[at], codes[at], round(float(gap), 2), bool(loose))
        for colour, share, at, gap, loose in zip(colours, shares, nearest, distance, free, strict=True)
    )
    return PaletteScore(round(score, 1), swatches)


def credit(distance: Colours) -> Colours:
    """1 for a palette colour, 0.5 at SAME + HALF, on to 0 for another hue."""
    over = np.maximum(distance - SAME, 0) / HALF
    return np.asarray(1 / (1 + over**STEEP))


def dominant(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(colours (K, 3) in sRGB, shares (K,)), largest first, K up to MOST. Nothing is left to chance."""
    colours, sizes = _cells(pixels)
    lab = to_lab(colours)
    centres = _seeds(lab, sizes)
    for _ in range(ROUNDS):
        owner = ((lab[:, None, :] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
        areas = np.bincount(owner, sizes, len(centres)).astype(np.float64)
        centres = _means(lab, sizes, owner, areas)[areas > 0]
    centres = _merged(centres, areas[areas > 0])
    owner = ((lab[:, None, :] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
    areas = np.bincount(owner, sizes, len(centres)).astype(np.float64)
    shares = areas / areas.sum()
    order = [index for index in np.argsort(-shares, kind="stable") if shares[index] >= LEAST][:MOST]
    kept = shares[order]
    return _means(colours, sizes, owner, areas)[order], kept / kept.sum()


def _cells(pixels: NDArray[np.uint8]) -> tuple[Colours, NDArray[np.float64]]:
    """(mean sRGB, pixels) of each cell that holds any: some hundred colours stand for thousands of pixels."""
    parts = (pixels // CELL).astype(np.int64)
    keys = (parts[:, 0] << 16) | (parts[:, 1] << 8) | parts[:, 2]
    _, owner = np.unique(keys, return_inverse=True)
    sizes = np.bincount(owner).astype(np.float64)
    return _means(pixels.astype(np.float64), np.ones(len(pixels)), owner, sizes), sizes


def _seeds(lab: Colours, sizes: NDArray[np.float64]) -> Colours:
    """Where the clusters begin: the largest cells that lie APART from each other."""
    found: list[Colours] = []
    for index in np.argsort(-sizes, kind="stable"):
        if all(((lab[index] - one) ** 2).sum() > APART**2 for one in found):
            found.append(lab[index])
            if len(found) == MOST * 3:
                break
    return np.stack(found)


def _means(
    values: Colours, sizes: NDArray[np.float64], owner: NDArray[np.int64], areas: NDArray[np.float64]
) -> Colours:
    """(K, 3) means by area; zeros where a cluster owns nothing."""
    safe = np.maximum(areas, 1e-12)
    sums = [np.bincount(owner, sizes * values[:, part], len(areas)) / safe for part in range(3)]
    return np.stack(sums, axis=-1)


def _merged(centres: Colours, sizes: NDArray[np.float64]) -> Colours:
    """Centres that look alike become one, at their mean by area."""
    order = np.argsort(-sizes, kind="stable")
    found: list[Colours] = []
    weights: list[float] = []
    for index in order:
        centre, size = centres[index], float(sizes[index])
        gaps = difference(np.stack(found), centre) if found else np.array([NEAR])
        if gaps.min() < NEAR:
            at = int(gaps.argmin())
            total = weights[at] + size
            found[at] = (found[at] * weights[at] + centre * size) / total
            weights[at] = total
        else:
            found.append(centre)
            weights.append(size)
    return np.stack(found)


def _chroma(lab: Colours) -> Colours:
    return np.asarray(np.hypot(lab[..., 1], lab[..., 2]))


def recolour(
    pixels: NDArray[np.uint8], palette: Mapping[str, str], strength: float = 0.6
) -> NDArray[np.uint8]:
    """(H, W, 3) sRGB with hues drawn toward the palette; lightness, and so all modelling, stays as it is.

    Each pixel's chroma moves by `strength` (0 to 1) toward the palette colours near it in OKLab, weighted by
    how near; neutrals stay neutral.
    """
    if not palette or strength <= 0:
        return pixels
    lab = to_oklab(pixels)
    brand = to_oklab(np.array([read_hex(code) for code in palette.values()]))
    coloured = brand[np.hypot(brand[:, 1], brand[:, 2]) > 0.03]
    if not len(coloured):
        return pixels
    plane = lab[..., 1:]
    gap = ((plane[..., None, :] - coloured[:, 1:]) ** 2).sum(axis=-1)
    pull = np.exp(-gap / (2 * 0.05**2)) + 1e-12
    target = (pull[..., None] * coloured[:, 1:]).sum(axis=-2) / pull.sum(axis=-1, keepdims=True)
    chroma = np.hypot(plane[..., 0], plane[..., 1])[..., None]
    amount = strength * np.clip((chroma - 0.02) / 0.04, 0, 1)
    moved = np.concatenate([lab[..., :1], plane + (target - plane) * amount], axis=-1)
    return np.asarray(np.rint(_in_gamut(moved)), np.uint8)


def _in_gamut(lab: Colours) -> Colours:
    """sRGB 0..255; colours that no screen shows lose chroma until one does, and keep their lightness."""
    out = from_oklab(lab)
    for _ in range(4):
        lost = np.abs(to_oklab(out)[..., 0] - lab[..., 0]) > 0.004
        if not lost.any():
            break
        lab = np.where(lost[..., None], lab * [1.0, 0.85, 0.85], lab)
        out = from_oklab(lab)
    return out
