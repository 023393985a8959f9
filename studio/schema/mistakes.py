"""Data into a request or another shape; a mistake is told with its place, its range and the nearest name."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from studio.errors import BadRequest, InvalidJson
from studio.schema.requests import Control, LoraRef, Product, Refiner

M = TypeVar("M", bound=BaseModel)


def parse(kind: type[M], data: Any) -> M:
    """`data` (a dict of JSON, form or sheet) as `kind`. Raises BadRequest: the first mistake explained."""
    if not isinstance(data, Mapping):
        raise BadRequest(
            f"An object was expected, not {_name_of(data)}.",
            hint='Send {"prompt": "..."}.',
            code="not_an_object",
        )
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise explain(kind, error) from None


def parse_json(kind: type[M], body: bytes) -> M:
    """As `parse`, from bytes. Raises InvalidJson (with the position), also for a key given twice."""

    def no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for key, value in pairs:
            if key in seen:
                raise InvalidJson(f"The key {key!r} is given twice.", field=key, code="duplicate_key")
            seen[key] = value
        return seen

    try:
        data = json.loads(body, object_pairs_hook=no_twins)
    except json.JSONDecodeError as error:
        raise InvalidJson(
            f"Not JSON: {error.msg} at line {error.lineno}, column {error.colno}.",
            hint="Send one JSON object.",
        ) from None
    except UnicodeDecodeError as error:
        raise InvalidJson(f"Not UTF-8 at byte {error.start}.", hint="Send JSON as UTF-8.") from None
    except RecursionError:
        raise InvalidJson("Not a request: brackets are nested too deep.") from None
    except ValueError:  # Python refuses whole numbers of more than 4300 digits
        raise InvalidJson("Not a request: a number has more than 4300 digits.") from None
    return parse(kind, data)


def explain(kind: type[BaseModel], error: ValidationError) -> BadRequest:
    """The first mistake of a pydantic error as one sentence with the range and what to do."""
    mistakes = error.errors(include_url=False)
    # A misspelt field comes first: the one that is missing is mostly the same mistake.
    first = next((one for one in mistakes if one["type"] == "extra_forbidden"), mistakes[0])
    loc = first["loc"]
    path = ".".join(str(part) for part in loc)[:200]
    got, rule = first.get("input"), str(first["type"])
    owner = _owner(kind, loc)
    if rule == "extra_forbidden":
        names = list(owner.model_fields)
        close = difflib.get_close_matches(str(loc[-1])[:200], names, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"Known fields: {', '.join(names)}."
        return BadRequest(f"Unknown field {_shown(path)}.", field=path, hint=hint, code="unknown_field")
    if rule == "missing":
        needed = [name for name, row in owner.model_fields.items() if row.is_required()]
        hint = f"Required: {', '.join(needed)}."
        return BadRequest(f"{path} is required.", field=path, hint=hint, code="missing_field")
    context = first.get("ctx", {})
    if rule == "value_error":
        return BadRequest(f"{path or 'request'}: {context['error']}.", field=path or None)
    if rule.startswith("string_too") or rule == "too_long":
        return BadRequest(f"{path} {_length(got, context)}.", field=path, code="bad_length")
    if rule == "literal_error":
        return BadRequest(f"{path}: {_shown(got)} is not known; use {context['expected']}.", field=path)
    asked = owner.model_fields.get(str(loc[-1]))
    limits = _limits(asked) if asked is not None else {}
    wanted = _range(asked, limits) if asked is not None and "le" in limits else str(first["msg"])
    return BadRequest(f"{path}: {wanted}; got {_shown(got)}.", field=path, hint=_nearest(got, limits))


def _owner(kind: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """The model that the last name of `loc` is, or was meant to be, a field of."""
    nested: dict[str, type[BaseModel]] = {
        "loras": LoraRef, "control": Control, "refiner": Refiner, "product": Product,
    }  # fmt: skip
    return nested.get(str(loc[0]), kind) if len(loc) > 1 else kind


def _length(got: Any, context: Mapping[str, Any]) -> str:
    one, many = ("character", "characters") if isinstance(got, str) else ("entry", "entries")
    if "min_length" in context:
        least = context["min_length"]
        return f"is empty; at least {least} {one if least == 1 else many}"
    return f"has {len(got)} {many}; at most {context['max_length']} fit"


def _limits(row: FieldInfo) -> dict[str, Any]:
    return {
        key: getattr(rule, key)
        for rule in row.metadata
        for key in ("ge", "gt", "le", "multiple_of")
        if getattr(rule, key, None) is not None
    }


def _range(row: FieldInfo, limits: Mapping[str, Any]) -> str:
    types = get_args(row.annotation) or (row.annotation,)
    word = "a number" if float in types else "a whole number"
    if "multiple_of" in limits:
        word = f"a multiple of {limits['multiple_of']}"
    if limits.get("ge") == -1:
        return f"{word} from 0 to {limits['le']}, or -1 to draw one"
    if "gt" in limits:
        return f"{word} above {limits['gt']}, up to {limits['le']}"
    return f"{word} from {limits['ge']} to {limits['le']}"


def _nearest(got: Any, limits: Mapping[str, Any]) -> str:
    if "multiple_of" not in limits or type(got) is not int:
        return ""
    unit = limits["multiple_of"]
    below = min(max(got // unit * unit, limits["ge"]), limits["le"])
    above = min(max(-(-got // unit) * unit, limits["ge"]), limits["le"])
    return f"Nearest: {below} or {above}." if below != above else f"Nearest: {below}."


def _shown(got: Any) -> str:
    if isinstance(got, (Mapping, list, tuple)):  # may be huge or nested a thousand deep
        return _name_of(got)
    text = repr(got)
    return text if len(text) <= 60 else text[:57] + "..."


def _name_of(data: Any) -> str:
    words = {list: "a list", dict: "an object", str: "a text", type(None): "null"}
    return words.get(type(data), type(data).__name__)


def nearest_names(name: str, known: Iterable[str]) -> str:
    """'Did you mean euler, heun?' for a name that is not known; lists the first ones where none is near."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"Did you mean {', '.join(close)}?" if close else f"Known: {', '.join(names[:20]) or 'none yet'}."
