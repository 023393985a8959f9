"""Fooocus: JSON in `parameters`, its scheme in `fooocus_scheme`.

Source: modules/meta_parser.py of lllyasviel/Fooocus; keys of older files are the labels of its page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from studio.infotext.found import Found, real, stem, whole, words

_NUMBERS = re.compile(r"\d{1,5}")
READ = frozenset(
    {
        "prompt", "negative_prompt", "steps", "resolution", "guidance_scale", "base_model", "sampler",
        "scheduler", "seed", "loras", "performance", "metadata_scheme", "version", "base_model_hash",
        "full_prompt", "full_negative_prompt", "created_by", "image_number", "refiner_switch",
    }
)  # fmt: skip
NOTHING = ("", "None", "Default (model)", "[]", None, False)


def find(data: Mapping[str, Any]) -> Found:
    row = {str(key).casefold().replace(" ", "_"): value for key, value in data.items()}
    found = Found("Fooocus")
    found.fields["prompt"] = words(row.get("prompt")) or first_of(row.get("full_prompt"))
    found.fields["negative_prompt"] = words(row.get("negative_prompt")) or ""
    found.put("steps", whole(row.get("steps")))
    found.put("guidance", real(row.get("guidance_scale")))
    found.put("seed", whole(row.get("seed")))
    sides = _NUMBERS.findall(str(row.get("resolution", ""))[:40])
    if len(sides) == 2:
        found.fields["width"], found.fields["height"] = int(sides[0]), int(sides[1])
    model = words(row.get("base_model"))
    found.put("model", stem(model) if model else None)
    found.sampler(row.get("sampler"), row.get("scheduler"))
    stack_of(found, row)
    for key, value in row.items():
        if key not in READ and not key.startswith("lora_") and value not in NOTHING:
            found.miss(key, value if isinstance(value, (str, int, float)) else "")
    return found


def stack_of(found: Found, row: Mapping[str, Any]) -> None:
    rows = row.get("loras")
    for one in rows if isinstance(rows, list) else ():
        if isinstance(one, list) and len(one) >= 2:
            found.lora(one[0], one[1])
    if "loras" in found.fields:
        return
    for key, value in row.items():
        if re.fullmatch(r"lora_(?:combined_)?\d", key) and isinstance(value, str):
            parts = value.split(" : ")
            if len(parts) >= 2 and parts[-2] != "None" and parts[0] != "False":
                found.lora(parts[-2], parts[-1])


def first_of(value: Any) -> str:
    return str(value[0]) if isinstance(value, list) and value and isinstance(value[0], str) else ""
