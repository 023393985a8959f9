"""Model folders and LoRA files that are right in every header and hold next to nothing: no torch needed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SIZES = {"F16": 2, "F32": 4}


def write_safetensors(
    file: Path,
    shapes: Mapping[str, tuple[int, ...]],
    notes: Mapping[str, str] | None = None,
    dtype: str = "F16",
) -> Path:
    """Zeros of these shapes, laid out as the safetensors library does."""
    header: dict[str, Any] = {"__metadata__": dict(notes)} if notes else {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + math.prod(shape) * SIZES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(end))
    return file


def write_json(file: Path, data: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data), encoding="utf-8")
    return file


def make_model(
    folder: Path,
    *,
    context: int = 160,
    sample_size: int = 32,
    blocks: int = 3,
    controls: bool = True,
    **unet: Any,
) -> Path:
    """A diffusers folder of the Stable Diffusion kind. By default shaped as the pocket model: 128 px."""
    write_json(folder / "model_index.json", {"_class_name": "StableDiffusionPipeline"})
    config = {"cross_attention_dim": context, "sample_size": sample_size, "in_channels": 4, **unet}
    write_json(folder / "unet" / "config.json", config)
    write_json(folder / "vae" / "config.json", {"block_out_channels": [8] * blocks})
    write_json(folder / "text_encoder" / "config.json", {"hidden_size": context})
    write_json(
        folder / "scheduler" / "scheduler_config.json",
        {"_class_name": "PNDMScheduler", "prediction_type": "epsilon", "skip_prk_steps": True},
    )
    letters = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    write_json(folder / "tokenizer" / "vocab.json", {word: number for number, word in enumerate(words)})
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    parts = ["unet", "vae", "text_encoder"] + ["controlnet-canny"] * controls
    for part in parts:
        write_safetensors(folder / part / "diffusion_pytorch_model.safetensors", {"weight": (4, 4)})
    return folder


def make_lora(
    file: Path, *, context: int = 160, rank: int = 4, notes: Mapping[str, str] | None = None
) -> Path:
    name = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    shapes = {f"{name}.lora_A.weight": (rank, context), f"{name}.lora_B.weight": (8, rank)}
    return write_safetensors(file, shapes, notes)
