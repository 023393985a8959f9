"""Brands of other tools as brand files: A1111's styles.csv and Fooocus' presets.

Source: modules/styles.py of AUTOMATIC1111/stable-diffusion-webui (UTF-8 with BOM; columns name, prompt,
negative_prompt; `{prompt}` wraps, else the text follows ", "; rows whose name starts with # divide) and
presets/*.json of lllyasviel/Fooocus (`default_*` keys).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from studio.errors import BadRequest
from studio.infotext.found import scheduler_named
from studio.presets.readers import MAX_TEXT

MAX_STYLES = 1_000
# A model's file, prompts of Fooocus' own styles, and a slider we do not have.
UNREAD = ("default_refiner", "default_refiner_switch", "default_styles", "default_sample_sharpness")


@dataclass(frozen=True)
class Foreign:
    """`name`: as the other tool shows it. `left_out`: what a brand file cannot say."""

    name: str
    fields: Mapping[str, Any]
    left_out: tuple[str, ...] = field(default=())


def read_styles(data: bytes) -> list[Foreign]:
    """Rows of a styles.csv. Raises BadRequest."""
    try:
        rows = list(csv.DictReader(data.decode("utf-8-sig").splitlines(keepends=True), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise _unread("styles.csv", str(error)) from None
    if not rows or "name" not in rows[0]:
        raise _unread("styles.csv", "no column `name`")
    if len(rows) > MAX_STYLES:
        raise _unread("styles.csv", f"{len(rows)} styles; at most {MAX_STYLES} are read")
    found = []
    for row in rows:
        name = (row.get("name") or "").strip()
        if not name or name.startswith("#"):
            continue
        text = (row.get("prompt") or row.get("text") or "").strip()
        negative = (row.get("negative_prompt") or "").replace("{prompt}", "").strip(" ,")
        fields = {"prompt": _frame(text)} | ({"negative_prompt": negative} if negative else {})
        left_out = tuple(key for key, value in fields.items() if len(value) > MAX_TEXT)
        kept = {key: value for key, value in fields.items() if key not in left_out}
        found.append(Foreign(name, kept, left_out))
    return found


def read_fooocus(data: bytes, name: str) -> Foreign:
    """A preset's JSON. Raises BadRequest."""
    try:
        told = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _unread("The Fooocus preset", str(error)) from None
    if not isinstance(told, dict) or not any(str(key).startswith("default_") for key in told):
        raise _unread("The Fooocus preset", "no key starts with default_")
    fields: dict[str, Any] = {}
    if isinstance(prompt := told.get("default_prompt"), str) and prompt:
        fields["prompt"] = _frame(prompt)
    if isinstance(negative := told.get("default_prompt_negative"), str) and negative:
        fields["negative_prompt"] = negative
    if isinstance(guidance := told.get("default_cfg_scale"), (int, float)):
        fields["guidance"] = float(guidance)
    if isinstance(steps := told.get("default_overwrite_step"), int) and steps > 0:
        fields["steps"] = steps
    fields |= _size(told.get("default_aspect_ratio"))
    sampler = str(told.get("default_sampler", ""))
    if scheduler := scheduler_named(sampler, str(told.get("default_scheduler", ""))):
        fields["scheduler"] = scheduler
    loras = [_lora(row) for row in told.get("default_loras", ()) if isinstance(row, list)]
    if worn := [row for row in loras if row is not None]:
        fields["loras"] = worn
    left_out = [key for key in ("default_model", *UNREAD) if told.get(key) not in (None, "", "None", [])]
    if sampler and "scheduler" not in fields:
        left_out.append("default_sampler")
    return Foreign(name, fields, tuple(left_out))


def write_brand(name: str, title: str, fields: Mapping[str, Any]) -> str:
    """A brand file. JSON's quoting is YAML's, so no text can become anything but itself."""
    lines = ["version: 1", f"name: {name}", f"title: {_quoted(title[:MAX_TEXT])}"]
    lines += [f"{key}: {_quoted(value)}" for key, value in fields.items()]
    return "\n".join(lines) + "\n"


def _quoted(value: Any) -> str:
    quoted = json.dumps(value, ensure_ascii=False)
    for mark in "\x85\u2028\u2029":  # ends of lines to YAML, letters to JSON
        quoted = quoted.replace(mark, f"\\u{ord(mark):04x}")
    return quoted


def _frame(text: str) -> str:
    """As A1111 applies a style: what has `{prompt}` wraps the prompt, other text follows it."""
    if "{prompt}" in text:
        before, after = text.split("{prompt}", 1)
        return f"{before}{{prompt}}{after.replace('{prompt}', '')}"
    return f"{{prompt}}, {text}" if text else "{prompt}"


def _size(told: Any) -> dict[str, int]:
    sides = str(told or "").replace("×", "*").split("*")
    if len(sides) != 2 or not all(side.strip().isdecimal() and len(side) < 6 for side in sides):
        return {}
    return {"width": int(sides[0]), "height": int(sides[1])}


def _lora(row: list[Any]) -> dict[str, Any] | None:
    """[on, file, weight]; older presets [file, weight]."""
    on, file, weight = row if len(row) == 3 else (True, *row) if len(row) == 2 else (False, "", 0)
    if not on or not isinstance(file, str) or file == "None" or not isinstance(weight, (int, float)):
        return None
    return {"name": file.rsplit("/", 1)[-1].removesuffix(".safetensors"), "weight": float(weight)}


def _unread(what: str, why: str) -> BadRequest:
    return BadRequest(f"{what} cannot be read: {why[:200]}.", code="bad_kit")
