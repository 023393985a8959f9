"""A picture made again from its row: is it the same, and if not, what has changed since."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

Verdict = Literal["identical", "visually_same", "different"]
SAME = 40.0  # dB: above it no eye tells two 8-bit pictures apart


@dataclass(frozen=True)
class Replay:
    """`psnr`: dB between the kept and the new picture, None when equal. `why`: what differs from its receipt.

    `data`: the new picture as PNG.
    """

    id: str
    verdict: Verdict
    psnr: float | None
    why: tuple[str, ...]
    data: bytes


def compare(id: str, kept: bytes, made: bytes, lossy: bool, why: tuple[str, ...]) -> Replay:
    """`lossy`: the kept file is a JPEG or WebP, which alone makes the pixels differ a little."""
    old, new = _pixels(kept), _pixels(made)
    if old.shape != new.shape:
        sizes = f"the size is {new.shape[1]} x {new.shape[0]} px now, it was {old.shape[1]} x {old.shape[0]}"
        return Replay(id, "different", 0.0, (sizes, *why), made)
    error = float(np.mean((old.astype(np.float64) - new) ** 2))
    if error == 0:
        return Replay(id, "identical", None, why, made)
    psnr = round(10 * float(np.log10(255**2 / error)), 1)
    reasons = (*why, "its file is compressed with loss") if lossy else why
    if not reasons:
        reasons = ("the receipt is the same: perhaps another batch shape, or an operation that is not exact",)
    return Replay(id, "visually_same" if psnr >= SAME else "different", psnr, reasons, made)


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """Two receipts, as sentences; what the older one does not know is left out."""
    if not then:
        return ("it was made before receipts were kept",)
    found = []
    for name in ("device", "dtype", "backend", "batch", "noise"):
        if then.get(name) and list_or(then[name]) != list_or(now.get(name)):
            found.append(f"{name} was {list_or(then[name])}, is {list_or(now.get(name))}")
    for name, digest in then.get("weights", {}).items():
        if now.get("weights", {}).get(name) != digest:
            found.append(f"{name} has other weights now")
    for name, version in then.get("versions", {}).items():
        if now.get("versions", {}).get(name) != version:
            found.append(f"{name} was {version}, is {now.get('versions', {}).get(name) or 'gone'}")
    return tuple(found)


def list_or(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _pixels(data: bytes) -> Any:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))
