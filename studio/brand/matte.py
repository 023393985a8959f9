"""A subject cut from its ground: what stands before a plain, shaded or two-coloured background.

Ground is what can be reached from the picture's border without a step in colour. It needs no model, and it
cannot know what a thing is: where subject and ground have one colour side by side, the subject leaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Share = NDArray[np.float32]

SIDE = 512  # px of the longer side at which the subject is looked for
BLUR, LEAST_BLUR = 320, 0.8  # of the side, and px: what calms noise before steps are looked for
STEP = 3.0  # Lab units a px that still are one ground: light falls off, shadows are soft
ARC = 0.1  # share of the border that a run of one colour needs to be ground: shorter ones are a subject's
CRUMB = 0.02  # of the largest part's area: smaller parts are dirt
HOLE = 4.0  # Lab units from the ground around: an enclosed patch so alike is ground seen through a handle
LEAST_HOLE = 0.0005  # of the picture; smaller ones are highlights
RIM = 3  # px beyond the rim from which the ground's colour is taken
QUIET = 8.0  # sRGB units that a pixel of the ground may be off its mean: noise
TOLD = 15.0  # sRGB units that subject and ground are apart at least
CLEAR = 0.05  # less than that of one of them is none
PLAIN = 0.7  # share of the border below which a ground is no plain one


@dataclass(frozen=True)
class Matte:
    """`alpha`: (H, W), 0 is ground and 1 subject. `own`: (H, W, 3), the subject's colour near its rim.

    `plain`: share of the border that is ground, 0 to 1; below PLAIN the ground is no plain one.
    """

    alpha: Share
    own: Pixels
    plain: float

    @property
    def empty(self) -> bool:
        return not bool((self.alpha > 0.5).any())


def cut(picture: Pixels) -> Matte:
    """`picture`: (H, W, 3) sRGB. Looked at with at most SIDE px a side; the matte has the picture's size."""
    height, width = picture.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = picture if scale == 1 else _sized(picture, *size)
    lab: Any = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    blur = max(LEAST_BLUR, max(size) / BLUR)
    lab = cv2.GaussianBlur(lab, (0, 0), blur)
    outside, plain = _flooded(lab)
    subject = _without_holes(_without_crumbs(~outside), outside, lab)
    alpha, own = _rim(small.astype(np.float32), subject, round(2 * blur) + 1)
    if scale < 1:
        alpha, own = _sized(alpha, width, height), _sized(own, width, height)
    return Matte(alpha, own, plain)


def freed(picture: Pixels, matte: Matte) -> Pixels:
    """The subject's own colours: the one behind its rim, for pixels that the ground is mixed into."""
    mixed = (matte.alpha > 0) & (matte.alpha < 1)
    own = picture.copy()
    own[mixed] = matte.own[mixed]
    return own


def grounded(picture: Pixels, matte: Matte, colour: tuple[int, int, int] | None) -> Pixels:
    """The subject on one colour, (H, W, 3); on none, (H, W, 4), black where nothing is left to see."""
    own = freed(picture, matte)
    own[matte.alpha == 0] = colour or 0
    if colour is None:
        return np.dstack([own, np.round(matte.alpha * 255).astype(np.uint8)])
    mixed = (matte.alpha > 0) & (matte.alpha < 1)
    share = matte.alpha[mixed][:, None]
    own[mixed] = np.round(own[mixed] * share + np.array(colour, np.float32) * (1 - share))
    return own


def _sized(picture: Any, width: int, height: int) -> Any:
    smaller = width * height < picture.shape[0] * picture.shape[1]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


