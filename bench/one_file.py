"""Writes a diffusers folder as one .safetensors checkpoint, in the names that every other tool writes.

For proofs only: the studio reads such files and never makes them. Source of the names:
CompVis/latent-diffusion and Stability-AI/generative-models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

UNET = {
    "conv_in.": "input_blocks.0.0.", "conv_norm_out.": "out.0.", "conv_out.": "out.2.",
    "time_embedding.linear_1.": "time_embed.0.", "time_embedding.linear_2.": "time_embed.2.",
    "time_embedding.cond_proj.": "time_embed.cond_proj.",
    "add_embedding.linear_1.": "label_emb.0.0.", "add_embedding.linear_2.": "label_emb.0.2.",
    "mid_block.resnets.0.": "middle_block.0.", "mid_block.attentions.0.": "middle_block.1.",
    "mid_block.resnets.1.": "middle_block.2.",
}  # fmt: skip
RESNET = {
    "norm1.": "in_layers.0.", "conv1.": "in_layers.2.", "time_emb_proj.": "emb_layers.1.",
    "norm2.": "out_layers.0.", "conv2.": "out_layers.3.", "conv_shortcut.": "skip_connection.",
}  # fmt: skip
ATTENTION = {"to_q.": "q.", "to_k.": "k.", "to_v.": "v.", "to_out.0.": "proj_out.", "group_norm.": "norm."}
OPEN_CLIP = {
    "self_attn.out_proj.": "attn.out_proj.", "layer_norm1.": "ln_1.", "layer_norm2.": "ln_2.",
    "mlp.fc1.": "mlp.c_fc.", "mlp.fc2.": "mlp.c_proj.",
}  # fmt: skip


def write_one_file(folder: Path, file: Path, notes: dict[str, str] | None = None) -> Path:
    """`folder`: SD 1, SD 2, SDXL type or its refiner; which one is told by its text encoders."""
    xl = (folder / "text_encoder_2").is_dir()
    refiner = not (folder / "text_encoder").is_dir()
    old = not refiner and _config(folder / "text_encoder")["hidden_act"] == "quick_gelu"
    tensors = {f"model.diffusion_model.{name}": tensor for name, tensor in _unet(folder / "unet")}
    tensors |= _vae(folder / "vae")
    first = "conditioner.embedders.0.transformer." if xl else "cond_stage_model.transformer."
    if refiner:
        tensors |= _open_clip(folder / "text_encoder_2", "conditioner.embedders.0.model.")
    elif old:
        inner = f"{first}text_model."
        tensors |= {inner + name: tensor for name, tensor in _text(folder / "text_encoder")}
    else:
        tensors |= _open_clip(folder / "text_encoder", "cond_stage_model.model.")
    if xl and not refiner:
        tensors |= _open_clip(folder / "text_encoder_2", "conditioner.embedders.1.model.")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file, notes)
    return file


def write_control(folder: Path, file: Path, mark: str = "control_model.") -> Path:
    """`folder`: a ControlNet's. `mark`: what its keys begin with; some tools leave it out."""
    hints = 2 * len(_config(folder)["conditioning_embedding_out_channels"]) - 2
    places = {"conv_in": 0, "conv_out": 2 * hints + 2} | {
        f"blocks.{one}": 2 * one + 2 for one in range(hints)
    }
    tensors: dict[str, Tensor] = {}
    for name, tensor in _unet(folder):
        moved = re.sub(r"controlnet_down_blocks\.(\d+)\.", r"zero_convs.\1.0.", name)
        moved = moved.replace("controlnet_mid_block.", "middle_block_out.0.")
        if match := re.fullmatch(r"controlnet_cond_embedding\.(.+)\.(\w+)", moved):
            moved = f"input_hint_block.{places[match[1]]}.{match[2]}"
        tensors[mark + moved] = tensor.contiguous()
    save_file(tensors, file)
    return file


def _unet(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Without the beginning of its keys. What only a ControlNet has keeps its name."""
    config = _config(folder)
    layers = config["layers_per_block"] + 1  # each stage takes one place more, for its change of size
    with_attention = [kind.startswith("CrossAttn") for kind in config.get("up_block_types", ())]
    for name, tensor in _weights(folder):
        match = re.match(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*)", name)
        if match is None:
            start = next((start for start in UNET if name.startswith(start)), "")
            moved = UNET.get(start, "") + name.removeprefix(start)
        else:
            half, stage, kind, place, leaf = match[1], int(match[2]), match[3], int(match[4]), match[5]
            if kind == "downsamplers":
                moved = f"input_blocks.{layers * (stage + 1)}.0.op.{leaf.removeprefix('conv.')}"
            elif kind == "upsamplers":
                slot = 2 if with_attention[stage] else 1
                moved = f"output_blocks.{layers * (stage + 1) - 1}.{slot}.{leaf}"
            else:
                number = stage * layers + place + (half == "down")
                block = "input_blocks" if half == "down" else "output_blocks"
                moved = f"{block}.{number}.{int(kind == 'attentions')}.{leaf}"
        inside = "resnets" in name
        yield _swapped(moved, RESNET) if inside else moved, tensor


def _vae(folder: Path) -> Iterator[tuple[str, Tensor]]:
    last = len(_config(folder)["block_out_channels"]) - 1
    for name, tensor in _weights(folder):
        moved = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", name)
        moved = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", moved)
        moved = re.sub(r"up_blocks\.(\d+)\.resnets", lambda found: f"up.{last - int(found[1])}.block", moved)
        moved = re.sub(
            r"up_blocks\.(\d+)\.upsamplers\.0", lambda found: f"up.{last - int(found[1])}.upsample", moved
        )
        moved = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", moved)
        if "attentions" in moved:
            moved = _swapped(moved.replace("mid_block.attentions.0", "mid.attn_1"), ATTENTION)
            tensor = tensor[:, :, None, None] if tensor.ndim == 2 else tensor
        moved = moved.replace("conv_norm_out.", "norm_out.").replace("conv_shortcut.", "nin_shortcut.")
        yield f"first_stage_model.{moved}", tensor


def _open_clip(folder: Path, prefix: str) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    weights = dict(_text(folder))
    for name, tensor in weights.items():
        moved = name.replace("encoder.layers.", "transformer.resblocks.")
        if match := re.match(r"(.*)\.self_attn\.q_proj\.(weight|bias)", moved):
            kinds = [weights[name.replace("q_proj", f"{kind}_proj")] for kind in "qkv"]
            found[f"{prefix}{match[1]}.attn.in_proj_{match[2]}"] = torch.cat(kinds)
        elif name == "text_projection.weight":
            found[f"{prefix}text_projection"] = tensor.t()
        elif not re.search(r"self_attn\.[kv]_proj", name):
            moved = moved.replace("embeddings.token_embedding.", "token_embedding.")
            moved = moved.replace("embeddings.position_embedding.weight", "positional_embedding")
            found[prefix + _swapped(moved.replace("final_layer_norm.", "ln_final."), OPEN_CLIP)] = tensor
    return found


def _text(folder: Path) -> Iterator[tuple[str, Tensor]]:
    return ((name.removeprefix("text_model."), tensor) for name, tensor in _weights(folder))


def _weights(folder: Path) -> Iterator[tuple[str, Tensor]]:
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  not a dict
                yield name, file.get_tensor(name)


def _swapped(name: str, leaves: dict[str, str]) -> str:
    """`name` with the first of `leaves` that it holds put in the other spelling."""
    for ours, theirs in leaves.items():
        if f".{ours}" in name:
            return name.replace(f".{ours}", f".{theirs}")
    return name


def _config(folder: Path) -> dict[str, object]:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))
