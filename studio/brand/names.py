"""File names by a pattern: safe on every system, never the same twice within a campaign."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Set

from studio.brand.columns import WORDS, plain
from studio.errors import BadRequest

PATTERN = "{sku}_{scene}_{size}_{seed}"
MAX_PATTERN = 200  # characters
MAX_STEM = 120  # bytes: with folder and suffix it fits every file system
SLOT = re.compile(r"\{([^{}]{1,80})\}")
UNSAFE = re.compile(r"[^\w.\-]+")
# Names that Windows keeps for devices, whatever follows the dot.
DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
OWN = ("row", "part", "index", "size", "width", "height", "seed", "preset", "model", "scheduler", "campaign")


def check_pattern(pattern: str, columns: Set[str]) -> None:
    """Raises BadRequest for `{names}` that no picture of the sheet has."""
    if not pattern.strip() or len(pattern) > MAX_PATTERN:
        raise BadRequest(
            f"A file name pattern has 1 to {MAX_PATTERN} characters, not {len(pattern)}.", field="pattern"
        )
    known = {plain(name) for name in (*OWN, *columns, *WORDS.values())}
    for name in SLOT.findall(pattern):
        if _word(name) not in known:
            raise BadRequest(
                f"{{{name}}} is nothing a picture of this sheet has.",
                hint=f"Use {', '.join(f'{{{one}}}' for one in sorted({*OWN, *columns}))}.",
                field="pattern",
            )


def file_stem(pattern: str, facts: Mapping[str, str], taken: Set[str] = frozenset()) -> str:
    """The pattern filled in. Empty facts take the sign beside them along; a name in `taken` gets a number."""
    known = {plain(name): value for name, value in facts.items()}
    parts = SLOT.split(pattern)  # text, name, text, name, text
    out = parts[0]
    for name, after in zip(parts[1::2], parts[2::2], strict=True):
        value = safe(known.get(_word(name), ""))
        out = out + value + after if value else out.rstrip("_- .") + (after if out else after.lstrip("_- ."))
    stem = safe(out) or "picture"
    number, tried = 1, stem
    while tried.casefold() in taken:
        number += 1
        tried = f"{stem}-{number}"
    return tried


def safe(text: str) -> str:
    """Letters, digits, dots and dashes of any script; no path, no device, nothing hidden."""
    text = UNSAFE.sub("-", unicodedata.normalize("NFC", text.strip())).strip("-. _")
    text = re.sub(r"\.{2,}", ".", text)
    while len(text.encode()) > MAX_STEM:
        text = text[:-1]
    return f"{text}-" if DEVICES.fullmatch(text) else text


def _word(name: str) -> str:
    word = plain(name)
    return plain(WORDS.get(word, word))
