"""A known mark, and how well it fits a place of a picture, turned a little and in some sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from studio.safety.protected_features import DIRECTIONS, REACH, Bytes, Floats, Picture, halved, lines_of

CANON = 64  # px of a mark's longer side where it is compared
MARGIN = 12  # px around it
TILES = 6  # parts a side
WORST = 0.3  # of a mark's lines speak for it
ROUGH_BLUR = 0.8  # half px
FINE_BLUR = 1.2  # px


@dataclass(frozen=True)
class Mark:
    """RGB at CANON px with MARGIN around; `mask`: where it is. Sides are even."""

    picture: Picture
    mask: NDArray[np.bool_]


def mark_of(rgba: Picture) -> Mark:
    """(h, w, 4), cut to the mark -> at CANON px on a ground that differs from it."""
    height, width = rgba.shape[:2]
    share = CANON / max(height, width) / 2
    size = 2 * max(2, round(width * share)), 2 * max(2, round(height * share))
    alpha = rgba[..., 3:].astype(np.float32) / 255
    colour = (rgba[..., :3] * alpha).sum(axis=(0, 1)) / max(1.0, float(alpha.sum()))
    ground = np.where(colour > 127, 0, 255)  # as far from the mark as a ground can be
    flat = rgba[..., :3] * alpha + ground * (1 - alpha)
    small = cv2.resize(flat.astype(np.uint8), size, interpolation=cv2.INTER_AREA)
    mask = cv2.resize(alpha[..., 0], size, interpolation=cv2.INTER_AREA) > 0.5
    return framed(np.asarray(small, np.uint8), mask, ground.astype(np.uint8))


def framed(small: Picture, mask: NDArray[np.bool_], ground: Bytes) -> Mark:
    picture = np.empty((small.shape[0] + 2 * MARGIN, small.shape[1] + 2 * MARGIN, 3), np.uint8)
    picture[:] = ground
    picture[MARGIN:-MARGIN, MARGIN:-MARGIN] = small
    wide = np.zeros(picture.shape[:2], bool)
    wide[MARGIN:-MARGIN, MARGIN:-MARGIN] = mask
    return Mark(picture, wide)


def turned(mark: Mark, degrees: float) -> Picture:
    return _warped(mark.picture, degrees, 1.0, cv2.BORDER_REPLICATE)


def _warped(picture: Bytes, degrees: float, size: float, border: int = cv2.BORDER_CONSTANT) -> Bytes:
    height, width = picture.shape[:2]
    about = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, size)
    return np.asarray(cv2.warpAffine(picture, about, (width, height), borderMode=border), np.uint8)


class Poses:
    """A mark's lines in some turns and sizes. `half`: at half the size, where a picture's lines are kept."""

    def __init__(self, mark: Mark, turns: Sequence[float], sizes: Sequence[float], half: bool) -> None:
        self.ways = [(turn, size) for turn in turns for size in sizes]
        self._blur = ROUGH_BLUR if half else FINE_BLUR
        height = len(mark.mask)
        sheet = lines_of(np.concatenate([turned(mark, turn) for turn in turns]))  # one call costs less
        mask = mark.mask.astype(np.uint8)
        if half:
            sheet, height = halved(sheet), height // 2
            mask = np.ascontiguousarray(mask[::2, ::2])
        near = cv2.dilate(mask, np.ones((3, 3) if half else (5, 5), np.uint8))
        sheet = self._soft(sheet)
        upright = [sheet[at : at + height] for at in range(0, len(sheet), height)]
        lines = np.stack([one if size == 1 else _warped(one, 0, size) for one in upright for size in sizes])
        masks = np.stack([_warped(near, *way) for way in self.ways])
        self.height, self.width = masks.shape[1:]
        self._masks = masks.reshape(len(masks), -1).astype(np.float32)
        self._lines = (lines * masks[..., None]).reshape(len(lines), -1).astype(np.float32)
        self._own = np.einsum("ab,ab->a", self._lines, self._lines)

    def _soft(self, lines: Bytes) -> Bytes:
        return np.asarray(cv2.GaussianBlur(lines, (0, 0), self._blur), np.uint8)

    def fit(self, view: Bytes, slack: int, worst: bool = False) -> tuple[float, int, int, int]:
        """(score, number of the way, rows and columns off the middle) of the best place in `view`."""
        seen = self._soft(view).astype(np.float32)
        shape, shifts = (self.height, self.width), 2 * slack + 1
        loud = _windows(np.einsum("ijk,ijk->ij", seen, seen)[..., None], shape, shifts)
        flat = _windows(seen, shape, shifts)
        score = flat @ self._lines.T / np.sqrt((loud @ self._masks.T) * self._own + 1.0)
        shift, pose = np.unravel_index(int(score.argmax()), score.shape)
        row, column = divmod(int(shift), shifts)
        best = self._worst_parts(flat[shift], int(pose)) if worst else float(score[shift, pose])
        return best, int(pose), row - slack, column - slack

    def _worst_parts(self, seen: Floats, pose: int) -> float:
        """Likeness of the worst three tenths of the mark: a ring about a letter must not speak for both."""
        own = self._lines[pose].reshape(-1, DIRECTIONS)
        seen = seen.reshape(-1, DIRECTIONS) * self._masks[pose][:, None]
        tile = _tiles(self.height, self.width)
        pairs = ((own, seen), (own, own), (seen, seen))
        both, one, other = (np.bincount(tile, (left * right).sum(axis=1)) for left, right in pairs)
        weight, alike = np.sqrt(one), both / np.sqrt(one * other + 1.0)
        order = np.argsort(alike)
        ends = np.cumsum(weight[order]) / max(1e-6, weight.sum())
        used = np.clip(WORST - np.concatenate([[0.0], ends[:-1]]), 0, weight[order] / max(1e-6, weight.sum()))
        return float((alike[order] * used).sum() / WORST)


def _windows(view: Floats, shape: tuple[int, int], shifts: int) -> Floats:
    """(shifts * shifts, h * w * parts): all windows of `shape`."""
    windows = np.lib.stride_tricks.sliding_window_view(view, shape, axis=(0, 1))[:shifts, :shifts]
    return np.ascontiguousarray(windows.transpose(0, 1, 3, 4, 2)).reshape(shifts**2, -1)


def _tiles(height: int, width: int) -> NDArray[np.int64]:
    """The part of the mark that each px belongs to, row by row."""
    down, across = (np.arange(side) * TILES // side for side in (height, width))
    return (down[:, None] * TILES + across).ravel()


def lines_at(picture: Picture, left: int, top: int, height: int, width: int) -> Bytes:
    """Lines of a window; nothing where it reaches beyond `picture`."""
    x, y = max(0, left - REACH), max(0, top - REACH)
    part = picture[y : max(0, top + height + REACH), x : max(0, left + width + REACH)]
    return cut(lines_of(part), left - x, top - y, height, width) if part.size else _nothing(height, width)


def cut(lines: Bytes, left: int, top: int, height: int, width: int) -> Bytes:
    """A window; nothing where it reaches beyond `lines`."""
    out = _nothing(height, width)
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(lines.shape[1], left + width), min(lines.shape[0], top + height)
    if x0 < x1 and y0 < y1:
        out[y0 - top : y1 - top, x0 - left : x1 - left] = lines[y0:y1, x0:x1]
    return out


def _nothing(height: int, width: int) -> Bytes:
    return np.zeros((height, width, DIRECTIONS), np.uint8)
