"""Finding known marks in a picture: corner words vote for a mark, a place and a size; lines then judge.

A mark is learned at CANON px, turned a little each way. A picture is looked at on levels, so that on one of
them each mark in it is about that large. Corners that look alike vote for where the mark's middle would be;
the places with most votes are compared line by line: a fixed number, however many marks there are.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from studio.safety.protected_features import (
    DIRECTIONS,
    LENGTH,
    Bytes,
    Floats,
    Level,
    Picture,
    halved,
    level_of,
    lines_of,
)
from studio.safety.protected_poses import CANON, MARGIN, Mark, Poses, cut, framed, lines_at, turned
from studio.safety.protected_words import Numbers, Words

WIDTH = 544  # px a side at which a picture is looked at first: 12 % of it are CANON
BETWEEN = 3  # levels to half the size, whose lines are those of the first of them, made smaller (Dollar 2014)
STEP = 2 ** (1 / BETWEEN)
TURNS = (-7.0, 0.0, 7.0)  # degrees at which a mark is learned
AROUND = (-3.5, 0.0, 3.5)  # degrees about the one that most votes are for
SIZES = (0.9, 1.0, 1.1)
FINE_TURNS, FINE_SIZES = (-2.0, 0.0, 2.0), (0.96, 1.0, 1.04)
SLACK = 3  # half px that a place may be off
FINE_SLACK = 1  # px
ROUGH = 0.8  # at half the size, below which a place is not looked at again
REFINED = 5
KEPT = 128  # marks, each at one turn, whose poses are kept: 0.5 MB each
CORNERS = 700  # of the first level; fewer of smaller ones
OF_A_MARK = 28
CHANCE = 0.5  # how soon more alike corners of other marks make one worth less
BIN = 6  # half px within which votes for a middle agree
LEADING = 4_000  # votes that are counted with care
WIDE = 24  # half px of the squares in which they are found
SQUARES = 1 << 20
JUDGED = 14  # places that are compared line by line

LEARNED = np.dtype(
    [
        ("size", "u1", 2),  # height, width
        ("ground", "u1", 3),
        ("picture", "u1", (CANON, CANON, 4)),  # RGB, mask
        ("corners", "u1"),
        ("descriptors", "u1", (OF_A_MARK * len(TURNS), LENGTH)),
        ("offsets", "i1", (OF_A_MARK * len(TURNS), 2)),  # to the middle, in px
        ("turns", "u1", OF_A_MARK * len(TURNS)),
    ]
)

Records = np.ndarray[tuple[int], np.dtype[np.void]]
Levels = list[tuple[float, Level]]


@dataclass(frozen=True)
class Hit:
    """`mark`: its number. `score` 0 to 1. `box`: left, top, width, height as shares of the picture."""

    mark: int
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Place:
    """A mark at a place of a level: x, y of its middle in half px, number of its turn, share of CANON."""

    mark: int
    turn: int
    level: int
    x: float
    y: float


@dataclass(frozen=True)
class Fit:
    place: Place
    degrees: float
    size: float
    score: float


@dataclass(frozen=True)
class Votes:
    """Corners of a picture that look like one of a mark, and where the middle of that mark would be."""

    owner: Numbers
    level: Numbers
    corner: Numbers
    entry: Numbers  # which of those that were learned
    turn: Bytes
    middle: Floats
    weight: NDArray[np.float64]

    def some(self, which: NDArray[np.int64]) -> Votes:
        return Votes(*(part[which] for part in vars(self).values()))


def learned(mark: Mark) -> np.ndarray[tuple[()], np.dtype[np.void]]:
    """One of LEARNED."""
    record = np.zeros((), LEARNED)
    height, width = (side - 2 * MARGIN for side in mark.mask.shape)
    inner = np.s_[MARGIN : MARGIN + height, MARGIN : MARGIN + width]
    record["size"], record["ground"] = (height, width), mark.picture[0, 0]
    record["picture"][:height, :width, :3] = mark.picture[inner]
    record["picture"][:height, :width, 3] = mark.mask[inner]
    count = 0
    for turn, degrees in enumerate(TURNS):
        level = level_of(halved(lines_of(turned(mark, degrees))), OF_A_MARK)
        some = slice(count, count + len(level.corners))
        high, wide = level.half.shape[:2]
        record["descriptors"][some], record["turns"][some] = level.descriptors, turn
        record["offsets"][some] = np.array([wide - 1, high - 1]) - 2 * level.corners
        count = some.stop
    record["corners"] = count
    return record


def known(record: np.void) -> Mark:
    height, width = (int(side) for side in record["size"])
    small = np.asarray(record["picture"])[:height, :width]
    return framed(small[..., :3], small[..., 3] > 0, record["ground"])


def bounded(picture: Picture) -> Picture:
    """WIDTH px wide, or twice as high: what a check costs does not grow with the picture."""
    height, width = picture.shape[:2]
    share = min(WIDTH / width, 2 * WIDTH / height)
    return sized(picture, share)


def levels_of(picture: Picture) -> Levels:
    """(px of the level per px of the bounded picture, level), down to where a mark fills it."""
    found: Levels = []
    share, most, octave = 1.0, float(CORNERS), np.zeros((0, 0, DIRECTIONS), np.uint8)
    height, width = picture.shape[:2]
    while min(height, width) * share >= CANON * 0.9:
        if len(found) % BETWEEN == 0:
            picture = sized(picture, width * share / picture.shape[1])
            octave = half = halved(lines_of(picture))
        else:
            size = round(width * share / 2), round(height * share / 2)
            half = np.asarray(cv2.resize(octave, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        found.append((share, level_of(half, round(most))))
        share, most = share / STEP, most / STEP**1.6
    return found


def sized(picture: Picture, share: float) -> Picture:
    size = round(picture.shape[1] * share), round(picture.shape[0] * share)
    if size == picture.shape[1::-1]:
        return picture
    method = cv2.INTER_AREA if share < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=method), np.uint8)


class Index:
    """Marks that were learned. Thread-safe once made."""

    def __init__(self, marks: Records) -> None:
        self._marks = marks
        self._kept: dict[tuple[int, int], Poses] = {}
        self._lock = threading.Lock()
        counts = np.asarray(marks["corners"])
        real = np.arange(LEARNED["turns"].shape[0]) < counts[:, None]
        described = np.asarray(marks["descriptors"])[real]
        self._words = Words(described)
        order = self._words.order
        self._owner = np.repeat(np.arange(len(marks), dtype=np.int32), counts)[order]
        self._offset = np.asarray(marks["offsets"])[real][order]
        self._turn = np.asarray(marks["turns"])[real][order]
        self._fair = 1 / np.sqrt(counts / len(TURNS) + 6)  # a mark with few corners can have few votes

    def __len__(self) -> int:
        return len(self._marks)

    def search(self, picture: Picture, threshold: float = 0.0) -> list[Hit]:
        """Marks that are in `picture` ((h, w, 3) uint8 RGB) with a score of `threshold`, best first."""
        picture = bounded(picture)
        levels = levels_of(picture)
        rough = [self._judge(levels, place) for place in self.places(levels)]
        found: dict[int, Hit] = {}
        for fit in sorted(rough, key=lambda fit: -fit.score)[:REFINED]:
            if fit.score >= ROUGH and fit.place.mark not in found:
                hit = self._refine(picture, levels[fit.place.level][0], fit)
                if hit.score >= threshold:
                    found[hit.mark] = hit
        return sorted(found.values(), key=lambda hit: -hit.score)

    def places(self, levels: Levels) -> list[Place]:
        """Where most corners vote for one mark, best first."""
        described = np.concatenate([np.zeros((0, LENGTH), np.uint8), *(one.descriptors for _, one in levels)])
        if not len(described) or not len(self._owner):
            return []
        counts = [len(level.corners) for _, level in levels]
        corners = np.concatenate([level.corners for _, level in levels]).astype(np.float32)
        at = np.repeat(np.arange(len(levels), dtype=np.int32), counts)
        corner, entry, rank = self._words.pairs(described)
        middle = (corners[corner] + self._offset[entry] / 2).astype(np.float32)
        owner = self._owner[entry]
        # how unlikely it is that a mark that is not there has a corner so much alike
        weight = np.log1p(CHANCE * len(self._marks) / (1 + rank)) * self._fair[owner]
        votes = Votes(owner, at[corner], corner, entry, self._turn[entry], middle, weight)
        return _most_voted(votes.some(_leading(votes)))

    def _judge(self, levels: Levels, place: Place) -> Fit:
        """The best of all turns, sizes and shifts about `place`, at half the size."""
        poses = self._poses(place.mark, place.turn)
        left, top = _corner(place, poses, SLACK)
        view = cut(levels[place.level][1].half, left, top, poses.height + 2 * SLACK, poses.width + 2 * SLACK)
        score, pose, row, column = poses.fit(view, SLACK)
        degrees, size = poses.ways[pose]
        x = left + SLACK + column + (poses.width - 1) / 2
        y = top + SLACK + row + (poses.height - 1) / 2
        return Fit(Place(place.mark, place.turn, place.level, x, y), degrees, size, score)

    def _refine(self, picture: Picture, share: float, fit: Fit) -> Hit:
        """Again at full size with finer steps; the score is that of the mark's worst parts."""
        place = fit.place
        turns, sizes = [fit.degrees + turn for turn in FINE_TURNS], [fit.size * size for size in FINE_SIZES]
        poses = Poses(known(self._marks[place.mark]), turns, sizes, half=False)
        middle = Place(place.mark, place.turn, place.level, 2 * place.x + 0.5, 2 * place.y + 0.5)
        left, top = _corner(middle, poses, FINE_SLACK)
        height, width = poses.height + 2 * FINE_SLACK, poses.width + 2 * FINE_SLACK
        view = lines_at(sized(picture, share), left, top, height, width)
        score, pose, row, column = poses.fit(view, FINE_SLACK, worst=True)
        size = poses.ways[pose][1] / share
        x = (left + FINE_SLACK + column + poses.width / 2) / share
        y = (top + FINE_SLACK + row + poses.height / 2) / share
        wide, high = (poses.width - 2 * MARGIN) * size, (poses.height - 2 * MARGIN) * size
        whole = picture.shape
        box = (x - wide / 2) / whole[1], (y - high / 2) / whole[0], wide / whole[1], high / whole[0]
        return Hit(place.mark, score, box)

    def _poses(self, number: int, turn: int) -> Poses:
        with self._lock:
            poses = self._kept.get((number, turn))
            if poses is None:
                if len(self._kept) >= KEPT:
                    self._kept.pop(next(iter(self._kept)))
                turns = [TURNS[turn] + about for about in AROUND]
                poses = self._kept[number, turn] = Poses(known(self._marks[number]), turns, SIZES, half=True)
            return poses


