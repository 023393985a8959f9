"""What can be told of a picture without a model: is it sharp, and is it the same as another one?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (height, width, 3), RGB

NEAR_BITS = 10  # of 64: a copy that was saved as JPEG or scaled differs in 0 to 6, two drawings in 20 or more
NEAR_COLOUR = 8.0  # of 255, mean over a 4 x 4 grid: the same drawing in other colours is another picture
BLURRED = 0.65  # blur effect; sharp photographs and drawings have 0.1 to 0.5, with a blur of 2 px 0.5 to 0.75


@dataclass(frozen=True)
class Fingerprint:
    """`exact`: sha256 of the pixels. `bits`: perceptual hash, 64 bits. `colours`: 4 x 4 mean RGB values."""

    exact: str
    bits: int
    colours: tuple[float, ...]

    def is_near(self, other: Fingerprint) -> bool:
        apart = np.abs(np.subtract(self.colours, other.colours)).mean()
        return (self.bits ^ other.bits).bit_count() <= NEAR_BITS and bool(apart <= NEAR_COLOUR)


def fingerprint(pixels: Pixels) -> Fingerprint:
    """Perceptual hash: signs of the 8 x 8 lowest frequencies against their median (phash.org)."""
    height, width, _ = pixels.shape
    exact = hashlib.sha256(f"{width}x{height}".encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()
    grey = cv2.resize(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA)
    low = cv2.dct(grey.astype(np.float32))[:8, :8].flatten()
    bits = sum(1 << place for place, high in enumerate(low > np.median(low[1:])) if high)
    grid = cv2.resize(pixels, (4, 4), interpolation=cv2.INTER_AREA).astype(np.float32)
    return Fingerprint(exact, bits, tuple(float(value) for value in grid.flatten()))


def blur_effect(pixels: Pixels) -> float:
    """0 (sharp) to 1 (blurred): how little blurring it once more changes it.

    Independent of what is shown: flat areas count for nothing. Source: Crete et al. 2007,
    doi:10.1117/12.702790.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    worst = 0.0
    for axis, kernel in ((0, (1, 9)), (1, (9, 1))):
        again = cv2.blur(grey, kernel)
        steps, soft = np.abs(np.diff(grey, axis=axis)), np.abs(np.diff(again, axis=axis))
        total = float(steps.sum())
        lost = float(np.maximum(0.0, steps - soft).sum())
        worst = max(worst, (total - lost) / total if total else 0.0)
    return worst
