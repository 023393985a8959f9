"""Single values of a brand file: each read as what it should be, each refusal with its line and column."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from studio.presets.yaml_nodes import Node, refuse
from studio.schema import nearest_names

MAX_TEXT = 2_000  # characters
MAX_ENTRIES = 32  # colours, examples, words, sizes


def text(node: Node) -> str:
    if not isinstance(node.value, str):
        raise refuse("a text was expected.", node)
    if len(node.value) > MAX_TEXT:
        raise refuse(f"{len(node.value)} characters; at most {MAX_TEXT} fit.", node)
    return node.value


def number(kind: Callable[[str], Any], word: str) -> Callable[[Node], Any]:
    def read(node: Node) -> Any:
        try:
            return kind(text(node))
        except ValueError:
            raise refuse(f"{word} was expected, not {text(node)[:40]!r}.", node) from None

    return read


def label(node: Node, most: int) -> str:
    """A short text with something in it, such as a name that is shown."""
    found = text(node).strip()
    if not found or len(found) > most or not found.isprintable():
        raise refuse(f"{found[:40]!r} is no name.", node, f"Write 1 to {most} characters in one line.")
    return found


def choice(node: Node, choices: Iterable[str], word: str) -> str:
    """One of `choices`; `word` names their kind."""
    found, known = text(node), tuple(choices)
    if found not in known:
        raise refuse(f"no {word} {found[:40]!r}.", node, nearest_names(found, known))
    return found


def entries(node: Node, kind: type[list[Any]] | type[dict[str, Any]], word: str) -> Any:
    if not isinstance(node.value, kind):
        raise refuse(f"{word} was expected.", node)
    if len(node.value) > MAX_ENTRIES:
        raise refuse(f"{len(node.value)} entries; at most {MAX_ENTRIES} fit.", node)
    return node.value


def known(found: Mapping[str, Node], names: Iterable[str]) -> None:
    for name, node in found.items():
        if name not in names:
            close = difflib.get_close_matches(name, list(names), n=1)
            hint = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(names)}."
            raise refuse(f"{name[:80]!r} is not known.", at_name(name, node), hint, "unknown_key")


def at_name(name: str, node: Node) -> tuple[int, int]:
    """(line, column) of the name that stands before a value on its line."""
    return node.line, max(1, node.column - len(name) - 2)
