"""A brand file read into a Preset; each mistake named with its line and column."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from studio.catalog import LOGO_POSITIONS, SCHEDULERS
from studio.errors import BadRequest, PresetInvalid
from studio.presets.yaml_nodes import Node, read_nodes, refuse
from studio.schema import GenerationRequest, LoraRef, nearest_names, parse

VERSION = 1
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}\.png")
LOGO_RANGES = {"width": (0.03, 0.6), "clear": (0.0, 3.0)}
LANGUAGES = ("en", "zh")
SETTINGS = ("model", "negative_prompt", "scheduler", "steps", "guidance", "width", "height", "loras")
LOCKABLE = (*SETTINGS, "background")
MAX_TEXT = 2_000  # characters
MAX_ENTRIES = 32  # colours, examples, words
MAX_WORD = 80  # characters of a banned or required word


@dataclass(frozen=True)
class Logo:
    """Laid over the copies that clients get. `light`, `dark`: files in the folder `logos` beside the preset.

    `width`: share of the picture's. `clear`: space to the edges in heights of the logo.
    """

    light: str
    dark: str
    position: str = "bottom-right"
    width: float = 0.2
    clear: float = 0.5


@dataclass(frozen=True)
class Preset:
    """`prompt`: frame with one `{prompt}`. None = left to the request, else to the model.

    `locked`: settings of the preset that win over the request's; the others fill what it left out.
    `background` locks the scene: a request's own "on a ... background" gives way to the frame's.
    `palette`: '#RRGGBB' by role. `banned`, `required`: words that a prompt must not, or must, hold with it.
    """

    name: str
    title: Mapping[str, str]
    description: Mapping[str, str] = field(default_factory=dict)
    prompt: str = "{prompt}"
    negative_prompt: str | None = None
    model: str | None = None
    scheduler: str | None = None
    steps: int | None = None
    guidance: float | None = None
    width: int | None = None
    height: int | None = None
    loras: tuple[LoraRef, ...] | None = None
    palette: Mapping[str, str] = field(default_factory=dict)
    locked: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    logo: Logo | None = None
    banned: tuple[str, ...] = ()
    required: tuple[str, ...] = ()


def read_preset(data: bytes, stem: str) -> Preset:
    """`stem`: file name without suffix; the preset's name must be the same. Raises PresetInvalid."""
    root = read_nodes(data)
    if not isinstance(root.value, dict):
        raise refuse("a brand file is a list of names with values.", root)
    _known(root.value, ("version", *READERS))
    version = root.value.get("version")
    if version is None or version.value != str(VERSION):
        said = "no version" if version is None else f"version {_text(version)}"
        raise refuse(f"{said}; supported: {VERSION}.", version or root, f"Write version: {VERSION}.")
    values = {name: READERS[name](node) for name, node in root.value.items() if name != "version"}
    if values.setdefault("name", stem) != stem:
        raise refuse(
            f"name {values['name']} and file name {stem[:80]} differ.",
            root.value["name"],
            "Make them the same.",
        )
    if NAME.fullmatch(stem) is None:
        raise PresetInvalid(
            f"{stem[:80]!r} cannot be a preset's name.", hint="Small letters, digits and dashes, at most 64."
        )
    values.setdefault("title", {"en": stem})
    _check(root.value, values)
    return Preset(**values)


def _check(nodes: Mapping[str, Node], values: Mapping[str, Any]) -> None:
    """What only shows when the settings are seen together, and the limits every request has."""
    for one, name in zip(
        nodes["locked"].value if "locked" in nodes else (), values.get("locked", ()), strict=True
    ):
        if name != "background" and name not in values:
            raise refuse(f"{name} is locked but not set.", one, f"Set {name}, or take it out of locked.")
    settings = {name: values[name] for name in SETTINGS if name in values}
    if "loras" in settings:
        settings["loras"] = [lora.model_dump() for lora in settings["loras"]]
    try:
        parse(GenerationRequest, {"prompt": "x", **settings})
    except BadRequest as error:
        raise refuse(error.message, nodes[(error.field or "").split(".")[0]], error.hint) from None


def _text(node: Node) -> str:
    if not isinstance(node.value, str):
        raise refuse("a text was expected.", node)
    if len(node.value) > MAX_TEXT:
        raise refuse(f"{len(node.value)} characters; at most {MAX_TEXT} fit.", node)
    return node.value


def _number(kind: Callable[[str], Any], word: str) -> Callable[[Node], Any]:
    def read(node: Node) -> Any:
        try:
            return kind(_text(node))
        except ValueError:
            raise refuse(f"{word} was expected, not {_text(node)[:40]!r}.", node) from None

    return read


def _entries(node: Node, kind: type[list[Any]] | type[dict[str, Any]], word: str) -> Any:
    if not isinstance(node.value, kind):
        raise refuse(f"{word} was expected.", node)
    if len(node.value) > MAX_ENTRIES:
        raise refuse(f"{len(node.value)} entries; at most {MAX_ENTRIES} fit.", node)
    return node.value


