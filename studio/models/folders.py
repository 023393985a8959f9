"""A diffusers folder judged from its configs and weight headers: its family, and whether it is whole."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.catalog import DISTILLED, FAMILIES, SCHEDULERS
from studio.errors import BadRequest, StudioError, UnsafeFormat
from studio.models.checkpoint import FILE, NOTES, distilled_kind, read_checkpoint
from studio.safetensors_header import read_header

INDEX = "model_index.json"
REQUIRED = ("unet", "vae", "text_encoder", "tokenizer")
REFINING = ("unet", "vae", "text_encoder_2", "tokenizer_2")  # all that SDXL's refiner has
PARTS = (*REQUIRED, "text_encoder_2", "tokenizer_2", "scheduler", "controlnet-canny")
NETWORKS = ("unet", "vae", "text_encoder", "text_encoder_2", "controlnet-canny")
PICKLES = ("*.bin", "*.ckpt", "*.pt", "*.pth")
SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_CONFIG = 2**20  # bytes
LENT_BY = "control"  # in a ControlNet's studio.json inside a model's folder: its name on the shelf
POCKET_LATENT = 32  # latents this small and a text width nobody knows: one of our own kind


@dataclass(frozen=True)
class ModelRow:
    """`size`: native width and height in px. `bytes`: weights on disk. `context`: width of a text row.

    `controls`: kinds of ControlNet that lie beside the UNet. `steps`, `guidance`, `scheduler`: defaults.
    `prediction`: epsilon, v_prediction or sample. `builtin`: came with the studio. `distilled`: key of
    DISTILLED, or ''. `source`: file or hub id it came from; `revision`: its commit there, '' for a file.
    `hash`: SHA-256 of its file, of a folder's file hashes together; '' where nobody has reckoned it.
    `refines`: it finishes pictures of another model and begins none.
    """

    name: str
    label: str
    family: str
    folder: Path
    bytes: int
    size: int
    steps: int
    guidance: float
    scheduler: str
    prediction: str
    controls: tuple[str, ...]
    builtin: bool
    context: int
    distilled: str = ""
    source: str = ""
    revision: str = ""
    hash: str = ""
    refines: bool = False


def read_folder(folder: Path, name: str, builtin: bool) -> ModelRow:
    """Raises UnsafeFormat for pickled weights, BadRequest (`custom_code_refused`, `model_incomplete`)."""
    index = read_config(folder / INDEX)
    _refuse_code(folder, index)
    refines = not (folder / "text_encoder").is_dir() and (folder / "text_encoder_2").is_dir()
    missing = [part for part in (REFINING if refines else REQUIRED) if not (folder / part).is_dir()]
    if missing:
        raise _incomplete(f"{', '.join(missing)} missing")
    weights = _weigh_all(folder, name)
    unet, scheduler = read_config(folder / "unet" / "config.json"), _scheduler_config(folder)
    notes = read_config(folder / NOTES)
    family = notes["family"] if notes.get("family") in FAMILIES else family_of(unet)
    kind = _kind(notes, name, unet)
    defaults = DISTILLED[kind] if kind else FAMILIES[family]
    return ModelRow(
        name=name,
        label=FAMILIES[family].label if builtin else name,
        family=family,
        folder=folder,
        bytes=weights,
        size=_native_size(unet, read_config(folder / "vae" / "config.json"))
        or defaults.size
        or FAMILIES[family].size,
        steps=defaults.steps,
        guidance=defaults.guidance,
        scheduler=(not kind and scheduler_key(scheduler)) or defaults.scheduler,
        prediction=str(scheduler.get("prediction_type", "epsilon")),
        controls=("canny",) if (folder / "controlnet-canny").is_dir() else (),
        builtin=builtin,
        context=context_of(unet),
        distilled=kind,
        source=str(notes.get("source", ""))[:200],
        revision=str(notes.get("revision", ""))[:40],
        hash=hash_of(recorded(notes)),
        refines=refines,
    )


def context_of(unet: Mapping[str, Any]) -> int:
    """Width of the text rows a UNet reads; the first one where each block has its own."""
    width = unet.get("cross_attention_dim", 0)
    if isinstance(width, list):
        width = width[0] if width else 0
    return width if isinstance(width, int) else 0


def recorded(notes: Mapping[str, Any]) -> dict[str, str]:
    """Path of a weights file inside the model's folder -> its SHA-256, as noted when it was taken in."""
    files = notes.get("files")
    found = files.items() if isinstance(files, dict) else ()
    return {str(path): str(digest) for path, digest in found if SHA256.fullmatch(str(digest))}


