"""Corners of pictures and what is around them, blind to colour: what a mark keeps when it is recoloured.

A gradient counts by its line's direction alone (angle doubled, so light on dark equals dark on light), and
only up to CLEAR grey levels: how strong a contrast is says nothing of whose mark it is. Directions are kept
upright; marks are turned a little before they are learned instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

CLEAR = 24.0  # grey levels per px from which an edge is an edge
CELL = 6  # px; a descriptor is 4 x 4 cells of 4 directions
GRID = (np.arange(4) - 1.5) * CELL
DIRECTIONS = 4
LENGTH = 16 * DIRECTIONS
ALL = np.ones((1, 3), np.float32)
APART = 5  # px between two corners
LEAST = 0.06  # of what a corner can reach

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Level:
    """`lines`: (h, w, 4), how much of each direction is at a px. `corners`: (n, 2) x, y, strongest first."""

    lines: Floats
    corners: NDArray[np.int64]
    descriptors: Floats


def lines_of(picture: Picture) -> Floats:
    """(h, w, 3) uint8 -> (h, w, 4): directions 0, 45, 90 and 135 degrees of lines, 0 to 1."""
    smooth = cv2.GaussianBlur(picture, (3, 3), 0.8)
    across, down = (cv2.Sobel(smooth, cv2.CV_32F, *way, scale=0.25) for way in ((1, 0), (0, 1)))
    # The colours' gradients as one tensor (Di Zenzo 1986): a mark may differ from its ground in one of them.
    straight, slant = (
        cv2.transform(part, ALL) for part in (across * across - down * down, 2 * across * down)
    )
    size = cv2.magnitude(straight, slant)  # squared grey levels
    share = np.minimum(1.0, np.sqrt(size) / CLEAR) / (size + 1e-6)
    straight *= share
    slant *= share
    parts = (straight, slant, -straight, -slant)
    return np.asarray(np.maximum(cv2.merge(parts), 0), np.float32)


def level_of(picture: Picture, most: int) -> Level:
    """`most`: corners that are kept."""
    lines = lines_of(picture)
    corners = corners_of(lines, most)
    return Level(lines, corners, describe(lines, corners))


def corners_of(lines: Floats, most: int) -> NDArray[np.int64]:
    near = cv2.blur(lines, (5, 5))
    one_way = np.hypot(near[..., 0] - near[..., 2], near[..., 1] - near[..., 3])
    total = near.sum(axis=2)
    corner = total - one_way  # twice the smaller eigenvalue of the structure tensor
    size = 2 * (APART // 2) + 1
    peak = cv2.dilate(corner, np.ones((size, size), np.uint8))
    rows, columns = np.nonzero((corner == peak) & (corner > LEAST))
    order = np.argsort(-corner[rows, columns], kind="stable")[:most]
    return np.stack([columns[order], rows[order]], axis=1)


def describe(lines: Floats, corners: NDArray[np.int64]) -> Floats:
    """(n, 64), each of length 1; roots, so that one long edge does not drown the rest."""
    cells = cv2.GaussianBlur(lines, (0, 0), CELL / 2)
    height, width = cells.shape[:2]
    down, across = np.meshgrid(GRID, GRID, indexing="ij")
    x = np.clip(np.round(corners[:, :1] + across.ravel()), 0, width - 1).astype(np.int64)
    y = np.clip(np.round(corners[:, 1:] + down.ravel()), 0, height - 1).astype(np.int64)
    found = np.sqrt(cells[y, x].reshape(len(corners), LENGTH))
    norm = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found / np.maximum(norm, 1e-6), np.float32)
