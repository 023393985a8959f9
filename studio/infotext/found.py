"""What was understood of a picture's settings, whichever tool wrote them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from studio.catalog import SCHEDULERS
from studio.errors import BadRequest
from studio.schema import GenerationRequest, parse

MOST = 50  # lines of what was not understood
LONG = 200  # characters of such a line
STYLES = 16  # of one stack
# Sampler names of other tools by ours, without their " Karras", "_k".
SAMPLERS: Mapping[str, str] = {
    "ddim": "ddim", "ddpm": "ddpm", "pndm": "pndm", "plms": "pndm", "lcm": "lcm", "deis": "deis",
    "unipc": "unipc", "uni_pc": "unipc", "uni_pc_bh2": "unipc", "euler": "euler", "heun": "heun",
    "lms": "lms", "euler_a": "euler-ancestral", "euler_ancestral": "euler-ancestral",
    "k_euler": "euler", "k_euler_a": "euler-ancestral", "k_heun": "heun", "k_lms": "lms",
    "dpm_2": "kdpm2", "kdpm_2": "kdpm2", "k_dpm_2": "kdpm2", "dpm_2_ancestral": "kdpm2-ancestral",
    "kdpm_2_a": "kdpm2-ancestral", "k_dpm_2_a": "kdpm2-ancestral",
    "dpmpp_2m": "dpmpp-2m", "dpmpp_2m_k": "dpmpp-2m-karras", "k_dpmpp_2m": "dpmpp-2m",
    "dpmpp_2m_sde": "dpmpp-2m-sde", "dpmpp_2m_sde_gpu": "dpmpp-2m-sde",
}  # fmt: skip
PLAIN_SCHEDULES = ("", "automatic", "uniform", "normal", "simple", "default")


@dataclass
class Found:
    """`tool`: who wrote them. `fields`: for a GenerationRequest, not checked yet. `unmatched`: the rest, a
    line each, untrusted text. `model_hash`, `lora_hashes` by name: the first digits of SHA-256s."""

    tool: str
    fields: dict[str, Any] = field(default_factory=dict)
    unmatched: list[str] = field(default_factory=list)
    model_hash: str = ""
    lora_hashes: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, value: Any) -> None:
        if value is not None and value != "":
            self.fields[name] = value

    def miss(self, name: str, value: Any = "") -> None:
        """A setting that the studio has no place for."""
        if len(self.unmatched) < MOST:
            said = f"{name}: {shown(value)}" if value != "" else name
            self.unmatched.append(said[:LONG])

    def sampler(self, name: Any, schedule: Any = "") -> None:
        if not isinstance(name, str) or not name:
            return
        plain = schedule if isinstance(schedule, str) else ""
        key = scheduler_named(name, plain)
        if key:
            self.fields["scheduler"] = key
        if not key:
            self.miss("Sampler", f"{name} {plain}".strip())
        elif plain.casefold() not in PLAIN_SCHEDULES and plain.casefold() not in key:
            self.miss("Schedule", plain)

    def lora(self, name: Any, weight: Any) -> None:
        stack = self.fields.setdefault("loras", [])
        number = real(weight)
        if isinstance(name, str) and name and len(stack) < STYLES:
            stack.append({"name": stem(name), "weight": 1.0 if number is None else number})

    def settled(self) -> GenerationRequest:
        """With what a request can hold; what it cannot goes to `unmatched`. Raises BadRequest: no prompt."""
        kept: dict[str, Any] = {}
        for name, value in self.fields.items():
            try:
                parse(GenerationRequest, {"prompt": "x", name: value})
            except BadRequest as error:
                if name == "prompt":
                    raise
                self.miss(name, value)
                self.unmatched[-1:] = [f"{self.unmatched[-1]} ({error.message})"[:LONG]]
                continue
            kept[name] = value
        return parse(GenerationRequest, kept)


def scheduler_named(sampler: str, schedule: str = "") -> str:
    """Our key for another tool's sampler name and schedule type; '' for one we have not."""
    names = {**SAMPLERS, **{row.a1111.casefold(): key for key, row in SCHEDULERS.items()}}
    folded, plain = sampler.casefold().strip(), schedule.casefold().strip()
    key = names.get(folded, "")
    if plain in PLAIN_SCHEDULES:
        return key
    return f"{key}-{plain}" if f"{key}-{plain}" in SCHEDULERS else names.get(f"{folded} {plain}", key)


def loaded(text: str) -> Any:
    """JSON from a picture; None for what is none, or is nested a thousand deep."""
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None


def whole(value: Any) -> int | None:
    """A whole number, also one written as text or as 7.0."""
    number = real(value)
    if number is None or number != int(number):
        return None
    if isinstance(value, str) and value.strip().lstrip("+-").isdecimal():
        return int(value)
    return value if isinstance(value, int) else int(number)


def real(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value) if len(str(value)) < 40 else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def words(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def stem(name: str) -> str:
    """A file's name without folders and ending: `SDXL\\ink.safetensors` is ink."""
    last = name.replace("\\", "/").rpartition("/")[2]
    for ending in (".safetensors", ".ckpt", ".pt"):
        last = last.removesuffix(ending)
    return last[:LONG]


def shown(value: Any) -> str:
    """One line of any value; never longer than is shown."""
    text = value if isinstance(value, str) else repr(value) if isinstance(value, (int, float)) else "…"
    return " ".join(text[: 2 * LONG].split())[:LONG]
