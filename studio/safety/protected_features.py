"""Corners of pictures and what is around them, blind to colour: what a mark keeps when it is recoloured.

A gradient counts by its line's direction alone (angle doubled, so light on dark equals dark on light), and
only up to CLEAR grey levels: how strong a contrast is says nothing of whose mark it is. Directions are kept
upright; marks are turned a little before they are learned instead. Bytes and half the size wherever that
loses nothing: a check has to be quick.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

CLEAR = 24.0  # grey levels per px from which an edge is an edge
CELL = 4  # half px; a descriptor is 4 x 4 cells of 4 directions
GRID = np.arange(4) * CELL - 6
DIRECTIONS = 4
LENGTH = 16 * DIRECTIONS
STRIP = 26_000  # px made into lines at a time, as they stay in the cache: twice as quick as all at once
REACH = 2  # px about one that its lines are made from
LEAST = 140.0  # of what a corner can reach, 9 * 255
ROOTS = np.sqrt(np.arange(256, dtype=np.float32))

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Picture = Bytes


@dataclass(frozen=True)
class Level:
    """`half`: (h / 2, w / 2, 4), the lines. `corners`: (n, 2) x, y there, strongest first. (n, 64) bytes."""

    half: Bytes
    corners: NDArray[np.int64]
    descriptors: Bytes


def lines_of(picture: Picture) -> Bytes:
    """(h, w, 3) -> (h, w, 4): how much of a line of 0, 45, 90 and 135 degrees each px is, 255 = all."""
    out = np.empty((*picture.shape[:2], DIRECTIONS), np.uint8)
    rows = max(16, STRIP // picture.shape[1])
    for top in range(0, len(picture), rows):
        above = min(top, REACH)
        strip = _lines(picture[top - above : top + rows + REACH])
        out[top : top + rows] = strip[above : above + rows]
    return out


def _lines(picture: Picture) -> Bytes:
    smooth = cv2.GaussianBlur(picture, (3, 3), 0.8)
    xx, yy, xy = (np.zeros(picture.shape[:2], np.float32) for _ in range(3))
    # The colours' gradients as one tensor (Di Zenzo 1986): a mark may differ from its ground in one of them.
    for plane in cv2.split(smooth):
        across, down = (cv2.Sobel(plane, cv2.CV_32F, *way, scale=0.25) for way in ((1, 0), (0, 1)))
        cv2.accumulateSquare(across, xx)
        cv2.accumulateSquare(down, yy)
        cv2.accumulateProduct(across, down, xy)
    straight, slant = cv2.subtract(xx, yy), cv2.add(xy, xy)
    size = np.sqrt(_length(straight, slant))  # grey levels
    size *= np.maximum(size, CLEAR)
    size += 1e-3
    ways = ((straight, 255), (slant, 255), (straight, -255), (slant, -255))
    return np.asarray(cv2.merge([cv2.divide(part, size, None, way, cv2.CV_8U) for part, way in ways]))


def _length(x: Floats, y: Floats) -> Floats:
    """OpenCV's own differs in the last bit from call to call, which is enough to choose another corner."""
    return np.asarray(np.sqrt(x * x + y * y), np.float32)


def halved(lines: Bytes) -> Bytes:
    height, width = (side // 2 for side in lines.shape[:2])
    whole = lines[: 2 * height, : 2 * width]
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA))


def level_of(half: Bytes, most: int) -> Level:
    """`half`: lines. `most`: corners that are kept."""
    corners = corners_of(half, most)
    return Level(half, corners, describe(half, corners))


def corners_of(half: Bytes, most: int) -> NDArray[np.int64]:
    one, two, three, four = cv2.split(half)
    straight, slant = (cv2.subtract(*pair, None, None, cv2.CV_16S) for pair in ((one, three), (two, four)))
    both = (cv2.add(*pair, None, None, cv2.CV_16S) for pair in ((one, three), (two, four)))
    parts = (straight, slant, cv2.add(*both))
    straight, slant, total = (cv2.boxFilter(part, cv2.CV_32F, (3, 3), normalize=False) for part in parts)
    corner = total - _length(straight, slant)  # twice the smaller eigenvalue of the structure tensor
    peak = cv2.dilate(corner, np.ones((3, 3), np.uint8))
    rows, columns = np.nonzero((corner == peak) & (corner > LEAST))
    order = np.argsort(-corner[rows, columns], kind="stable")[:most]
    return np.stack([columns[order], rows[order]], axis=1)


def describe(half: Bytes, corners: NDArray[np.int64]) -> Bytes:
    """(n, 64), each of length 255; roots, so that one long edge does not drown the rest."""
    cells = cv2.GaussianBlur(half, (0, 0), CELL / 2)
    height, width = cells.shape[:2]
    down, across = np.meshgrid(GRID, GRID, indexing="ij")
    x = np.clip(corners[:, :1] + across.ravel(), 0, width - 1)
    y = np.clip(corners[:, 1:] + down.ravel(), 0, height - 1)
    words = cells.view(np.uint32).ravel()  # the four directions of a px at once
    found = ROOTS[words.take(y * width + x).view(np.uint8)]
    norm = np.sqrt(np.einsum("nd,nd->n", found, found))[:, None]
    return np.asarray(np.round(found * (255 / np.maximum(norm, 1e-6))), np.uint8)
