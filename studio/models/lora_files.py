"""A LoRA file judged from its header: the text width it was made for, rank, what its maker wrote into it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.catalog import FAMILIES
from studio.errors import BadRequest, StudioError
from studio.safetensors_header import Header, read_header

# diffusers and PEFT: ...attn2.to_k.lora_A.weight, .lora.down.weight; kohya: ..._attn2_to_k.lora_down.weight
DOWN = re.compile(r"(?:lora_A|lora_down|lora\.down|_lora\.down)(?:\.\w+)?\.weight$")
READS_TEXT = re.compile(r"attn2[._](?:processor\.)?to_[kv]")
SHOWN = 200  # characters of a note that are shown
# What trainers write where shapes do not tell (a LoRA that leaves cross-attention keys alone).
NOTES: Mapping[str, str] = {
    "sd_v1": "sd15", "sd_1.5": "sd15", "stable-diffusion-v1": "sd15",
    "sd_v2": "sd21", "stable-diffusion-v2": "sd21",
    "sdxl": "sdxl", "stable-diffusion-xl": "sdxl",
}  # fmt: skip


@dataclass(frozen=True)
class LoraRow:
    """`base`: family it was made for, '' = unknown. `context`: width of the text rows it reads, 0 = none.

    `problem`: why it can't be used, '' = it can. `alpha` is 0 where the file's notes don't say.
    """

    name: str
    file: Path
    base: str
    rank: int
    alpha: float
    trigger: str
    title: str
    bytes: int
    problem: str
    context: int = 0
    tensors: int = 0


def read_lora(file: Path, name: str) -> LoraRow:
    """A row in any case; `problem` says what is wrong with the file."""
    try:
        header = read_header(file)
        return _row(file, name, header)
    except StudioError as error:
        size = file.stat().st_size if file.is_file() else 0
        return LoraRow(name, file, "", 0, 0.0, "", "", size, error.message)


def _row(file: Path, name: str, header: Header) -> LoraRow:
    downs = {key: shape for key, (_, shape) in header.tensors.items() if DOWN.search(key) and len(shape) >= 2}
    if not downs:
        raise BadRequest(
            f"No LoRA: none of its {len(header.tensors)} tensors is a low-rank pair.",
            hint="Whole models are added with studio models add.",
            code="not_a_lora",
        )
    notes = header.metadata
    context = next((shape[1] for key, shape in downs.items() if READS_TEXT.search(key)), 0)
    return LoraRow(
        name=name,
        file=file,
        base=_base(context, notes),
        rank=Counter(shape[0] for shape in downs.values()).most_common(1)[0][0],
        alpha=_alpha(notes),
        trigger=_note(notes, "modelspec.trigger_phrase", "trigger", "trigger_phrase") or _frequent_tag(notes),
        title=_note(notes, "modelspec.title", "title", "ss_output_name"),
        bytes=file.stat().st_size,
        problem="",
        context=context,
        tensors=len(header.tensors),
    )


def _base(context: int, notes: Mapping[str, str]) -> str:
    for key, family in FAMILIES.items():
        if family.context == context:
            return key
    told = _note(notes, "base", "ss_base_model_version", "modelspec.architecture").casefold()
    if told in FAMILIES:
        return told
    return next((family for word, family in NOTES.items() if told.startswith(word)), "")


def _alpha(notes: Mapping[str, str]) -> float:
    try:
        return float(_note(notes, "ss_network_alpha", "alpha", "lora_alpha") or 0)
    except ValueError:
        return 0.0


def _note(notes: Mapping[str, str], *keys: str) -> str:
    """The first of these notes that is there, on one line and not too long; untrusted text."""
    found = next((notes[key] for key in keys if notes.get(key, "").strip() not in ("", "None")), "")
    return " ".join(found.split())[:SHOWN]


def _frequent_tag(notes: Mapping[str, str]) -> str:
    """The caption tag that kohya's trainer saw most: nearest to a trigger word where none is given."""
    try:
        folders: Any = json.loads(notes.get("ss_tag_frequency", "{}"))
        counts: Counter[str] = Counter()
        for tags in folders.values():
            counts.update({str(tag).strip(): int(count) for tag, count in tags.items()})
    except (ValueError, AttributeError, TypeError, RecursionError):
        return ""
    return counts.most_common(1)[0][0][:SHOWN] if counts else ""
