"""Weights from safetensors to their place, one at a time: never a second copy of a network in memory.

Reading by mapping (as the libraries do) keeps the file's pages beside the weights made from them for as long
as one weight of the file lives: a float16 SD 1.5 in float32 peaked at 5.3 GiB where 4.0 GiB stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from studio.engine import int8
from studio.models.layout import Part, Source
from studio.safetensors_header import Header, read_header

TYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
}  # fmt: skip
INNER = "text_model."  # of a text encoder's weights: some files and some versions of its class lack it


@dataclass(frozen=True)
class Place:
    """Where a network's weight lies."""

    file: Path
    header: Header
    source: Source


def places_in(files: list[Path], names: set[str]) -> dict[str, Place] | None:
    """For the weights `names` of a network. None where the files name them otherwise, or hold other types."""
    found: dict[str, Place] = {}
    for file in files:
        header = read_header(file)
        found |= {key: Place(file, header, Source(key)) for key in header.tensors}
    for turned in (found, _renamed(found, names)):
        chosen = {name: place for name, place in turned.items() if name in names}
        known = all(place.header.tensors[place.source.key][0] in TYPES for place in chosen.values())
        if set(chosen) == names and known:
            return chosen
    return None


def places_of(file: Path, part: Part, names: set[str]) -> dict[str, Place]:
    """Of a network inside a one-file checkpoint."""
    header = read_header(file)
    return _renamed({name: Place(file, header, source) for name, source in part.sources.items()}, names)


def read_weights(
    network: Any, places: Mapping[str, Place], dtype: torch.dtype, device: torch.device, images: bool,
    eight: bool = False,
) -> None:  # fmt: skip
    """Gives an empty network its weights. `images`: convolutions are laid out channels-last.

    `eight`: rounded to 8 bits where that costs little, see int8.

    Raises RuntimeError when names or shapes are not those of the network, OSError, ValueError.
    """
    state: dict[str, Tensor] = {}
    opened: dict[Path, BinaryIO] = {}
    scales: dict[str, Tensor] = {}
    wide = int8.layers(network) if eight else frozenset()
    try:
        for name, place in places.items():
            if place.file not in opened:
                opened[place.file] = place.file.open("rb")
            layout = torch.preserve_format
            tensor = _turned(_tensor(opened[place.file], place), place.source)
            if images and tensor.ndim == 4:
                layout = torch.channels_last
            small = int8.rounded(tensor) if name in wide else None
            if small is not None:
                state[name], scales[name] = (part.to(device) for part in small)
                state[name] = state[name].contiguous(memory_format=layout) if images else state[name]
            else:
                state[name] = tensor.to(device, dtype, memory_format=layout)
    finally:
        for file in opened.values():
            file.close()
    network.requires_grad_(False)  # whole numbers have no gradient
    network.load_state_dict(state, strict=True, assign=True)
    for name, scale in scales.items():
        int8.turn(network, name, scale)


def _tensor(file: BinaryIO, place: Place) -> Tensor:
    kind, shape = place.header.tensors[place.source.key]
    begin, end = place.header.spans[place.source.key]
    raw = torch.empty(end - begin, dtype=torch.uint8)
    file.seek(begin)
    if file.readinto(raw.numpy()) != end - begin:  # type: ignore[attr-defined]
        raise ValueError(f"{place.source.key} is cut short")
    return raw.view(TYPES[kind]).view(shape)


def _turned(tensor: Tensor, source: Source) -> Tensor:
    if source.third is not None:
        return tensor.chunk(3)[source.third].clone()  # else it would keep the other two thirds alive
    if source.flat:
        return tensor[:, :, 0, 0]
    return tensor.t().contiguous() if source.transposed else tensor


def _renamed(found: Mapping[str, Place], names: set[str]) -> dict[str, Place]:
    """With or without the inner name of a text encoder, as the network has it."""
    inner = any(name.startswith(INNER) for name in names)
    plain = {name.removeprefix(INNER): place for name, place in found.items()}
    return {
        f"{INNER}{name}" if inner and f"{INNER}{name}" in names else name: place
        for name, place in plain.items()
    }
