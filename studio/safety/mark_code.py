"""The mark's message: 32 bits and a check, spread by a convolutional code that corrects bit errors.

The code is the (133, 171) code of constraint length 7 and rate 1/2 (CCSDS 131.0-B, section 3), read with a
soft-decision Viterbi decoder (Viterbi 1967, IEEE Trans. Inf. Theory 13).
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

ID_BITS, CHECK_BITS, TAIL_BITS = 32, 24, 6
CODED_BITS = 2 * (ID_BITS + CHECK_BITS + TAIL_BITS)
GENERATORS = (0o133, 0o171)
STATES = 64

Floats = NDArray[np.float64]


def encode_id(id: int) -> Floats:
    """`id` in 0..2**32-1 -> (124,) coded bits as -1 and 1."""
    word = id << CHECK_BITS | check_of(id)
    length = ID_BITS + CHECK_BITS
    bits = [word >> (length - 1 - place) & 1 for place in range(length)] + [0] * TAIL_BITS
    state, coded = 0, []
    for bit in bits:
        state = (state << 1 | bit) & 0x7F
        coded += [_sign(state & generator) for generator in GENERATORS]
    return np.array(coded)


def check_of(id: int) -> int:
    """24 bits: noise passes one time in 16.8 million, and reading a picture tries some hundred times."""
    return int.from_bytes(hashlib.sha256(id.to_bytes(4, "big")).digest()[:3], "big")


def _sign(register: int) -> float:
    return 1.0 if register.bit_count() & 1 else -1.0


class Decoder:
    """The trellis, made once: for each next state its two predecessors and what was sent on the way."""

    def __init__(self) -> None:
        states = np.arange(STATES)
        self._before = np.stack([states >> 1, states >> 1 | 32], axis=1)
        registers = (self._before << 1 | (states & 1)[:, None]) & 0x7F
        self._sent = np.array([[[_sign(int(r) & g) for g in GENERATORS] for r in pair] for pair in registers])

    def decode(self, soft: Floats) -> list[int | None]:
        """(n, 124) soft bits, any scale -> for each row its id, or None when the check fails."""
        count, steps = len(soft), CODED_BITS // 2
        score = np.full((count, STATES), -np.inf)
        score[:, 0] = 0.0
        choices = np.zeros((steps, count, STATES), np.int8)
        for step in range(steps):
            gain = np.einsum("skj,nj->nsk", self._sent, soft[:, 2 * step : 2 * step + 2])
            candidates = score[:, self._before] + gain
            choices[step] = candidates.argmax(axis=2)
            score = candidates.max(axis=2)
        return [_checked(bits) for bits in self._trace(choices)]

    def _trace(self, choices: NDArray[np.int8]) -> NDArray[np.int64]:
        steps, count, _ = choices.shape
        state = np.zeros(count, np.int64)
        bits = np.zeros((count, steps), np.int64)
        for step in reversed(range(steps)):
            bits[:, step] = state & 1
            state = self._before[state, choices[step, np.arange(count), state]]
        return bits


def _checked(bits: NDArray[np.int64]) -> int | None:
    word = int("".join(map(str, bits[: ID_BITS + CHECK_BITS])), 2)
    id, check = divmod(word, 1 << CHECK_BITS)
    return id if check == check_of(id) else None
