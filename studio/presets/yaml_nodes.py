"""YAML as text with positions: no tags, no aliases, no twins, no guessing of types.

YAML's own reading loses brand data in silence: `#FF6600` is a comment, `000000` is 0, `on` is true. So every
scalar stays the text that was typed, and who reads it says what it should be.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from studio.errors import PresetInvalid

MAX_BYTES = 64 * 2**10
MAX_DEPTH = 16
MAX_EVENTS = 2_000  # a rich brand has 150
MAX_BRACKETS = 64  # open at once, quoted ones included; the parser's time grows with their square

Events = Generator[Any, None, None]


@dataclass(frozen=True)
class Node:
    """`value`: text, a list of Node, or a dict of Node. `quoted`: a text in quotes. Lines, columns from 1."""

    value: Any
    line: int
    column: int
    quoted: bool = False


def refuse(
    message: str, at: Node | tuple[int, int], hint: str = "", code: str | None = None
) -> PresetInvalid:
    line, column = (at.line, at.column) if isinstance(at, Node) else at
    return PresetInvalid(f"Line {line}, column {column}: {message}", hint=hint, code=code)


def read_nodes(data: bytes) -> Node:
    """The one document in `data`. Raises PresetInvalid with line and column."""
    if len(data) > MAX_BYTES:
        raise PresetInvalid(f"The file has {len(data)} bytes; at most {MAX_BYTES} are read.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        at = (before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        raise refuse("the file is not UTF-8.", at, "Save it as UTF-8.") from None
    directive = re.search(r"(?m)^%", text)
    if directive is not None:
        line = text.count("\n", 0, directive.start()) + 1
        raise refuse("% directives are not read.", (line, 1), "Take the line out.")
    _check_brackets(text)
    events = _events(text)
    try:
        return _document(events)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        raise refuse(f"not YAML: {error.problem or error.context}.", at, "Indent with spaces.") from None
    except YAMLError as error:
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position) + 1
        at = (line, position - text.rfind("\n", 0, position))
        raise refuse("a character that YAML does not allow.", at) from None
    finally:
        events.close()


def _check_brackets(text: str) -> None:
    opened = 0
    for found in re.finditer(r"[\[\]{}]", text):
        opened += 1 if found[0] in "[{" else -1
        if opened > MAX_BRACKETS:
            line = text.count("\n", 0, found.start()) + 1
            at = (line, found.start() - text.rfind("\n", 0, found.start()))
            raise refuse(f"nested more than {MAX_DEPTH} deep.", at)


def _events(text: str) -> Events:
    """The parser's events, up to one too many."""
    for number, event in enumerate(YAML(typ="safe", pure=True).parse(text)):
        if number > MAX_EVENTS:
            raise refuse("too many entries.", _at(event), f"A brand file has at most {MAX_EVENTS} of them.")
        yield event


def _document(events: Events) -> Node:
    root: Node | None = None
    for event in events:
        kind = type(event).__name__
        if kind in ("StreamStartEvent", "StreamEndEvent", "DocumentEndEvent"):
            continue
        if kind == "DocumentStartEvent":
            if root is not None:
                raise refuse("a second document starts here; one brand is one file.", _at(event))
            continue
        root = _node(event, events, 1)
    if root is None:
        raise PresetInvalid("The file is empty.", hint="Start from one of the shipped presets.")
    return root


def _node(event: Any, events: Events, depth: int) -> Node:
    kind, at = type(event).__name__, _at(event)
    if kind == "AliasEvent" or getattr(event, "anchor", None):
        raise refuse("anchors and aliases are not read.", at, "Write the value out.", "alias_not_allowed")
    if getattr(event, "tag", None):
        raise refuse("tags are not read.", at, "Take the !tag out.", "tag_not_allowed")
    if depth > MAX_DEPTH:
        raise refuse(f"nested more than {MAX_DEPTH} deep.", at)
    if kind == "ScalarEvent":
        return Node(str(event.value), *at, quoted=event.style in ("'", '"', "|", ">"))
    if kind == "SequenceStartEvent":
        return Node(list(_items(events, depth)), *at)
    return Node(_mapping(events, depth), *at)


def _items(events: Events, depth: int) -> Generator[Node, None, None]:
    for event in events:
        if type(event).__name__ == "SequenceEndEvent":
            return
        yield _node(event, events, depth + 1)


def _mapping(events: Events, depth: int) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for event in events:
        if type(event).__name__ == "MappingEndEvent":
            break
        key = _node(event, events, depth + 1)
        if not isinstance(key.value, str):
            raise refuse("a name must be one word.", key)
        if key.value in found:
            raise refuse(f"{key.value[:80]!r} is given twice.", key, code="duplicate_key")
        found[key.value] = _node(next(events), events, depth + 1)
    return found


def _at(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1
