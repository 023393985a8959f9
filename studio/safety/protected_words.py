"""Which corners of known marks look like these? In a time that hardly grows with the number of marks.

Two words sort a corner, one for each half of what is around it (inverted multi-index, Babenko and Lempitsky,
CVPR 2012): so a few hundred words part it into thousands of short lists. In a list, 128 bits a corner say
how much alike two are (Hamming embedding, Jegou, Douze and Schmid, ECCV 2008).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from studio.safety.protected_features import LENGTH, Bytes, Floats

A_LIST = 12  # corners in one, as a rule
MOST = 288  # words for one half
PROBES = 3  # words that are looked up for each half
RANKS = 12  # corners that may be more like it
LONGEST = 96  # of a list that is looked through: what so many share tells nothing
BITS = 128
FAR = 40  # bits by which corners that count as alike may differ
HALF_FAR = 25  # of the first half of them: 2.4 (one sigma) more than half of FAR, twice
SAMPLE = 20_000
ROUNDS = 6
PART = 50_000  # corners sorted at a time
HALVES = (slice(0, LENGTH // 2), slice(LENGTH // 2, LENGTH))

Numbers = NDArray[np.int32]


class Words:
    """Corners that were learned; `order` is how they are kept here."""

    def __init__(self, described: Bytes, seed: int = 0) -> None:
        """`described`: (n, 64)."""
        rng = np.random.default_rng(seed)
        self._count = count = int(np.clip(np.sqrt(len(described) / A_LIST), 1, MOST))
        self._longest = LONGEST if count > PROBES else len(described)
        sample = described[rng.permutation(len(described))[:SAMPLE]].astype(np.float32)
        self._middle = sample.mean(axis=0) if len(sample) else np.zeros(LENGTH, np.float32)
        self._ways = rng.standard_normal((LENGTH, BITS)).astype(np.float32)
        self._words = [_words(sample[:, half], count, rng) for half in HALVES]
        parts = np.array_split(described, 1 + len(described) // PART)
        lists = [self._nearest(part, 0)[0] * count + self._nearest(part, 1)[0] for part in parts]
        number = np.concatenate(lists)
        mixed = rng.permutation(len(number))  # so that a list that is cut off is unfair to no mark
        self.order = mixed[np.argsort(number[mixed], kind="stable")]
        self._starts = np.searchsorted(number[self.order], np.arange(count**2 + 1)).astype(np.int32)
        self._bits = np.concatenate([self._signed(part) for part in parts], axis=1)[:, self.order]

    def pairs(self, described: Bytes) -> tuple[Numbers, Numbers, NDArray[np.int64]]:
        """(corners of a picture, corners that were learned, how many are more like it)."""
        firsts, seconds = (self._nearest(described, side, PROBES) for side in (0, 1))
        lists = np.concatenate(
            [
                firsts[one] * self._count + seconds[two]
                for one in range(len(firsts))
                for two in range(len(seconds) - one)
            ]
        )
        start = self._starts[lists]
        size = np.minimum(self._starts[lists + 1] - start, self._longest)
        before = np.cumsum(size, dtype=np.int32) - size
        entry = np.arange(int(size.sum()), dtype=np.int32) + np.repeat(start - before, size)
        corner = np.repeat(np.arange(len(lists), dtype=np.int32) % len(described), size)
        first, second = self._signed(described)
        # half of the bits rule most pairs out
        far = np.bitwise_count(
            self._bits[0].take(entry) ^ np.repeat(np.tile(first, len(lists) // len(first)), size)
        )
        near = np.flatnonzero(far <= HALF_FAR)
        corner, entry = corner[near], entry[near]
        far = far[near] + np.bitwise_count(self._bits[1][entry] ^ second[corner])
        near = np.flatnonzero(far <= FAR)
        corner, entry = corner[near], entry[near]
        key = (
            corner.astype(np.uint64) << 40
            | far[near].astype(np.uint64) << 32
            | np.arange(len(near), dtype=np.uint64)
        )
        order = (np.sort(key) & 0xFFFFFFFF).astype(np.int64)
        corner, entry = corner[order], entry[order]
        rank = np.arange(len(corner)) - np.searchsorted(corner, np.arange(len(described)))[corner]
        near = np.flatnonzero(rank < RANKS)
        return corner[near], entry[near], rank[near]

    def _nearest(self, described: Bytes, side: int, probes: int = 1) -> list[NDArray[np.int64]]:
        """The nearest word of each, the next one and so on."""
        likeness = self._likeness(described, side)
        found = [likeness.argmax(axis=1)]
        while len(found) < min(probes, self._count):
            likeness[np.arange(len(likeness)), found[-1]] = -np.inf
            found.append(likeness.argmax(axis=1))
        return found

    def _likeness(self, described: Bytes, side: int) -> Floats:
        words = self._words[side]
        half = described[:, HALVES[side]].astype(np.float32)
        return np.asarray(half @ words.T - np.square(words).sum(axis=1) / 2, np.float32)

    def _signed(self, described: Bytes) -> NDArray[np.uint64]:
        """(2, n): on which side of BITS planes through the middle they lie."""
        sides = (described.astype(np.float32) - self._middle) @ self._ways > 0
        return np.ascontiguousarray(np.packbits(sides, axis=1).view(np.uint64).T)


def _words(sample: Floats, count: int, rng: np.random.Generator) -> Floats:
    """(count, 32): middles of groups (k-means)."""
    if not len(sample):
        return np.zeros((1, sample.shape[1]), np.float32)
    words = sample[rng.permutation(len(sample))[:count]].copy()
    for _ in range(ROUNDS):
        nearest = (sample @ words.T - np.square(words).sum(axis=1) / 2).argmax(axis=1)
        sums = np.zeros_like(words)
        np.add.at(sums, nearest, sample)
        members = np.bincount(nearest, minlength=len(words))[:, None]
        words = np.where(members > 0, sums / np.maximum(members, 1), words)
    return words
