"""Aspect buckets: the few sizes that pictures are cropped and scaled to, so that they make batches."""

from __future__ import annotations

import math

Size = tuple[int, int]  # (width, height) in px
WIDEST = 2.0  # longest side over shortest


def buckets(size: int, unit: int) -> tuple[Size, ...]:
    """Sizes of at most `size` * `size` px whose sides are multiples of `unit`, from tall to wide.

    `size`: the model's native side. For each width the tallest size that fits; none is more oblong than 2:1.
    """
    found = set()
    most = size * size
    for width in range(unit, int(size * math.sqrt(WIDEST)) + 1, unit):
        height = most // width // unit * unit
        if height and max(width / height, height / width) <= WIDEST:
            found |= {(width, height), (height, width)}
    square = size // unit * unit
    found.add((square, square))
    return tuple(sorted(found, key=lambda one: (one[0] / one[1], one)))


def nearest(width: int, height: int, known: tuple[Size, ...]) -> Size:
    """The bucket that a picture loses least in: nearest aspect, then the largest."""
    aspect = math.log(width / height)
    return min(known, key=lambda one: (round(abs(math.log(one[0] / one[1]) - aspect), 6), -one[0] * one[1]))


def crop(width: int, height: int, bucket: Size) -> tuple[int, int, int, int]:
    """The middle part of a picture that has the bucket's aspect: (left, top, right, bottom) in px."""
    scale = min(width / bucket[0], height / bucket[1])
    kept_width, kept_height = (
        min(width, round(bucket[0] * scale)),
        min(height, round(bucket[1] * scale)),
    )
    left, top = (width - kept_width) // 2, (height - kept_height) // 2
    return left, top, left + kept_width, top + kept_height
