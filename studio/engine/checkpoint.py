"""A network read out of a one-file checkpoint: the same weights, bit for bit, as from a diffusers folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from safetensors import safe_open
from torch import Tensor

from studio.models.checkpoint import FILE, read_checkpoint
from studio.models.layout import Part, Source
from studio.safetensors_header import read_header


def part_of(folder: Path) -> Part | None:
    """`folder`: of one network, such as NAME/unet. None when its weights are not in a checkpoint.

    Weights of its own inside the folder go before the checkpoint's: so a VAE can be replaced.
    """
    file = folder.parent / FILE
    if not file.is_file() or any(folder.glob("*.safetensors")):
        return None
    return read_checkpoint(file, folder.parent.name).parts.get(folder.name)


def elements(folder: Path, part: Part) -> int:
    """Numbers in all weights of a network."""
    tensors = read_header(folder.parent / FILE).tensors
    return sum(
        math.prod(tensors[source.key][1]) // (1 if source.third is None else 3)
        for source in part.sources.values()
    )


def read_network(folder: Path, part: Part, kind: Any, dtype: torch.dtype) -> Any:
    """`kind`: diffusers' or transformers' class. The config is the folder's, so that it can be changed there.

    Raises RuntimeError when names or shapes are not those of the class.
    """
    network = empty_network(folder, kind)
    inner = "text_model." if hasattr(network, "text_model") else ""
    with safe_open(folder.parent / FILE, framework="pt", device="cpu") as file:
        state = {
            name if name.startswith("text_projection") else f"{inner}{name}": _turned(
                file.get_tensor(source.key), source
            ).to(dtype)
            for name, source in part.sources.items()
        }
    network.load_state_dict(state, strict=True, assign=True)
    return network


def empty_network(folder: Path, kind: Any) -> Any:
    """As the folder's config says, its weights still to come."""
    with init_empty_weights(include_buffers=False):
        if getattr(kind, "config_class", None) is not None:
            return kind(kind.config_class.from_pretrained(folder, local_files_only=True))
        return kind.from_config(kind.load_config(folder, local_files_only=True))


def _turned(tensor: Tensor, source: Source) -> Tensor:
    if source.third is not None:
        return tensor.chunk(3)[source.third].clone()  # else it would keep the other two thirds alive
    if source.flat:
        return tensor[:, :, 0, 0]
    return tensor.t().contiguous() if source.transposed else tensor
