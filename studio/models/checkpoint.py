"""A whole model in one .safetensors file, judged from its header: what it is, whether it is whole."""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.catalog import DISTILLED
from studio.models.layout import MARK, Part, Shapes, read_unet, unknown
from studio.models.layout_parts import read_clip, read_open_clip, read_vae
from studio.models.vocabulary import END, WORDS, write_tokenizer
from studio.safetensors_header import Header, read_header

FILE = "checkpoint.safetensors"  # its name inside a model's folder
NOTES = "studio.json"  # beside it: where the model came from
CLIP, OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."
XL_CLIP, XL_OPEN_CLIP = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
REFINER = "conditioner.embedders.0.model."
OTHERS = {  # a key's beginning -> what such a file is
    f"{MARK}double_blocks.": "Flux",
    f"{MARK}joint_blocks.": "Stable Diffusion 3",
    "double_blocks.": "Flux",
    "joint_blocks.": "Stable Diffusion 3",
    "down_blocks.": "a single network in the diffusers layout; give the whole folder",
    "control_model.": "a ControlNet in one file",
}
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
# SD 2's v-prediction models have a wider spread in this bias than its epsilon ones; 0.09 lies between (the
# same sign ComfyUI goes by, supported_models.SD20).
V_BIAS = 0.09
BIAS = f"{MARK}output_blocks.11.1.transformer_blocks.0.norm1.bias"


@dataclass(frozen=True)
class Checkpoint:
    """`parts`: folder name -> network. `kind`: key of DISTILLED or ''. `side`: px it was trained at."""

    family: str
    parts: Mapping[str, Part]
    scheduler: Mapping[str, Any]
    kind: str
    side: int


def read_checkpoint(file: Path, name: str = "") -> Checkpoint:
    """`name`: what its maker called it, from which distilled models are told.

    Raises UnsafeFormat and BadRequest (`bad_header`, `file_incomplete`, `model_incomplete`, `model_unknown`).
    """
    header = read_header(file)
    shapes = {key: shape for key, (_, shape) in header.tensors.items()}
    family, refines = _family(shapes)
    kind = distilled_kind(name, f"{MARK}time_embed.cond_proj.weight" in shapes, header.metadata)
    velocity = is_velocity(file, header, family)
    side = DISTILLED[kind].size if kind else 0
    side = side or {"sd15": 512, "sd21": 768 if velocity else 512, "sdxl": 1024}[family]
    unet = read_unet(shapes, heads=8 if family == "sd15" else None)
    parts = {
        "unet": unet,
        "vae": read_vae(shapes, 0.13025 if family == "sdxl" else 0.18215, side),
        **_text(shapes, family, refines),
    }
    _check_widths(parts)
    unet.config["sample_size"] = side // 2 ** (len(parts["vae"].config["block_out_channels"]) - 1)
    return Checkpoint(family, parts, _scheduler(family, kind, velocity, "ztsnr" in shapes), kind, side)


def write_folder(found: Checkpoint, folder: Path) -> None:
    """All of a diffusers folder but the weights."""
    folder.mkdir(parents=True)
    for name, part in found.parts.items():
        (folder / name).mkdir()
        _write(folder / name / "config.json", part.config)
    if "text_encoder" in found.parts:
        write_tokenizer(folder / "tokenizer", padding="!" if found.family == "sd21" else END)
    if "text_encoder_2" in found.parts:
        write_tokenizer(folder / "tokenizer_2", padding="!")
    (folder / "scheduler").mkdir()
    _write(folder / "scheduler" / "scheduler_config.json", found.scheduler)
    _write(folder / "model_index.json", _index(found))


def write_notes(folder: Path, notes: Mapping[str, Any]) -> None:
    """studio.json: family, distilled kind, source, commit on the hub, hashes."""
    _write(folder / NOTES, notes)