def _corner(middle: Place, poses: Poses, slack: int) -> tuple[int, int]:
    """Left and top of the window about a middle."""
    return (
        round(middle.x - (poses.width - 1) / 2) - slack,
        round(middle.y - (poses.height - 1) / 2) - slack,
    )


def _leading(votes: Votes) -> NDArray[np.int64]:
    """Numbers of those for the marks, levels and rough places that most votes are for.

    Squares share counters by chance; what comes in by that falls out when votes are counted with care.
    """
    square = (votes.middle / WIDE).astype(np.int32)
    key = ((votes.owner * 16 + votes.level) * 31 + square[:, 1]) * 31 + square[:, 0]
    key *= np.int32(-1640531527)  # Knuth's multiplicative hash
    counter = key.view(np.uint32) >> np.uint32(32 - SQUARES.bit_length() + 1)
    sums = np.bincount(counter, votes.weight, SQUARES)[counter]
    if len(sums) <= LEADING:
        return np.arange(len(sums))
    return np.flatnonzero(sums >= np.partition(sums, -LEADING)[-LEADING])


def _most_voted(votes: Votes) -> list[Place]:
    owner, corner, entry = (part.astype(np.int64) for part in (votes.owner, votes.corner, votes.entry))
    best: list[tuple[float, Place]] = []
    for shift in ((0, 0), (0.5, 0), (0, 0.5), (0.5, 0.5)):
        cell = np.floor(votes.middle / BIN + shift).astype(np.int64) + 8
        key = ((owner * 32 + votes.level) * 256 + cell[:, 1]) * 256 + cell[:, 0]
        # one corner votes once for one place, as the one of a mark that it resembles most; and each of a mark
        # is voted for once: the corners of a ring all look like one
        _, first = np.unique(key << 12 | corner, return_index=True)
        _, once = np.unique(key[first] << 20 | entry[first], return_index=True)
        first = first[once]
        keys, at = np.unique(key[first], return_inverse=True)
        said, many = votes.weight[first], len(keys)
        sums = np.bincount(at, said)
        xs, ys = (np.bincount(at, said * votes.middle[first, way]) / sums for way in (0, 1))
        turns = np.bincount(at * len(TURNS) + votes.turn[first], said, many * len(TURNS)).reshape(many, -1)
        for top in np.argsort(-sums)[: 2 * JUDGED]:
            mark, level = divmod(int(keys[top]) >> 16, 32)
            place = Place(mark, int(turns[top].argmax()), level, float(xs[top]), float(ys[top]))
            best.append((float(sums[top]), place))
    chosen: list[Place] = []
    for _, place in sorted(best, key=lambda pair: -pair[0]):
        if not any(_same(place, other) for other in chosen):
            chosen.append(place)
        if len(chosen) == JUDGED:
            break
    return chosen


def _same(one: Place, other: Place) -> bool:
    near = abs(one.x - other.x) + abs(one.y - other.y) < BIN
    return near and one.mark == other.mark and one.level == other.level