def _known(found: Mapping[str, Node], names: Iterable[str]) -> None:
    for name, node in found.items():
        if name not in names:
            close = difflib.get_close_matches(name, list(names), n=1)
            hint = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(names)}."
            at = (node.line, max(1, node.column - len(name) - 2))
            raise refuse(f"{name[:80]!r} is not known.", at, hint, "unknown_key")


def _languages(node: Node) -> dict[str, str]:
    if isinstance(node.value, str):
        return {"en": _text(node)}
    found = _entries(node, dict, "a text, or one for each of en and zh,")
    _known(found, LANGUAGES)
    return {language: _text(text) for language, text in found.items()}


def _frame(node: Node) -> str:
    frame = _text(node)
    if frame.count("{prompt}") != 1:
        raise refuse("the frame must hold {prompt} once.", node, "For example: '{prompt}, studio light'.")
    return frame


def _scheduler(node: Node) -> str:
    name = _text(node)
    if name not in SCHEDULERS:
        raise refuse(f"no scheduler {name[:80]!r}.", node, nearest_names(name, SCHEDULERS))
    return name


def _loras(node: Node) -> tuple[LoraRef, ...]:
    found: list[LoraRef] = []
    for item in _entries(node, list, "a list of LoRAs"):
        row = _entries(item, dict, "a LoRA with name and weight")
        _known(row, ("name", "weight"))
        if "name" not in row:
            raise refuse("the LoRA has no name.", item)
        weight = _number(float, "a number")(row["weight"]) if "weight" in row else 1.0
        try:
            found.append(parse(LoraRef, {"name": _text(row["name"]), "weight": weight}))
        except BadRequest as error:
            raise refuse(error.message, row[error.field or "name"], error.hint) from None
    return tuple(found)


def _palette(node: Node) -> dict[str, str]:
    return {
        role[:80]: _colour(colour) for role, colour in _entries(node, dict, "a colour for each role").items()
    }


def _colour(node: Node) -> str:
    colour = _text(node)
    if not colour and not node.quoted:
        raise refuse("colour missing: a bare # starts a comment.", node, "Quote it as '#FF6600'.")
    if not node.quoted:
        raise refuse(f"colour {colour[:40]} is not quoted.", node, "Quote it as '#FF6600'.")
    if COLOUR.fullmatch(colour) is None:
        raise refuse(f"{colour[:40]!r} is no colour.", node, "Write six hex digits: '#FF6600'.")
    return colour.upper()


def _locked(node: Node) -> tuple[str, ...]:
    names: list[str] = []
    for item in _entries(node, list, "a list of settings"):
        name = _text(item)
        if name not in LOCKABLE:
            raise refuse(f"{name[:80]!r} cannot be locked.", item, nearest_names(name, LOCKABLE))
        names.append(name)
    return tuple(names)


def _examples(node: Node) -> tuple[str, ...]:
    return tuple(_text(item) for item in _entries(node, list, "a list of prompts"))


def _words(node: Node) -> tuple[str, ...]:
    """Words and phrases for `studio.safety.rules`."""
    words = []
    for item in _entries(node, list, "a list of words"):
        word = _text(item)
        if not any(letter.isalnum() for letter in word) or len(word) > MAX_WORD:
            raise refuse(f"{word[:40]!r} is no word.", item, f"Write 1 to {MAX_WORD} letters.")
        words.append(word)
    return tuple(words)


def _logo(node: Node) -> Logo:
    found = _entries(node, dict, "a logo with light, dark, position, width and clear")
    _known(found, Logo.__dataclass_fields__)
    values: dict[str, Any] = {}
    for name, one in found.items():
        if name in ("width", "clear"):
            values[name] = _number(float, "a number")(one)
            least, most = LOGO_RANGES[name]
            if not least <= values[name] <= most:
                raise refuse(f"{name} is from {least:g} to {most:g}.", one)
            continue
        values[name] = _text(one)
        if name == "position" and values[name] not in LOGO_POSITIONS:
            hint = nearest_names(values[name], LOGO_POSITIONS)
            raise refuse(f"no position {values[name][:40]!r}.", one, hint)
        if name in ("light", "dark") and FILE.fullmatch(values[name]) is None:
            raise refuse(f"{values[name][:40]!r} is no PNG file's name.", one, "Write logo.png.")
    missing = [name for name in ("light", "dark") if name not in values]
    if missing:
        said = f"the logo has no {' and no '.join(missing)} version."
        raise refuse(said, node, "The same file may be both.")
    return Logo(**values)


READERS: Mapping[str, Callable[[Node], Any]] = {
    "name": _text,
    "title": _languages,
    "description": _languages,
    "prompt": _frame,
    "negative_prompt": _text,
    "model": _text,
    "scheduler": _scheduler,
    "steps": _number(int, "a whole number"),
    "guidance": _number(float, "a number"),
    "width": _number(int, "a whole number"),
    "height": _number(int, "a whole number"),
    "loras": _loras,
    "palette": _palette,
    "locked": _locked,
    "examples": _examples,
    "logo": _logo,
    "banned": _words,
    "required": _words,
}