def hash_of(files: Mapping[str, str]) -> str:
    """One hash for a model: its only file's, as other tools show it; else of all their hashes together."""
    if len(files) == 1:
        return next(iter(files.values()))
    lines = "".join(f"{path} {digest}\n" for path, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest() if files else ""


def weights_of(folder: Path) -> list[Path]:
    """All files of a model that hold weights."""
    whole = [folder / FILE] if (folder / FILE).is_file() else []
    return [*whole, *(file for part in NETWORKS for file in weight_files(folder / part))]


def own_weights(folder: Path) -> list[Path]:
    """Those that came with the model: without ControlNets that the studio laid into it."""
    lent = [folder / part for part in NETWORKS if part.startswith("controlnet-")]
    lent = [place for place in lent if LENT_BY in read_config(place / NOTES)]
    return [file for file in weights_of(folder) if file.parent not in lent]


def link(source: Path, target: Path) -> None:
    """A hard link, or a copy where there can be none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def family_of(unet: Mapping[str, Any]) -> str:
    """Key of FAMILIES, by the shapes in a UNet's config."""
    if unet.get("addition_embed_type") == "text_time":
        return "sdxl"
    width = context_of(unet)
    for key, family in FAMILIES.items():
        if family.context == width and key != "sdxl":
            return key
    side = unet.get("sample_size")
    return "pocket" if isinstance(side, int) and side <= POCKET_LATENT else "sd15"


def scheduler_key(config: Mapping[str, Any]) -> str:
    """Key of SCHEDULERS for a checkpoint's own scheduler config; '' for one we have not."""
    for key, row in SCHEDULERS.items():
        same = all(
            config.get(name, usual) == row.options[name]
            for name, usual in (("algorithm_type", "dpmsolver++"), ("use_karras_sigmas", False))
            if name in row.options
        )
        if same and row.diffusers_class == config.get("_class_name"):
            return key
    return ""


def read_config(file: Path) -> dict[str, Any]:
    """{} for a file that is not there. Raises BadRequest (`model_incomplete`)."""
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_bytes()[:MAX_CONFIG])
    except (ValueError, RecursionError):
        raise _incomplete(f"{file.parent.name}/{file.name} is not JSON") from None
    if not isinstance(found, dict):
        raise _incomplete(f"{file.parent.name}/{file.name} holds no object")
    return found


def _scheduler_config(folder: Path) -> dict[str, Any]:
    return read_config(folder / "scheduler" / "scheduler_config.json")


def _native_size(unet: Mapping[str, Any], vae: Mapping[str, Any]) -> int:
    """Latent side times what the VAE enlarges; 0 where the configs do not say."""
    side, blocks = unet.get("sample_size"), vae.get("block_out_channels")
    if not isinstance(side, int) or not isinstance(blocks, list) or not blocks:
        return 0
    return int(side * 2 ** (len(blocks) - 1))


def _refuse_code(folder: Path, index: Mapping[str, Any]) -> None:
    scripts = sorted(file.name for file in folder.rglob("*.py"))
    if scripts or not isinstance(index.get("_class_name", ""), str):
        what = scripts[0] if scripts else "its index names a class of its own"
        raise BadRequest(
            f"The model brings its own code ({what}); none is ever run.",
            hint="Use a model that needs only diffusers' own classes.",
            code="custom_code_refused",
        )


def _kind(notes: Mapping[str, Any], name: str, unet: Mapping[str, Any]) -> str:
    """Key of DISTILLED, or ''; as taken in, or by the folder's name and the UNet's config."""
    if notes.get("distilled") in ("", *DISTILLED):
        return str(notes["distilled"])
    return distilled_kind(name, bool(unet.get("time_cond_proj_dim")), {})


def weight_files(part: Path) -> list[Path]:
    """The files of a network that are read: plain ones (shards too), else those of the fp16 variant."""
    files = sorted(part.glob("*.safetensors"))
    return [file for file in files if file.name.count(".") == 1] or [
        file for file in files if ".fp16" in file.name
    ]


def _weigh_all(folder: Path, name: str) -> int:
    """Bytes of all weights. What lies in a part's own folder goes before the one-file checkpoint's."""
    parts = [folder / part for part in NETWORKS if (folder / part).is_dir()]
    if not (folder / FILE).is_file():
        return sum(_weigh(part) for part in parts)
    inside = read_checkpoint(folder / FILE, name).parts
    apart = [part for part in parts if part.name not in inside or any(part.glob("*.safetensors"))]
    return (folder / FILE).stat().st_size + sum(_weigh(part) for part in apart)


def _weigh(part: Path) -> int:
    """Bytes of the weights of one part, each file's header checked and each shard there."""
    files = sorted(part.glob("*.safetensors"))
    if not files:
        if any(list(part.glob(pattern)) for pattern in PICKLES):
            raise UnsafeFormat(
                f"{part.name} holds pickled weights, which can run code when they are opened.",
                hint="Only safetensors weights are read.",
            )
        raise _incomplete(f"{part.name} holds no .safetensors file")
    for index in part.glob("*.safetensors.index.json"):
        shards = set(map(str, read_config(index).get("weight_map", {}).values()))
        lost = sorted(shards - {file.name for file in files})
        if lost:
            raise _incomplete(f"{part.name} lacks {len(lost)} of {len(shards)} shards, first {lost[0]}")
    for file in files:
        try:
            read_header(file)
        except StudioError as error:
            raise type(error)(
                f"{part.name}/{file.name}: {error.message}", hint=error.hint, code=error.code
            ) from None
    return sum(file.stat().st_size for file in files)


def _incomplete(what: str) -> BadRequest:
    return BadRequest(
        f"The model is not whole: {what}.", hint="Copy the diffusers folder again.", code="model_incomplete"
    )