def _index(found: Checkpoint) -> dict[str, Any]:
    """As diffusers writes it, so that other tools read the folder too."""
    index: dict[str, Any] = {"_class_name": "StableDiffusionPipeline"}
    if found.family == "sdxl":
        index = {"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": True}
        index |= {"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]}
        index |= {"tokenizer_2": ["transformers", "CLIPTokenizer"]}
        if "text_encoder" not in found.parts:
            index |= {"_class_name": "StableDiffusionXLImg2ImgPipeline", "requires_aesthetics_score": True}
            index |= {"force_zeros_for_empty_prompt": False}
    else:
        index |= {"safety_checker": [None, None], "requires_safety_checker": False}
    text = ("CLIPTextModel", "CLIPTokenizer") if "text_encoder" in found.parts else (None, None)
    return index | {
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "scheduler": ["diffusers", found.scheduler["_class_name"]],
        "text_encoder": [text[0] and "transformers", text[0]],
        "tokenizer": [text[1] and "transformers", text[1]],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }


def distilled_kind(name: str, told: bool, notes: Mapping[str, str]) -> str:
    """Key of DISTILLED, or ''. `told`: the UNet is told the guidance, which only LCM's is.

    Turbo and its kin have the shapes of the model they were made from: only their names tell.
    """
    if told:
        return "lcm"
    said = " ".join([name, *(notes.get(key, "") for key in ("modelspec.title", "ss_sd_model_name"))])
    words = f" {' '.join(re.split('[^a-z0-9]+', said.casefold()))} "
    return next(
        (key for key, row in DISTILLED.items() if any(f" {word} " in words for word in row.words)), ""
    )


def _family(shapes: Shapes) -> tuple[str, bool]:
    """Key of FAMILIES, and whether it is that family's refiner."""

    def has(prefix: str) -> bool:
        return any(key.startswith(prefix) for key in shapes)

    for prefix, what in OTHERS.items():
        if has(prefix):
            raise unknown(f"it is {what}")
    if not has(MARK):
        raise unknown(f"none of its {len(shapes)} tensors belongs to a UNet")
    for prefix, family in ((XL_OPEN_CLIP, "sdxl"), (REFINER, "sdxl"), (OPEN_CLIP, "sd21"), (CLIP, "sd15")):
        if has(prefix):
            return family, prefix == REFINER
    raise unknown("it holds a UNet and no text encoder")


def _text(shapes: Shapes, family: str, refines: bool) -> dict[str, Part]:
    if refines:
        return {"text_encoder_2": read_open_clip(shapes, REFINER, projected=True)}
    if family == "sd15":
        return {"text_encoder": read_clip(shapes, CLIP)}
    if family == "sd21":
        return {"text_encoder": read_open_clip(shapes, OPEN_CLIP, projected=False)}
    return {
        "text_encoder": read_clip(shapes, XL_CLIP),
        "text_encoder_2": read_open_clip(shapes, XL_OPEN_CLIP, projected=True),
    }


def _check_widths(parts: Mapping[str, Part]) -> None:
    encoders = [part.config for name, part in parts.items() if name.startswith("text")]
    given = sum(config["hidden_size"] for config in encoders)
    read = parts["unet"].config["cross_attention_dim"]
    if given != read:
        raise unknown(f"its text rows are {given} wide and its UNet reads {read}")
    for config in encoders:
        if config["vocab_size"] != WORDS:
            raise unknown(f"its text encoder knows {config['vocab_size']} words where CLIP has {WORDS}")
    channels = parts["unet"].config["in_channels"]
    if channels not in (4, 9):
        raise unknown(f"its UNet reads {channels} channels; 4 are normal and 9 for inpainting")


def is_velocity(file: Path, header: Header, family: str) -> bool:
    """Whether the UNet predicts v instead of the noise."""
    said = header.metadata.get("modelspec.prediction_type", "").casefold()
    if said:
        return said.startswith("v")
    if "v_pred" in header.tensors:
        return True
    if family != "sd21":
        return False
    values = _values(file, header, BIAS)
    if not values:
        return False
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / len(values) > V_BIAS**2


def _values(file: Path, header: Header, key: str) -> tuple[float, ...]:
    """A small tensor's numbers; () where it is not there or of another dtype."""
    dtype, shape = header.tensors.get(key, ("", ()))
    if dtype not in ("F16", "F32", "BF16") or len(shape) != 1:
        return ()
    begin, end = header.spans[key]
    with file.open("rb") as stream:
        stream.seek(begin)
        raw = stream.read(end - begin)
    if dtype == "BF16":  # the upper half of a float32
        raw = b"".join(b"\0\0" + raw[place : place + 2] for place in range(0, len(raw), 2))
    return struct.unpack(f"<{shape[0]}{'e' if dtype == 'F16' else 'f'}", raw)


def _scheduler(family: str, kind: str, velocity: bool, zero_snr: bool) -> dict[str, Any]:
    """As the family's own repository has it; distilled kinds as their makers say."""
    config: dict[str, Any] = {**BETAS, "prediction_type": "v_prediction" if velocity else "epsilon"}
    if family == "sdxl":
        config |= {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading"}
    else:
        name = "PNDMScheduler" if family == "sd15" else "DDIMScheduler"
        config |= {
            "_class_name": name,
            "clip_sample": False,
            "set_alpha_to_one": False,
            "skip_prk_steps": True,
        }
    if kind:
        row = DISTILLED[kind]
        config |= {"_class_name": row.diffusers_class, **row.options}
    if zero_snr:
        config |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return config


def _write(file: Path, data: Mapping[str, Any]) -> None:
    with file.open("w", encoding="utf-8") as stream:
        json.dump(data, stream, indent=2)
        stream.flush()
        os.fsync(stream.fileno())
