"""AUTOMATIC1111's text, which Forge, Fooocus and many others write too.

Source: parse_generation_parameters in modules/infotext_utils.py of AUTOMATIC1111/stable-diffusion-webui.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping

from studio.infotext.found import Found, real, whole

MOST_LORAS = 64
LEAST_PAIRS = 3  # fewer on the last line: it belongs to the prompt
# A key has an end to its length, so that a long line without a colon is not searched again from each letter.
_PAIR = re.compile(r'(\w[\w \-/]{0,80}+):\s*+("(?:\\.|[^\\"])*+"|[^,]*+)(?:,|$)')
_HASH = re.compile("[0-9A-Fa-f]{10,64}")
_SIZE = re.compile(r"(\d++)x(\d++)")
# Pairs that are read, or that say nothing about how a picture is made.
READ = frozenset(
    {
        "Steps", "Sampler", "Schedule type", "Scheduler", "CFG scale", "Seed", "Size", "Model", "Model hash",
        "VAE hash", "Denoising strength", "Version", "User", "Lora hashes", "Preset", "Upscale", "Raw prompt",
        "Raw negative prompt", "Lora weights", "Performance", "Metadata scheme",
    }
)  # fmt: skip
PLAIN: Mapping[str, tuple[str, ...]] = {"Clip skip": ("1",), "RNG": ("CPU",), "Emphasis": ("Original",)}


def fields_of(text: str) -> dict[str, str]:
    """The pairs of the last line, `Prompt` and `Negative prompt`, as they stand there."""
    body, _, last = text.strip().rpartition("\n")
    pairs = dict(pairs_of(last))
    if len(pairs) < LEAST_PAIRS:
        body, pairs = text.strip(), {}
    before, negative = split(body)
    size = _SIZE.fullmatch(pairs.get("Size", ""))
    sizes = {"Size-1": size[1], "Size-2": size[2]} if size else {}
    return {"Prompt": before, "Negative prompt": negative, **pairs, **sizes}


def find(text: str) -> Found:
    pairs = fields_of(text)
    found = Found("A1111")
    found.fields["prompt"] = pairs["Prompt"]
    found.fields["negative_prompt"] = pairs["Negative prompt"]
    found.put("steps", number(found, pairs, "Steps"))
    found.put("guidance", real(pairs.get("CFG scale")))
    found.put("seed", number(found, pairs, "Seed"))
    found.put("width", whole(pairs.get("Size-1")))
    found.put("height", whole(pairs.get("Size-2")))
    found.put("strength", real(pairs.get("Denoising strength")))
    found.put("upscale", real(pairs.get("Upscale")))
    found.put("model", pairs.get("Model"))
    found.put("preset", pairs.get("Preset"))
    found.model_hash = digits(pairs.get("Model hash", ""))
    found.lora_hashes = lora_hashes(pairs.get("Lora hashes", ""))
    found.sampler(pairs.get("Sampler"), pairs.get("Schedule type") or pairs.get("Scheduler") or "")
    for key, value in pairs.items():
        known = key in READ or key in ("Prompt", "Negative prompt", "Size-1", "Size-2")
        if not known and value not in PLAIN.get(key, ()):
            found.miss(key, value)
    return found


def number(found: Found, pairs: Mapping[str, str], key: str) -> int | None:
    value = whole(pairs.get(key))
    if value is None and key in pairs:
        found.miss(key, pairs[key])
    return value


def digits(text: str) -> str:
    """At least ten hex digits, lower case; '' for anything else, such as the eight of an older scheme."""
    return text.strip().lower() if _HASH.fullmatch(text.strip()) else ""


def lora_hashes(text: str) -> dict[str, str]:
    """By name, of `name: hash, name: hash`."""
    rows = (row.rpartition(":") for row in text.split(",", MOST_LORAS))
    return {name.strip(): digits(value) for name, _, value in rows if digits(value)}


def split(body: str) -> tuple[str, str]:
    """(prompt, negative prompt); the negative one starts its own line."""
    before, mark, after = ("\n" + body).partition("\nNegative prompt:")
    return before.strip(), after.strip() if mark else ""


def pairs_of(line: str) -> Iterator[tuple[str, str]]:
    for found in _PAIR.finditer(line):
        key, value = found[1].strip(), found[2].strip()
        if value.startswith('"'):
            with contextlib.suppress(ValueError):
                value = str(json.loads(value))
        yield key, value
