"""About how much memory a model wants, from its configs alone: for choosing one, before anything is loaded.

Weights in the working number format, plus the larger of two peaks: a guided UNet call (two rows), or the VAE
drawing the picture. The two factors are estimates, not yet fitted: SD 1.5
at 128 px peaked at 5.27 GiB, above what this says for 512 px. bench/true_size.py takes the figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from studio.catalog import FAMILIES, Family
from studio.models.checkpoint import FILE, read_checkpoint
from studio.models.folders import NETWORKS, ModelRow, read_config, weight_files
from studio.safetensors_header import read_header

SIZES = (512, 768, 1024)  # px
WIDTHS: Mapping[str, int] = {"float32": 4, "float16": 2, "bfloat16": 2}  # bytes of a number
UNET_LAYERS = 24  # feature maps of the outermost stage that are alive at once
POCKET = FAMILIES["pocket"].context
VAE_LAYERS = 3  # the same of the VAE's last stage but one, at full size


def needs(row: ModelRow, dtype: str) -> dict[int, int]:
    """Side of a square picture in px -> bytes, for SIZES and the model's own size. `dtype`: the worker's."""
    width = WIDTHS.get(dtype, 4)
    unet = read_config(row.folder / "unet" / "config.json").get("block_out_channels", [320])
    vae = read_config(row.folder / "vae" / "config.json").get("block_out_channels", [128, 256, 512, 512])
    factor = 2 ** (len(vae) - 1)
    held = weights(row.folder) * width

    def peak(side: int) -> int:
        call = 2 * (side // factor) ** 2 * unet[0] * UNET_LAYERS
        drawing = side**2 * vae[min(1, len(vae) - 1)] * VAE_LAYERS
        return int(held + max(call, drawing) * width)

    return {side: peak(side) for side in sorted({*SIZES, row.size})}


def family_needs(family: Family, dtype: str) -> int:
    """The same of a family's usual model at its own size."""
    width = WIDTHS.get(dtype, 4)
    unet, vae, factor = (64, 64, 4) if family.context == POCKET else (320, 256, 8)
    call = 2 * (family.size // factor) ** 2 * unet * UNET_LAYERS
    return int(family.gib * 2**30 / 2 * width) + max(call, family.size**2 * vae * VAE_LAYERS) * width


def weights(folder: Path) -> int:
    """Numbers in all weights that are read."""
    apart = [file for part in NETWORKS for file in weight_files(folder / part)]
    found = sum(int(math.prod(shape)) for file in apart for _, shape in read_header(file).tensors.values())
    if not (folder / FILE).is_file():
        return found
    tensors = read_header(folder / FILE).tensors
    parts = read_checkpoint(folder / FILE, folder.name).parts.items()
    keys = {
        source.key
        for name, part in parts
        if not weight_files(folder / name)
        for source in part.sources.values()
    }
    return found + sum(int(math.prod(tensors[key][1])) for key in keys)
