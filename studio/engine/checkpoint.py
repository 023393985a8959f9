"""A network read out of a one-file checkpoint: the same weights, bit for bit, as from a diffusers folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights

from studio.engine.reading import places_of, read_weights
from studio.models.checkpoint import FILE, read_checkpoint
from studio.models.layout import Part
from studio.safetensors_header import read_header

CPU = torch.device("cpu")


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


def read_network(
    folder: Path, part: Part, kind: Any, dtype: torch.dtype, device: torch.device = CPU, images: bool = False,
    eight: bool = False,
) -> Any:  # fmt: skip
    """`kind`: diffusers' or transformers' class. The config is the folder's, so that it can be changed there.

    `images`, `eight`: see read_weights. Raises RuntimeError when names or shapes are not those of the class.
    """
    network = empty_network(folder, kind)
    names = set(network.state_dict())
    read_weights(network, places_of(folder.parent / FILE, part, names), dtype, device, images, eight)
    return network


def empty_network(folder: Path, kind: Any) -> Any:
    """As the folder's config says, its weights still to come."""
    with init_empty_weights(include_buffers=False):
        if getattr(kind, "config_class", None) is not None:
            return kind(kind.config_class.from_pretrained(folder, local_files_only=True))
        return kind.from_config(kind.load_config(folder, local_files_only=True))
