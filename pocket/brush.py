"""A brush that paints smooth, antialiased shapes in an object's own coordinates with OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pocket.palette import Rgb

SHIFT = 4  # OpenCV's fixed-point coordinates: 1/16 pixel
Points = Sequence[tuple[float, float]] | np.ndarray


@dataclass
class Brush:
    """Paints on `picture` (H, W, 3) uint8 RGB and marks `mask` (H, W) uint8.

    Object coordinates run from -1 to 1 with y down; `centre` is their origin in pixels and `scale` the
    pixels per unit. `outline` > 0 strokes each shape with `ink`, that many units wide; `hollow` leaves the
    inside unpainted (neon); `shines` lets glossy highlights be painted.
    """

    picture: np.ndarray
    mask: np.ndarray
    centre: tuple[float, float]
    scale: float
    ink: Rgb
    outline: float = 0.0
    hollow: bool = False
    shines: bool = False

    def fill(self, points: Points, colour: Rgb) -> None:
        """A closed shape."""
        polygon = self._pixels(points)
        cv2.fillPoly(self.mask, [polygon], 255, cv2.LINE_AA, SHIFT)
        if not self.hollow:
            cv2.fillPoly(self.picture, [polygon], colour, cv2.LINE_AA, SHIFT)
        if self.outline:
            self._stroke(polygon, self.ink, self.outline, closed=True)

    def line(self, points: Points, colour: Rgb, width: float) -> None:
        """An open stroke `width` units wide."""
        path = self._pixels(points)
        if self.outline:
            self._stroke(path, self.ink, width + 2 * self.outline * (not self.hollow), closed=False)
        if not self.hollow:
            self._stroke(path, colour, width, closed=False)
        cv2.polylines(self.mask, [path], False, 255, self._thickness(width), cv2.LINE_AA, SHIFT)

    def detail(self, points: Points, colour: Rgb, width: float) -> None:
        """A thin line on top of a shape: seams, laces, hands of a watch."""
        self._stroke(self._pixels(points), self.ink if self.hollow else colour, width, closed=False)

    def shine(self, points: Points, strength: float = 0.6) -> None:
        """A white highlight, painted on glossy things only; `strength` is its opacity in 0..1."""
        if not self.shines:
            return
        glow = np.zeros_like(self.mask)
        cv2.fillPoly(glow, [self._pixels(points)], 255, cv2.LINE_AA, SHIFT)
        share = (glow.astype(np.float32) * (strength / 255))[..., None]
        self.picture[:] = (self.picture + (255 - self.picture.astype(np.float32)) * share).astype(np.uint8)

    def _pixels(self, points: Points) -> np.ndarray:
        places = np.asarray(points, np.float32) * self.scale + np.asarray(self.centre, np.float32)
        return np.round(places * (1 << SHIFT)).astype(np.int32)

    def _thickness(self, width: float) -> int:
        return max(1, round(width * self.scale))

    def _stroke(self, path: np.ndarray, colour: Rgb, width: float, closed: bool) -> None:
        cv2.polylines(self.picture, [path], closed, colour, self._thickness(width), cv2.LINE_AA, SHIFT)


def box(left: float, top: float, right: float, bottom: float, radius: float = 0.0) -> np.ndarray:
    """A rectangle with corners rounded by `radius`, as (N, 2) points."""
    if radius <= 0:
        return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)
    quarter = np.linspace(0, np.pi / 2, 7)
    corners = [
        (right - radius, bottom - radius, 0.0),
        (left + radius, bottom - radius, np.pi / 2),
        (left + radius, top + radius, np.pi),
        (right - radius, top + radius, 3 * np.pi / 2),
    ]
    return np.concatenate([
        np.stack([x + radius * np.cos(quarter + turn), y + radius * np.sin(quarter + turn)], axis=1)
        for x, y, turn in corners
    ]).astype(np.float32)


def ellipse(
    x: float, y: float, across: float, down: float, start: float = 0, stop: float = 360
) -> np.ndarray:
    """Points of an ellipse or arc: half axes `across` and `down`; degrees, clockwise from the right."""
    turn = np.radians(np.linspace(start, stop, 49))
    return np.stack([x + across * np.cos(turn), y + down * np.sin(turn)], axis=1).astype(np.float32)


def curve(points: Points, closed: bool = True) -> np.ndarray:
    """A centripetal-looking Catmull-Rom curve through `points`, eight steps a segment."""
    knots = np.asarray(points, np.float32)
    before = np.roll(knots, 1, axis=0) if closed else np.concatenate([knots[:1], knots[:-1]])
    after = np.roll(knots, -1, axis=0) if closed else np.concatenate([knots[1:], knots[-1:]])
    beyond = np.roll(after, -1, axis=0) if closed else np.concatenate([after[1:], after[-1:]])
    share = np.linspace(0, 1, 8, endpoint=False, dtype=np.float32)[None, :, None]
    p0, p1, p2, p3 = (side[:, None, :] for side in (before, knots, after, beyond))
    path = 0.5 * (2 * p1 + (p2 - p0) * share + (2 * p0 - 5 * p1 + 4 * p2 - p3) * share**2
                  + (3 * p1 - p0 - 3 * p2 + p3) * share**3)
    flat = path.reshape(-1, 2)
    return flat if closed else np.concatenate([flat[: 8 * (len(knots) - 1)], knots[-1:]])
