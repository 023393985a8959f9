"""X/Y/Z grids: one request varied along up to three axes, each cell a request of its own."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic.fields import FieldInfo

from studio.errors import BadRequest
from studio.schema import (
    HANDLING,
    Control,
    Frozen,
    GenerationRequest,
    Product,
    Refiner,
    nearest_names,
    parse,
)

MAX_CELLS = 1_000
MAX_VALUES = 200  # of one axis
NAMES = ("x", "y", "z")
MATRIX = "matrix"  # parts that are added to the prompt, or not
NOTHING = "(none)"  # label of a cell without any of them
NESTED: Mapping[str, type[Frozen]] = {"control": Control, "refiner": Refiner, "product": Product}
APART = {"loras", *NESTED, *HANDLING}
NUMBER = r"([+-]?\d+(?:\.\d+)?)"
RANGE = re.compile(rf"{NUMBER}\s*-\s*{NUMBER}(?:\s*\(\s*{NUMBER}\s*\)|\s*\[\s*(\d+)\s*\])?")


def _kind(row: FieldInfo) -> type:
    types = (row.annotation, *get_args(row.annotation))
    return next((kind for kind in (bool, int, float) if kind in types), str)


# What can be varied, with the kind of its values: every field of a request, `control_low` for one within.
FIELDS: Mapping[str, type] = {
    **{name: _kind(row) for name, row in GenerationRequest.model_fields.items() if name not in APART},
    "size": str,
    **{
        f"{owner}_{name}": _kind(row)
        for owner, shape in NESTED.items()
        for name, row in shape.model_fields.items()
    },
}


@dataclass(frozen=True)
class Axis:
    """`field`: one of FIELDS; `lora:NAME` for that style's weight; `prompt`: the first value is looked for in
    the prompt and replaced by each; MATRIX: each is added to it. `values`: numbers or texts."""

    field: str
    values: tuple[Any, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        name = self.field.removeprefix("lora:")
        texts = [f"{value:g}" if isinstance(value, float) else str(value) for value in self.values]
        if self.field == MATRIX:
            return tuple(text or NOTHING for text in texts)
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
        values += _values(field, part)
        if len(values) > MAX_VALUES:
            raise BadRequest(f"The axis {field} has more than {MAX_VALUES} values.", field="axes")
    if not values:
        raise BadRequest(f"The axis {field} has no values.", hint="Write 10, 20, 30.", field="axes")
    return Axis(field, tuple(values))


def _values(field: str, part: str) -> list[Any]:
    kind = FIELDS.get(field, float)  # what is no field is a style's weight
    if kind is bool:
        said = {"true": True, "false": False, "on": True, "off": False}.get(part.casefold())
        if said is None:
            raise BadRequest(f"{field}: {part[:40]!r} is neither on nor off.", field="axes")
        return [said]
    return [part] if kind is str else _numbers(field, part, kind)


def _numbers(field: str, part: str, kind: type) -> list[Any]:
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
    if twice - {"prompt", MATRIX}:
        raise BadRequest(f"{sorted(twice)[0]} is on two axes.", field="axes")
    total = 1
    for axis in axes:
        total *= len(axis.values)
    if total > MAX_CELLS:
        said = " x ".join(str(len(axis.values)) for axis in axes)
        raise BadRequest(
            f"{said} values make {total} pictures; at most {MAX_CELLS} fit.",
            hint="Take values out.", field="axes", code="too_many_cells",
        )  # fmt: skip
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
    elif axis.field == MATRIX:
        asked["prompt"] = ", ".join(filter(None, [asked["prompt"], value]))
    elif (owner := axis.field.partition("_")[0]) in NESTED:
        asked[owner] = {**(asked.get(owner) or {}), axis.field.removeprefix(f"{owner}_"): value}
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


def matrix_axes(prompt: str) -> tuple[str, list[Axis]]:
    """'a mug | red | glossy' as 'a mug' and axes of its other parts: every picture has the first, and each of
    the others with and without the rest. The earlier half of the parts goes along x, the later along y.

    Raises BadRequest: `bad_matrix` for nothing to combine, `too_many_cells`.
    """
    first, *others = [part.strip().strip(",").strip() for part in _split(prompt)]
    others = [part for part in others if part]
    if not first or not others:
        raise BadRequest(
            "A prompt matrix needs a first part and one to combine it with.",
            hint="Write a red mug | on a table | at night.", field="prompt", code="bad_matrix",
        )  # fmt: skip
    total = 2 ** len(others)
    if total > MAX_CELLS:
        most = MAX_CELLS.bit_length() - 1
        raise BadRequest(
            f"{len(others)} parts that may be there make {total} pictures; at most {MAX_CELLS} fit.",
            hint=f"{most} parts make {2**most}.", field="prompt", code="too_many_cells",
        )  # fmt: skip
    half = (len(others) + 1) // 2
    return first, [Axis(MATRIX, _subsets(parts)) for parts in (others[:half], others[half:]) if parts]


def _split(prompt: str) -> list[str]:
    """At each | that stands in no braces and behind no backslash."""
    parts, depth = [""], 0
    for token in re.findall(r"\\.|[{}|]|[^\\{}|]+|\\", prompt, re.DOTALL):
        depth = max(0, depth + (token == "{") - (token == "}"))
        if token == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += token
    return parts


def _subsets(parts: Sequence[str]) -> tuple[str, ...]:
    """None, the first, the second, both, the third ..."""
    return tuple(
        ", ".join(part for place, part in enumerate(parts) if chosen >> place & 1)
        for chosen in range(2 ** len(parts))
    )
