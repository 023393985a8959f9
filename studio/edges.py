"""Canny edges, for the ControlNet and for the page: the same picture in both places."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def cover(picture: Pixels, width: int, height: int) -> Pixels:
    """`picture` uint8 (H, W, channels) or (H, W), scaled to cover `width` x `height` px, centre kept."""
    have_height, have_width = picture.shape[:2]
    if (have_width, have_height) == (width, height):
        return picture
    scale = max(width / have_width, height / have_height)
    wide, high = max(width, round(have_width * scale)), max(height, round(have_height * scale))
    # INTER_AREA averages when shrinking, so that fine texture does not turn into false edges.
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized: Any = cv2.resize(picture, (wide, high), interpolation=method)
    left, top = (wide - width) // 2, (high - height) // 2
    return np.ascontiguousarray(resized[top : top + height, left : left + width])


def canny(picture: Pixels, low: int, high: int) -> Pixels:
    """Edges of an RGB picture: uint8 (H, W, 3) in, same size out, 255 on 0 in all three channels.

    `low`, `high`: hysteresis thresholds in 8-bit gradient units; a pixel above `high` starts an edge, its
    neighbours join from `low` up. Source: Canny 1986, doi:10.1109/TPAMI.1986.4767851.
    """
    edges: Any = cv2.Canny(picture, low, high)
    return np.repeat(edges[:, :, None], 3, axis=2)
