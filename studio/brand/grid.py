"""X/Y/Z grids: one request varied along up to three axes, each cell a request of its own."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.errors import BadRequest
from studio.schema import GenerationRequest, nearest_names, parse

MAX_CELLS = 1_000
MAX_VALUES = 200  # of one axis
MAX_PIXELS = 200_000_000  # of all cells together, as other tools' grids
NAMES = ("x", "y", "z")
WHOLE = ("seed", "steps", "count", "width", "height")
BROKEN = ("guidance", "strength", "upscale", "control_scale", "control_low", "control_high")
WORDS = ("scheduler", "model", "preset", "prompt", "negative_prompt", "size", "format")
FIELDS = (*WHOLE, *BROKEN, *WORDS)
NUMBER = r"([+-]?\d+(?:\.\d+)?)"
RANGE = re.compile(rf"{NUMBER}\s*-\s*{NUMBER}(?:\s*\(\s*{NUMBER}\s*\)|\s*\[\s*(\d+)\s*\])?")


@dataclass(frozen=True)
class Axis:
    """`field`: of a request; `lora:NAME` for that style's weight; `prompt`: the first value is looked for in
    the prompt and replaced by each. `values`: numbers or texts."""

    field: str
    values: tuple[Any, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        name = self.field.removeprefix("lora:")
        texts = [f"{value:g}" if isinstance(value, float) else str(value) for value in self.values]
        return tuple(text if self.field == "prompt" else f"{name} {text}" for text in texts)


@dataclass(frozen=True)
class Cell:
    """`labels`: one for each axis. `at`: index on each axis."""

    at: tuple[int, ...]
    labels: tuple[str, ...]
    request: GenerationRequest


def read_axis(field: str, text: str) -> Axis:
    """`text`: values with commas between them; numbers also as 1-5, 1-9 (+2), 0-1 [5], ends included.

    Raises BadRequest for an unknown field, no values or too many.
    """
    field = field.strip()
    if field not in FIELDS and not field.startswith("lora:"):
        hint = nearest_names(field, (*FIELDS, "lora:NAME"))
        raise BadRequest(f"No axis {field[:80]!r}.", hint=hint, field="axes")
    parts = [part.strip() for part in next(csv.reader([text], skipinitialspace=True), [])]
    values: list[Any] = []
    for part in filter(None, parts):
        values += [part] if field in WORDS else _numbers(field, part)
        if len(values) > MAX_VALUES:
            raise BadRequest(f"The axis {field} has more than {MAX_VALUES} values.", field="axes")
    if not values:
        raise BadRequest(f"The axis {field} has no values.", hint="Write 10, 20, 30.", field="axes")
    return Axis(field, tuple(values))


def _numbers(field: str, part: str) -> list[Any]:
    kind = int if field in WHOLE else float
    span = RANGE.fullmatch(part)
    try:
        if span is None:
            return [kind(part)]
        first, last = float(span[1]), float(span[2])
        if span[4] is not None:
            count = int(span[4])
            step = (last - first) / (count - 1) if count > 1 else 0.0
        else:
            step = float(span[3]) if span[3] is not None else (1.0 if last >= first else -1.0)
            if step == 0 or (last - first) / step < 0:
                raise BadRequest(f"{part!r} never gets to its end.", field="axes")
            count = int((last - first) / step + 1e-9) + 1
        if count > MAX_VALUES:
            raise BadRequest(f"{part!r} has {count} values; at most {MAX_VALUES} fit.", field="axes")
        return [
            round(first + step * number) if kind is int else round(first + step * number, 6)
            for number in range(count)
        ]
    except ValueError:
        word = "whole number" if kind is int else "number"
        raise BadRequest(f"{field}: {part[:40]!r} is not a {word}.", field="axes") from None


def make_cells(base: Mapping[str, Any], axes: Sequence[Axis]) -> list[Cell]:
    """x varies fastest, then y, then z. `base`: request fields. Raises BadRequest for a bad cell."""
    if not 1 <= len(axes) <= len(NAMES):
        raise BadRequest(f"A grid has 1 to {len(NAMES)} axes, not {len(axes)}.", field="axes")
    twice = {axis.field for axis in axes if [one.field for one in axes].count(axis.field) > 1}
    if twice - {"prompt"}:
        raise BadRequest(f"{sorted(twice)[0]} is on two axes.", field="axes")
    total = 1
    for axis in axes:
        total *= len(axis.values)
    if total > MAX_CELLS:
        raise BadRequest(f"The grid has {total} cells; at most {MAX_CELLS} fit.", field="axes")
    cells: list[Cell] = []
    for backwards in itertools.product(*(range(len(axis.values)) for axis in reversed(axes))):
        at = tuple(reversed(backwards))
        asked: dict[str, Any] = dict(base)
        for axis, index in zip(axes, at, strict=True):
            _set(asked, axis, index)
        labels = tuple(axis.labels[index] for axis, index in zip(axes, at, strict=True))
        cells.append(Cell(at, labels, parse(GenerationRequest, asked)))
    return cells


def _set(asked: dict[str, Any], axis: Axis, index: int) -> None:
    value = axis.values[index]
    if axis.field == "prompt":
        _search_and_replace(asked, str(axis.values[0]), str(value))
    elif axis.field == "size":
        width, sign, height = str(value).lower().partition("x")
        if not (width.strip().isdecimal() and height.strip().isdecimal() and sign):
            raise BadRequest(f"{value!r} is no size.", hint="Write 128x128.", field="axes")
        asked["width"], asked["height"] = int(width), int(height)
    elif axis.field.startswith("control_"):
        asked["control"] = {**(asked.get("control") or {}), axis.field.removeprefix("control_"): value}
    elif axis.field.startswith("lora:"):
        name = axis.field.removeprefix("lora:")
        others = [one for one in asked.get("loras") or () if one["name"] != name]
        asked["loras"] = [*others, {"name": name, "weight": value}]
    else:
        asked[axis.field] = value


def _search_and_replace(asked: dict[str, Any], searched: str, value: str) -> None:
    both = ("prompt", "negative_prompt")
    if not any(searched in (asked.get(name) or "") for name in both):
        raise BadRequest(
            f"{searched[:80]!r} is in neither prompt.",
            hint="The first value of a prompt axis is the text that the others replace.",
            field="axes",
        )
    for name in both:
        if asked.get(name):
            asked[name] = asked[name].replace(searched, value)


def matrix(prompt: str) -> list[str]:
    """'a mug|red|glossy' as every combination of its parts: the first always, the others with and without."""
    first, *others = [part.strip() for part in prompt.split("|")]
    if 2 ** len(others) > MAX_CELLS:
        raise BadRequest(
            f"{len(others)} optional parts make {2 ** len(others)} prompts; at most {MAX_CELLS} fit.",
            field="prompt",
        )
    kept = itertools.product((False, True), repeat=len(others))
    return [
        ", ".join([first, *(part for part, used in zip(others, chosen, strict=True) if used)])
        for chosen in kept
    ]