def _flooded(lab: Share) -> tuple[NDArray[np.bool_], float]:
    """What is reached from the border's long runs of one colour, and their share of the border."""
    across, down = (cv2.Scharr(lab, cv2.CV_32F, *which) / 32 for which in ((1, 0), (0, 1)))
    # A wall across the way, and not a step on the way: along a slanting edge colours change by little steps.
    wall = np.sqrt((across**2 + down**2).sum(axis=2)) > STEP
    places = _around(*wall.shape)
    walls = wall[places[:, 1], places[:, 0]]
    runs = np.cumsum(walls)
    if not walls[0]:
        runs[runs == runs[-1]] = 0  # the last run goes on with the first
    lengths = np.bincount(runs[~walls], minlength=len(places) + 1)
    chosen = ~walls & (lengths[runs] >= ARC * len(places))
    _, labels = cv2.connectedComponents((~wall).astype(np.uint8), connectivity=4)
    ground = np.isin(labels, np.unique(labels[places[chosen, 1], places[chosen, 0]])) & ~wall
    return ground, float(chosen.mean())


def _around(height: int, width: int) -> NDArray[np.int64]:
    """(N, 2) of x, y: the border's pixels in the order of a walk."""
    top = [(x, 0) for x in range(width)]
    right = [(width - 1, y) for y in range(1, height)]
    bottom = [(x, height - 1) for x in range(width - 2, -1, -1)]
    left = [(0, y) for y in range(height - 2, 0, -1)]
    return np.array(top + right + bottom + left)


def _without_crumbs(subject: NDArray[np.bool_]) -> NDArray[np.bool_]:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(subject.astype(np.uint8), connectivity=8)
    if count < 2:
        return subject
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    kept = areas >= CRUMB * areas.max()
    kept[0] = False
    return np.asarray(kept[labels])


def _without_holes(subject: NDArray[np.bool_], outside: NDArray[np.bool_], lab: Share) -> NDArray[np.bool_]:
    if not outside.any() or not subject.any():
        return subject
    wide = max(subject.shape) / 8
    share = outside.astype(np.float32)[..., None]
    ground: Any = cv2.GaussianBlur(lab * share, (0, 0), wide)
    around = ground / np.maximum(cv2.GaussianBlur(share, (0, 0), wide), 1e-4)[..., None]
    alike = subject & (np.abs(lab - around).max(axis=2) < HOLE)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(alike.astype(np.uint8), connectivity=4)
    holes = stats[:, cv2.CC_STAT_AREA] >= max(9, LEAST_HOLE * subject.size)
    holes[0] = False
    return np.asarray(subject & ~holes[labels]) if count > 1 else subject


def _rim(picture: Share, subject: NDArray[np.bool_], width: int) -> tuple[Share, Pixels]:
    """Alpha, and the subject's colour near the rim. `width`: px inward that may still be ground.

    A rim pixel is subject by as much as it is away from the ground around it, held against the pixel near
    by that is furthest away.
    """
    inside: Any = subject.astype(np.uint8)
    ground, some = _mean_around(picture, 1 - inside, width + RIM)
    away = np.sqrt(((picture - ground) ** 2).sum(axis=2)).astype(np.float32)
    away[some == 0] = 255
    furthest: Any = cv2.dilate(away * inside, np.ones((2 * width + 1, 2 * width + 1), np.uint8))
    depth: Any = cv2.distanceTransform(np.pad(inside, 1, constant_values=1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    rim = (depth > 0) & (depth <= width) & (some > 0)
    share = np.clip((away - QUIET) / np.maximum(furthest - QUIET, TOLD), 0, 1)
    alpha = np.where(rim, share, inside).astype(np.float32)
    alpha[alpha < CLEAR], alpha[alpha > 1 - CLEAR] = 0, 1
    whole: Any = cv2.erode((alpha == 1).astype(np.uint8), np.ones((3, 3), np.uint8))
    own, known = _mean_around(picture, whole, width + RIM)
    return alpha, np.where(known[..., None] > 0, np.round(own), picture).astype(np.uint8)


def _mean_around(picture: Share, where: NDArray[np.uint8], reach: int) -> tuple[Share, Share]:
    """(H, W, 3) mean colour of the pixels chosen by `where` within `reach` px, and their share."""
    size = (2 * reach + 1, 2 * reach + 1)
    chosen = where.astype(np.float32)[..., None]
    weight: Any = cv2.blur(chosen[..., 0], size)
    total: Any = cv2.blur(picture * chosen, size)
    return total / np.maximum(weight, 1e-4)[..., None], weight
