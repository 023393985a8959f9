"""LoRA files as adapters: judged, converted by diffusers and checked before anything is touched."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffusers.loaders import StableDiffusionXLLoraLoaderMixin
from diffusers.utils.state_dict_utils import (
    DIFFUSERS_OLD_TO_PEFT,
    DIFFUSERS_TO_PEFT,
    convert_state_dict,
    convert_unet_state_dict_to_peft,
)
from safetensors.torch import load_file
from torch import Tensor, nn

from studio.catalog import FAMILIES
from studio.engine.lora import Adapter, Delta
from studio.errors import BadRequest, NotFound, WrongBase
from studio.safetensors_header import read_header

LEAST_MATCHED = 0.9  # a file with fewer known modules is for another model; a few extra ones are common
PARTS = ("unet", "text_encoder", "text_encoder_2")
_KOHYA = ("lora_unet_", "lora_te_", "lora_te1_", "lora_te2_")
_OTHER_KINDS = re.compile(r"\.(hada_|lokr_|oft_|diff$|diff_b$|glora|dora_scale$|lora_magnitude_vector)")
_TO_TEXT_KEY = re.compile(r"attn2[._](?:processor\.)?to_k")

Tensors = dict[str, Tensor]


def read_adapter(path: Path, unet: Any, text_encoders: Sequence[nn.Module], base: str) -> Adapter:
    """An adapter that fits the model. `base`: the model's family, a key of FAMILIES.

    Reads diffusers, PEFT and kohya files. Raises, with counts: WrongBase where under 90 % of the file's
    modules fit the model by name and shape; UnsafeFormat and BadRequest (`file_incomplete`, `bad_header`,
    `non_finite`, `unknown_lora_kind`) for files no model can use; NotFound (`lora_missing`).
    """
    try:
        header = read_header(path)
        tensors = {name: _wide(tensor) for name, tensor in load_file(path).items()}
    except (NotFound, FileNotFoundError):
        raise NotFound("The LoRA file is gone.", hint="Add it again.", code="lora_missing") from None
    _check_kind(tensors)
    _check_finite(tensors)
    width = _text_width(tensors)
    made_for = next((key for key, family in FAMILIES.items() if family.context == width), "")
    total = len({_module_of(name) for name in tensors})
    try:
        parts, alphas = _convert(tensors, unet)
    except (ValueError, KeyError, IndexError, RuntimeError, AttributeError):
        raise _wrong_base(made_for, base, 0, total) from None
    networks: dict[str, nn.Module] = {"unet": unet, **dict(zip(PARTS[1:], text_encoders, strict=False))}
    alphas = _alphas_from_notes(header.metadata.get("lora_adapter_metadata", ""), parts) | alphas
    fitting = {
        part: _fitting(pairs, networks[part], part, alphas)
        for part, pairs in parts.items()
        if part in networks
    }
    matched = sum(map(len, fitting.values()))
    other_width = width is not None and width != unet.config.cross_attention_dim
    if other_width or not matched or matched < LEAST_MATCHED * total:
        raise _wrong_base(made_for, base, matched, total)
    return Adapter({part: deltas for part, deltas in fitting.items() if deltas}, matched, total, made_for)


def _check_kind(tensors: Tensors) -> None:
    others = [name for name in tensors if _OTHER_KINDS.search(name)]
    if others:
        raise BadRequest(
            f"This is no plain LoRA: {len(others)} of {len(tensors)} tensors are LoHa, LoKr or the like.",
            hint="Use a LoRA trained as plain LoRA or LoCon.",
            code="unknown_lora_kind",
        )


def _wide(tensor: Tensor) -> Tensor:
    """8-bit floats as float32: torch cannot compute with them."""
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() == 1 else tensor


def _check_finite(tensors: Tensors) -> None:
    broken = sum(not bool(tensor.isfinite().all()) for tensor in tensors.values())
    if broken:
        raise BadRequest(
            f"{broken} of {len(tensors)} tensors hold values that are not finite: the training broke down.",
            hint="Use an earlier checkpoint of this LoRA.",
            code="non_finite",
        )


def _text_width(tensors: Tensors) -> int | None:
    """Width of the text rows that cross attention reads, by which model families differ."""
    for name, tensor in tensors.items():
        if _TO_TEXT_KEY.search(name) and re.search(r"down|lora_A", name) and tensor.ndim >= 2:
            return int(tensor.shape[1])
    return None


def _wrong_base(made_for: str, base: str, matched: int, total: int) -> WrongBase:
    origin = FAMILIES[made_for].label if made_for else "another model"
    model = FAMILIES[base].label if base in FAMILIES else "of another family"
    return WrongBase(
        f"This LoRA was made for {origin}, the model is {model}; matched {matched} of {total} modules.",
        hint="Pick a model of the LoRA's family, or a LoRA made for this model.",
        field="loras",
    )


def _convert(tensors: Tensors, unet: Any) -> tuple[dict[str, Tensors], dict[tuple[str, str], float]]:
    """Tensors by part with PEFT names (`path.lora_A.weight`), and alphas by (part, path)."""
    renamed = {re.sub(r"^base_model\.model\.", "", name): tensor for name, tensor in tensors.items()}
    renamed = {re.sub(r"\.(lora_[AB])\.\w+\.weight$", r".\1.weight", name): t for name, t in renamed.items()}
    if not any(name.startswith((*_KOHYA, *(f"{part}." for part in PARTS))) for name in renamed):
        renamed = {f"unet.{name}": tensor for name, tensor in renamed.items()}
    own_alphas = {name: renamed.pop(name) for name in list(renamed) if _is_own_alpha(name)}
    state, kohya_alphas = StableDiffusionXLLoraLoaderMixin.lora_state_dict(renamed, unet_config=unet.config)
    parts: dict[str, Tensors] = defaultdict(dict)
    for name, tensor in state.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    numbers = {name: float(value) for name, value in [*(kohya_alphas or {}).items(), *own_alphas.items()]}
    alphas = {}
    for name, value in numbers.items():
        part, _, rest = name.removesuffix(".alpha").partition(".")
        alphas[part, _path_of(_to_peft(part, _as_weight(rest)))] = value
    named = {part: {_to_peft(part, name): t for name, t in found.items()} for part, found in parts.items()}
    return named, alphas


def _is_own_alpha(name: str) -> bool:
    return name.endswith(".alpha") and not name.startswith(_KOHYA)


def _as_weight(name: str) -> str:
    """The converters name some alphas after the module and some after its down weight."""
    return name if name.endswith(".weight") else f"{name}.lora.down.weight"


def _to_peft(part: str, name: str) -> str:
    if part == "unet":
        converted = convert_unet_state_dict_to_peft({name: None})
    else:
        converted = convert_state_dict({name: None}, {**DIFFUSERS_OLD_TO_PEFT, **DIFFUSERS_TO_PEFT})
    return str(next(iter(converted)))


def _path_of(name: str) -> str:
    return re.sub(r"\.lora_[AB]\.weight$", "", name)


def _module_of(name: str) -> str:
    """What the tensors of one module have in common, in any format."""
    return re.sub(r"(\.alpha|[._](lora[._])?(linear_layer\.)?(down|up|A|B)(\.\w+)?\.weight)$", "", name)


def _alphas_from_notes(notes: str, parts: Mapping[str, Tensors]) -> dict[tuple[str, str], float]:
    """What PEFT notes beside the weights: `{"unet.lora_alpha": 8, "unet.alpha_pattern": {path: 4}, ...}`."""
    try:
        config = json.loads(notes) if notes else {}
    except (ValueError, RecursionError):
        config = {}
    if not isinstance(config, dict):
        return {}
    alphas: dict[tuple[str, str], float] = {}
    for part, tensors in parts.items():
        common, pattern = config.get(f"{part}.lora_alpha"), config.get(f"{part}.alpha_pattern")
        for path in {_path_of(name) for name in tensors}:
            special = [
                value for key, value in (pattern.items() if isinstance(pattern, dict) else ())
                if path == key.lstrip("^") or path.endswith(f".{key}")
            ]  # fmt: skip
            alpha = special[0] if special else common
            if isinstance(alpha, (int, float)) and math.isfinite(alpha):
                alphas[part, path] = float(alpha)
    return alphas


def _fitting(
    tensors: Tensors, network: nn.Module, part: str, alphas: Mapping[tuple[str, str], float]
) -> dict[str, Delta]:
    """Path -> delta for each module that `network` has in the right shape."""
    modules = dict(network.named_modules())
    found: dict[str, Delta] = {}
    for path in dict.fromkeys(_path_of(name) for name in tensors):
        # transformers 5 took the inner text_model away from CLIPTextModel; files still name it.
        place = path if path in modules else path.removeprefix("text_model.")
        module = modules.get(place)
        down, up = tensors.get(f"{path}.lora_A.weight"), tensors.get(f"{path}.lora_B.weight")
        if isinstance(module, (nn.Linear, nn.Conv2d)) and down is not None and up is not None:
            fitted = _fit(module, down, up)
            if fitted is not None:
                alpha = alphas.get((part, path), float(len(down)))
                found[place] = Delta(*fitted, scale=alpha / len(down))
    return found


def _fit(module: nn.Linear | nn.Conv2d, down: Tensor, up: Tensor) -> tuple[Tensor, Tensor] | None:
    """The pair in the module's own shapes, None where it has others.

    A 1x1 convolution and a Linear count as the same: files of either kind go with models of either kind.
    """
    if min(down.ndim, up.ndim) < 2 or not (down.is_floating_point() and up.is_floating_point()):
        return None
    if isinstance(module, nn.Conv2d) and module.groups != 1:
        return None
    (out, inner, *kernel), rank = module.weight.shape, len(down)
    if not rank or tuple(down.shape[:2]) != (rank, inner) or tuple(up.shape[:2]) != (out, rank):
        return None
    if (tuple(down.shape[2:]) or (1, 1)) != (tuple(kernel) or (1, 1)) or up.numel() != out * rank:
        return None
    return down.reshape(rank, inner, *kernel), up.reshape(out, rank, *[1] * len(kernel))
