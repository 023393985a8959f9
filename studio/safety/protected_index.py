"""Finding known marks in a picture: corner words vote for a mark, a place and a size; lines then judge.

A mark is learned at CANON px, turned a little each way. A picture is looked at on levels, so that on one of
them each mark in it is about that large. Corners that look alike vote for where the mark's middle would be;
the places with most votes are compared line by line.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from studio.safety.protected_features import DIRECTIONS, LENGTH, Floats, Level, Picture, level_of, lines_of

CANON = 64  # px of a mark's longer side where it is compared
MARGIN = 12  # px around it
WIDTH = 544  # px a side at which a picture is looked at first: 12 % of it are CANON
STEP = 1.25  # between levels
TURNS = (-7.0, 0.0, 7.0)  # degrees at which a mark is learned
WAYS = tuple((turn, size) for turn in (-9.0, -4.5, 0.0, 4.5, 9.0) for size in (0.9, 1.0, 1.1))
SLACK = 3  # px of half the size that a place may be off
FINE_SLACK = 2  # px
ROUGH = 0.8  # at half the size, below which a place is not looked at again
REFINED = 6
TILES = 6  # parts a side
WORST = 0.3  # of a mark's lines speak for it
KEPT = 64  # marks whose poses are kept: 1 MB each
CORNERS = 700  # of the first level; fewer of smaller ones
OF_A_MARK = 28
WORDS = 1024  # lists that descriptors are sorted into; two are looked through for each corner
ALIKE = 0.86  # of two descriptors, 1 = the same
BIN = 14  # px within which votes for a middle agree
JUDGED = 14  # places that are compared line by line


Levels = list[tuple[float, Level]]


@dataclass(frozen=True)
class Mark:
    """RGBA at CANON px; `shape`: where it is."""

    picture: Picture
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Hit:
    """`mark`: its number. `score` 0 to 1. `box`: left, top, width, height as shares of the picture."""

    mark: int
    score: float
    box: tuple[float, float, float, float]


def mark_of(rgba: Picture) -> Mark:
    """(h, w, 4) uint8, cut to the mark -> at CANON px on a ground that differs from it."""
    height, width = rgba.shape[:2]
    share = CANON / max(height, width)
    size = max(4, round(width * share)), max(4, round(height * share))
    alpha = rgba[..., 3:].astype(np.float32) / 255
    colour = (rgba[..., :3] * alpha).sum(axis=(0, 1)) / max(1.0, float(alpha.sum()))
    ground = np.where(colour > 127, 0, 255)  # as far from the mark as a ground can be
    flat = rgba[..., :3] * alpha + ground * (1 - alpha)
    small = cv2.resize(flat.astype(np.uint8), size, interpolation=cv2.INTER_AREA)
    mask = cv2.resize(alpha[..., 0], size, interpolation=cv2.INTER_AREA) > 0.5
    edge = [(MARGIN, MARGIN), (MARGIN, MARGIN)]
    wide = [np.pad(small[..., part], edge, constant_values=ground[part]) for part in range(3)]
    return Mark(np.stack(wide, axis=2), np.pad(mask, edge))


def turned(mark: Mark, degrees: float, size: float = 1.0) -> tuple[Picture, NDArray[np.bool_]]:
    height, width = mark.mask.shape
    about = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, size)
    picture = cv2.warpAffine(mark.picture, about, (width, height), borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(mark.mask.astype(np.uint8), about, (width, height))
    return np.asarray(picture, np.uint8), mask > 0


def levels_of(picture: Picture) -> Levels:
    """(px of the level per px of the picture, level), from the largest down to where a mark fills it."""
    height, width = picture.shape[:2]
    share, found = WIDTH / width, []
    if height * share > 2 * WIDTH:  # a tall strip
        share = 2 * WIDTH / height
    most = CORNERS
    while min(height, width) * share >= CANON * 0.9:
        size = round(width * share), round(height * share)
        method = cv2.INTER_AREA if share < 1 else cv2.INTER_CUBIC
        found.append(
            (share, level_of(np.asarray(cv2.resize(picture, size, interpolation=method), np.uint8), most))
        )
        share, most = share / STEP, round(most / STEP**1.6)
    return found


class Index:
    """Marks that were learned. Thread-safe once made."""

    def __init__(self, marks: Sequence[Mark], seed: int = 0) -> None:
        self.marks = marks
        self._kept: dict[int, Poses] = {}
        self._lock = threading.Lock()
        described: list[Floats] = []
        owner: list[NDArray[np.int64]] = []
        offset: list[NDArray[np.float64]] = []
        for number, mark in enumerate(marks):
            for turn in TURNS:
                level = level_of(turned(mark, turn)[0], OF_A_MARK)
                height, width = mark.mask.shape
                described.append(level.descriptors)
                owner.append(np.full(len(level.corners), number))
                offset.append(np.array([(width - 1) / 2, (height - 1) / 2]) - level.corners)
        empty = np.zeros((0, LENGTH), np.float32)
        self._described = np.concatenate([empty, *described])
        self._owner = np.concatenate([np.zeros(0, np.int64), *owner])
        self._offset = np.concatenate([np.zeros((0, 2)), *offset]).astype(np.float32)
        self._corners = np.bincount(self._owner, minlength=len(marks)) / len(TURNS)
        self._words = self._sort(np.random.default_rng(seed))

    def _sort(self, rng: np.random.Generator) -> Floats:
        """Puts descriptors of one word beside each other; the words' middles."""
        count = min(WORDS, max(1, len(self._described) // 40))
        if not len(self._described):
            self._starts = np.zeros(count + 1, np.int64)
            return np.zeros((count, LENGTH), np.float32)
        sample = self._described[rng.permutation(len(self._described))[:20_000]]
        words = sample[:count].copy()
        for _ in range(6):
            nearest = (sample @ words.T).argmax(axis=1)
            sums = np.zeros_like(words)
            np.add.at(sums, nearest, sample)
            words = np.where(sums.any(axis=1, keepdims=True), sums, words)
            words /= np.linalg.norm(words, axis=1, keepdims=True)
        word = np.concatenate(
            [
                (part @ words.T).argmax(axis=1)
                for part in np.array_split(self._described, 1 + len(self._described) // 50_000)
            ]
        )
        order = np.argsort(word, kind="stable")
        self._described, self._owner, self._offset = (
            part[order] for part in (self._described, self._owner, self._offset)
        )
        self._starts = np.searchsorted(word[order], np.arange(count + 1))
        return words

    def search(self, picture: Picture, threshold: float = 0.0) -> list[Hit]:
        """Marks that are in `picture` ((h, w, 3) uint8 RGB) with a score of `threshold`, best first."""
        levels = levels_of(picture)
        rough = [self._judge(levels, *place) for place in self.places(levels)]
        found: dict[int, Hit] = {}
        for fit in sorted(rough, key=lambda fit: -fit.score)[:REFINED]:
            if fit.score >= ROUGH:
                hit = self._refine(picture.shape, levels, fit)
                if hit.score >= max(threshold, found[hit.mark].score if hit.mark in found else 0.0):
                    found[hit.mark] = hit
        return sorted(found.values(), key=lambda hit: -hit.score)

    def places(self, levels: Levels) -> list[tuple[int, int, float, float]]:
        """(mark, level, x, y) of the middles that most corners vote for."""
        corners = np.concatenate([level.corners for _, level in levels]).astype(np.float32)
        at = np.repeat(np.arange(len(levels)), [len(level.corners) for _, level in levels])
        described = np.concatenate([level.descriptors for _, level in levels])
        if not len(described) or not len(self._described):
            return []
        corner, entry, alike = self._pairs(described)
        middle = corners[corner] + self._offset[entry]
        owner, on = self._owner[entry], at[corner]
        weight = alike - ALIKE + 0.02
        best: list[tuple[float, int, int, float, float]] = []
        for shift in ((0, 0), (0.5, 0), (0, 0.5), (0.5, 0.5)):
            cell = np.floor(middle / BIN + shift).astype(np.int64) + 8
            key = ((owner * 32 + on) * 256 + cell[:, 1]) * 256 + cell[:, 0]
            # one corner votes once for one place, whatever turns it resembles
            pair = key * 4096 + corner
            order = np.lexsort((-weight, pair))
            first = order[np.concatenate([[True], np.diff(pair[order]) != 0])]
            keys, votes = np.unique(key[first], return_inverse=True)
            sums = np.bincount(votes, weight[first])
            xs, ys = (np.bincount(votes, weight[first] * middle[first, way]) / sums for way in (0, 1))
            marks = keys >> 21
            fair = sums / np.sqrt(self._corners[marks] + 6)  # a mark with few corners can have few votes
            for top in np.argsort(-fair)[: 2 * JUDGED]:
                at_level = int(keys[top] >> 16 & 31)
                best.append((float(fair[top]), int(marks[top]), at_level, float(xs[top]), float(ys[top])))
        chosen: list[tuple[int, int, float, float]] = []
        for _, mark, level, x, y in sorted(best, reverse=True):
            same = (m == mark and lv == level and abs(x - u) + abs(y - v) < BIN for m, lv, u, v in chosen)
            if not any(same):
                chosen.append((mark, level, x, y))
            if len(chosen) == JUDGED:
                break
        return chosen

    def _pairs(self, described: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
        """Corners of the picture and entries of the index that look alike, and how much."""
        likeness = described @ self._words.T
        probes = min(2, likeness.shape[1])
        nearest = np.argpartition(-likeness, probes - 1, axis=1)[:, :probes]
        corners, entries, values = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
        order = np.argsort(nearest.ravel(), kind="stable")
        word = nearest.ravel()[order]
        who = order // probes
        bounds = np.searchsorted(word, np.arange(len(self._words) + 1))
        for number in np.unique(word):
            asked = who[bounds[number] : bounds[number + 1]]
            start, stop = self._starts[number], self._starts[number + 1]
            alike = described[asked] @ self._described[start:stop].T
            rows, columns = np.nonzero(alike > ALIKE)
            corners.append(asked[rows])
            entries.append(start + columns)
            values.append(alike[rows, columns])
        return np.concatenate(corners), np.concatenate(entries), np.concatenate(values)

    def _judge(self, levels: Levels, mark: int, at: int, x: float, y: float) -> Fit:
        """The best of all turns, sizes and shifts about (x, y) on level `at`, at half the size."""
        poses = self._poses(mark)
        view = cut(levels[at][1].lines, x, y, poses.height, poses.width, 2 * SLACK)
        score, pose, row, column = poses.fit(halved(view), SLACK)
        turn, size = poses.ways[pose]
        return Fit(mark, at, x + 2 * column, y + 2 * row, turn, size, score)

    def _refine(self, shape: tuple[int, ...], levels: Levels, fit: Fit) -> Hit:
        """Again at full size with finer steps; the score is that of the mark's worst parts."""
        share, level = levels[fit.level]
        ways = [(fit.turn + turn, fit.size * size) for turn in (-2.0, 0.0, 2.0) for size in (0.96, 1.0, 1.04)]
        poses = Poses(self.marks[fit.mark], ways, sharp)
        view = sharp(cut(level.lines, fit.x, fit.y, poses.height, poses.width, FINE_SLACK))
        score, pose, row, column = poses.fit(view, FINE_SLACK, worst=True)
        size = ways[pose][1]
        x, y = (fit.x + column) / share, (fit.y + row) / share
        wide, high = (poses.width - 2 * MARGIN) * size / share, (poses.height - 2 * MARGIN) * size / share
        box = (x - wide / 2) / shape[1], (y - high / 2) / shape[0], wide / shape[1], high / shape[0]
        return Hit(fit.mark, score, box)

    def _poses(self, number: int) -> Poses:
        with self._lock:
            if number not in self._kept:
                if len(self._kept) >= KEPT:
                    self._kept.pop(next(iter(self._kept)))
                self._kept[number] = Poses(self.marks[number], WAYS, halved)
            return self._kept[number]


@dataclass(frozen=True)
class Fit:
    """A mark at a place of a level: middle in px, degrees, share of CANON."""

    mark: int
    level: int
    x: float
    y: float
    turn: float
    size: float
    score: float


class Poses:
    """A mark's lines in some turns and sizes, for comparing with a place."""

    def __init__(
        self, mark: Mark, ways: Sequence[tuple[float, float]], soften: Callable[[Floats], Floats]
    ) -> None:
        self.height, self.width = mark.mask.shape
        self.ways = ways
        step = 2 if soften is halved else 1
        lines, masks = [], []
        for turn, size in ways:
            picture, mask = turned(mark, turn, size)
            near = cv2.dilate(mask.astype(np.float32), np.ones((5, 5), np.uint8))[::step, ::step]
            lines.append(soften(lines_of(picture)) * near[..., None])
            masks.append(near)
        self._shape = lines[0].shape
        self._lines = np.stack(lines).reshape(len(ways), -1)
        self._masks = np.stack(masks).reshape(len(ways), -1)

    def fit(self, view: Floats, slack: int, worst: bool = False) -> tuple[float, int, int, int]:
        """(score, number of the way, rows and columns off the middle) of the best place in `view`."""
        windows = np.lib.stride_tricks.sliding_window_view(view, self._shape[:2], axis=(0, 1))
        windows = windows[: 2 * slack + 1, : 2 * slack + 1].transpose(0, 1, 3, 4, 2)
        across = windows.shape[1]
        flat = np.ascontiguousarray(windows).reshape(-1, self._lines.shape[1])
        loud = np.square(flat).reshape(len(flat), -1, DIRECTIONS).sum(axis=2) @ self._masks.T
        own = np.square(self._lines).sum(axis=1)
        score = flat @ self._lines.T / np.sqrt(loud * own + 1e-6)
        shift, pose = np.unravel_index(int(score.argmax()), score.shape)
        row, column = divmod(int(shift), across)
        best = self._worst_parts(flat[shift], int(pose)) if worst else float(score[shift, pose])
        return best, int(pose), row - slack, column - slack

    def _worst_parts(self, seen: Floats, pose: int) -> float:
        """Likeness of the worst three tenths of the mark: a ring about a letter must not speak for both."""
        own = self._lines[pose].reshape(-1, DIRECTIONS)
        seen = seen.reshape(-1, DIRECTIONS) * self._masks[pose][:, None]
        tile = tiles(self._shape)
        pairs = ((own, seen), (own, own), (seen, seen))
        both, one, other = (np.bincount(tile, (left * right).sum(axis=1)) for left, right in pairs)
        weight, alike = np.sqrt(one), both / np.sqrt(one * other + 1e-3)
        order = np.argsort(alike)
        ends = np.cumsum(weight[order]) / max(1e-6, weight.sum())
        used = np.clip(WORST - np.concatenate([[0.0], ends[:-1]]), 0, weight[order] / max(1e-6, weight.sum()))
        return float((alike[order] * used).sum() / WORST)


def tiles(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """The part of the mark that each px belongs to, row by row."""
    down, across = (np.arange(side) * TILES // side for side in shape[:2])
    return (down[:, None] * TILES + across).ravel()


def halved(lines: Floats) -> Floats:
    return np.ascontiguousarray(cv2.GaussianBlur(lines, (0, 0), 1.6)[::2, ::2])


def sharp(lines: Floats) -> Floats:
    return np.asarray(cv2.GaussianBlur(lines, (0, 0), 1.2), np.float32)


def cut(lines: Floats, x: float, y: float, height: int, width: int, slack: int) -> Floats:
    """A window about (x, y), `slack` px wider on all sides; nothing where it reaches beyond `lines`."""
    left, top = round(x - (width - 1) / 2) - slack, round(y - (height - 1) / 2) - slack
    out = np.zeros((height + 2 * slack, width + 2 * slack, lines.shape[2]), np.float32)
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(lines.shape[1], left + out.shape[1]), min(lines.shape[0], top + out.shape[0])
    if x0 < x1 and y0 < y1:
        out[y0 - top : y1 - top, x0 - left : x1 - left] = lines[y0:y1, x0:x1]
    return out
