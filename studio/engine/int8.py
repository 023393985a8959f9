"""Weights in 8 bits, one scale an output channel: `y = (x W8) * scale + b`, computed in the type of `x`.

Whole numbers up to 127 are exact in bfloat16, so all that is lost is lost in rounding the weights. Half the
memory of bfloat16; not faster: a layer's weights are widened each time they are used.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Relative L2 of a layer's weights but the largest of each channel. Rounding costs an even layer 0.7 to 1.2 %;
# where one large weight stretches its channel's scale it costs the others more: the layer keeps its type.
LIMIT = 0.02
LARGEST = 127


class Int8Linear(nn.Linear):
    scale: Tensor

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = F.linear(x, self.weight.to(x.dtype)) * self.scale.to(x.dtype)
        return y if self.bias is None else y + self.bias


class Int8Conv2d(nn.Conv2d):
    scale: Tensor

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = (
            self._conv_forward(x, self.weight.to(x.dtype), None) * self.scale.to(x.dtype)[:, None, None]
        )
        return y if self.bias is None else y + self.bias[:, None, None]


KINDS: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: Int8Linear, nn.Conv2d: Int8Conv2d}


def rounded(weight: Tensor) -> tuple[Tensor, Tensor] | None:
    """(int8 of the same shape, float32 scale (out,)); None where the error would be above LIMIT."""
    exact = weight.float()
    flat = exact.flatten(1)
    largest = flat.abs().amax(dim=1)
    scale = largest.clamp_min(1e-12) / LARGEST
    small = (flat / scale[:, None]).round_()
    lost = (small * scale[:, None] - flat).norm()
    others = (flat.square().sum(dim=1) - largest.square()).clamp_min(0).sum().sqrt()
    if not lost <= LIMIT * others:  # also where it is no number
        return None
    return small.to(torch.int8).view(weight.shape), scale


def layers(network: nn.Module) -> frozenset[str]:
    """Names of the weights that may be rounded: of linear layers and convolutions but the first and last.

    Those two hold few weights, and every error of theirs is in the picture.
    """
    found = {f"{path}.weight" for path, module in network.named_modules() if type(module) in KINDS}
    return frozenset(found - {"conv_in.weight", "conv_out.weight"})


def turn(network: nn.Module, name: str, scale: Tensor) -> None:
    """The layer of the weight `name`, which is int8 by now, computes with it from here on."""
    module = network.get_submodule(name.removesuffix(".weight"))
    module.__class__ = KINDS[type(module)]
    module.register_buffer("scale", scale, persistent=False)
