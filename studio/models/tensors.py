"""The numbers of a weights file, looked at before anything computes with them. No torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from studio.errors import BadRequest
from studio.safetensors_header import Header

PIECE = 16 * 2**20  # bytes read at once
# Exponent bits: where all are set the number is infinite or none at all.
EXPONENTS = {"F16": (np.uint16, 0x7C00), "BF16": (np.uint16, 0x7F80), "F32": (np.uint32, 0x7F800000),
             "F64": (np.uint64, 0x7FF0000000000000)}  # fmt: skip


def check_tensors(path: Path, header: Header) -> None:
    """Raises BadRequest (`non_finite`) for weights with NaN or infinite numbers among them."""
    with path.open("rb") as file:
        for name, (begin, end) in header.spans.items():
            kind = header.tensors[name][0]
            if kind not in EXPONENTS:
                continue
            file.seek(begin)
            for at in range(begin, end, PIECE):
                if not finite(file.read(min(PIECE, end - at)), kind):
                    raise BadRequest(
                        f"Tensor {name[:120]!r} holds NaN or infinite numbers: its training went wrong.",
                        hint="Use an earlier checkpoint of that training.",
                        code="non_finite",
                    )


def finite(piece: bytes, kind: str) -> bool:
    unsigned, mask = EXPONENTS[kind]
    bits = np.frombuffer(piece, unsigned)
    return not bool(((bits & unsigned(mask)) == unsigned(mask)).any())
