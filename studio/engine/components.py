"""Weights in memory by content: a second model with the same VAE or text encoder gets the same tensors.

Tensors are shared and modules are not: each model has its own LoRA banks and layers around them. Nothing here
keeps a tensor alive; when the last model that uses it leaves, it goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import ReferenceType, ref

import torch
from torch import nn

from studio.models.hashes import Hashes


@dataclass(frozen=True)
class _Held:
    """`stamp`: of the files as they were when they were read; another one, and their hash says nothing."""

    folder: Path
    stamp: str
    tensors: Mapping[str, ReferenceType[nn.Parameter]]

    def alive(self) -> dict[str, nn.Parameter] | None:
        found = {name: tensor() for name, tensor in self.tensors.items()}
        whole = {name: tensor for name, tensor in found.items() if tensor is not None}
        return whole if len(whole) == len(found) else None


class Components:
    """Files are hashed only when a network of the same names and shapes is there already."""

    def __init__(self, hashes: Hashes) -> None:
        self._hashes = hashes
        self._held: dict[tuple[str, torch.dtype, str], list[_Held]] = {}

    def find(self, folder: Path, dtype: torch.dtype, device: torch.device) -> dict[str, nn.Parameter] | None:
        """The weights of the network in `folder`, if they are in memory in this dtype on this device."""
        for held in self._held.get(self._key(folder, dtype, device), ()):
            tensors = held.alive()
            if tensors is None or self._hashes.stamp(held.folder) != held.stamp:
                continue
            if held.folder == folder or self._hashes.network(held.folder) == self._hashes.network(folder):
                return tensors
        return None

    def keep(self, folder: Path, dtype: torch.dtype, network: Any) -> None:
        """`network` has just been read from `folder` and is in its place."""
        tensors = {name: ref(tensor) for name, tensor in network.named_parameters()}
        device = next(network.parameters()).device
        key = self._key(folder, dtype, device)
        kept = [held for held in self._held.get(key, ()) if held.alive() is not None]
        self._held[key] = [*kept, _Held(folder, self._hashes.stamp(folder), tensors)]

    def _key(self, folder: Path, dtype: torch.dtype, device: torch.device) -> tuple[str, torch.dtype, str]:
        return self._hashes.shapes(folder), dtype, str(device)


def fill(network: nn.Module, tensors: Mapping[str, nn.Parameter]) -> None:
    """Gives an empty network weights that another one has already."""
    network.load_state_dict(dict(tensors), strict=True, assign=True)
