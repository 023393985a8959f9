"""What every backend offers of a model: its UNet, its ControlNets and its decoder, called alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Residuals:
    """What a ControlNet adds to the UNet: `down` one a skip connection, `middle` (rows, C, h, w)."""

    down: tuple[Tensor, ...]
    middle: Tensor


@dataclass(frozen=True, eq=False)
class Call:
    """One UNet call, in the bundle's dtype.

    `rows`: (n, C, h, w). `moments`: (n) float32, the schedulers' times. `text`: (n, tokens, dim).
    `told`: (n, width) guidance as a distilled UNet reads it. `added`: SDXL's pooled text (n, dim) and sizes
    (n, 6; its refiner 5). `loras`: row -> {adapter: weight}.
    """

    rows: Tensor
    moments: Tensor
    text: Tensor
    told: Tensor | None
    added: Mapping[str, Tensor] | None
    loras: tuple[Mapping[str, float], ...]
    residuals: Residuals | None = None


class Networks(Protocol):
    """The networks of one model, ready to be called from the engine's thread; `decode` from another one.

    `name`: a key of catalog.BACKENDS. The same calls give the same bytes for as long as it lives.
    """

    @property
    def name(self) -> str: ...

    def predict(self, call: Call) -> Tensor:
        """The UNet's output, (n, C, h, w) float32."""
        ...

    def steer(self, kind: str, call: Call, picture: Tensor, scale: Tensor) -> Residuals:
        """`picture`: (n, C, h, w) as the ControlNet's first layers read it. `scale`: (n, 1, 1, 1), 0 = off.

        `call.rows` as they are before the channels of a mask are added.
        """
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """(1, C, h, w) as the VAE wants them -> (1, 3, H, W) float32 in -1..1; it may be not finite."""
        ...


def numbered(dtype: torch.dtype) -> str:
    """'float32' of torch.float32."""
    return str(dtype).removeprefix("torch.")
