"""A brand file read into a Preset; each mistake named with its line and column."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from studio.catalog import SCHEDULERS
from studio.errors import BadRequest, PresetInvalid
from studio.presets import kit
from studio.presets.kit import Logo, Policies
from studio.presets.readers import choice, entries, known, number, text
from studio.presets.yaml_nodes import Node, read_nodes, refuse
from studio.schema import GenerationRequest, LoraRef, nearest_names, parse

VERSION = 1
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
LANGUAGES = ("en", "zh")
SETTINGS = ("model", "negative_prompt", "scheduler", "steps", "guidance", "width", "height", "loras")
LOCKABLE = (*SETTINGS, "background")
MAX_WORD = 80  # characters of a banned or required word


@dataclass(frozen=True)
class Preset:
    """`prompt`: frame with one `{prompt}`. None = left to the request, else to the model.

    `locked`: settings of the preset that win over the request's; the others fill what it left out.
    `background` locks the scene: a request's own "on a ... background" gives way to the frame's.
    `palette`: '#RRGGBB' by name; `roles`: what a colour is for, by the same names. `fonts`: names by role.
    `sizes`: (width, height) in px by channel. `samples`: files in the folder `samples` beside the preset.
    `banned`, `required`: words that a prompt must not, or must, hold with it.
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
    roles: Mapping[str, str] = field(default_factory=dict)
    fonts: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    samples: tuple[str, ...] = ()
    policies: Policies = Policies()
    locked: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    logo: Logo | None = None
    banned: tuple[str, ...] = ()
    required: tuple[str, ...] = ()

    def size_for(self, channel: str) -> tuple[int, int] | None:
        """(width, height) in px that the brand has for a channel; case and spaces around it do not count."""
        wanted = channel.strip().casefold()
        return next((size for name, size in self.sizes.items() if name.casefold() == wanted), None)


def read_preset(data: bytes, stem: str) -> Preset:
    """`stem`: file name without suffix; the preset's name must be the same. Raises PresetInvalid."""
    root = read_nodes(data)
    if not isinstance(root.value, dict):
        raise refuse("a brand file is a list of names with values.", root)
    known(root.value, ("version", *READERS))
    version = root.value.get("version")
    if version is None or version.value != str(VERSION):
        said = "no version" if version is None else f"version {text(version)}"
        raise refuse(f"{said}; supported: {VERSION}.", version or root, f"Write version: {VERSION}.")
    values = {name: READERS[name](node) for name, node in root.value.items() if name != "version"}
    if "palette" in values:
        values["roles"] = kit.read_roles(root.value["palette"])
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


def _languages(node: Node) -> dict[str, str]:
    if isinstance(node.value, str):
        return {"en": text(node)}
    found = entries(node, dict, "a text, or one for each of en and zh,")
    known(found, LANGUAGES)
    return {language: text(one) for language, one in found.items()}


def _frame(node: Node) -> str:
    frame = text(node)
    if frame.count("{prompt}") != 1:
        raise refuse("the frame must hold {prompt} once.", node, "For example: '{prompt}, studio light'.")
    return frame


def _scheduler(node: Node) -> str:
    return choice(node, SCHEDULERS, "scheduler")


def _loras(node: Node) -> tuple[LoraRef, ...]:
    found: list[LoraRef] = []
    for item in entries(node, list, "a list of LoRAs"):
        row = entries(item, dict, "a LoRA with name and weight")
        known(row, ("name", "weight"))
        if "name" not in row:
            raise refuse("the LoRA has no name.", item)
        weight = number(float, "a number")(row["weight"]) if "weight" in row else 1.0
        try:
            found.append(parse(LoraRef, {"name": text(row["name"]), "weight": weight}))
        except BadRequest as error:
            raise refuse(error.message, row[error.field or "name"], error.hint) from None
    return tuple(found)


def _locked(node: Node) -> tuple[str, ...]:
    names: list[str] = []
    for item in entries(node, list, "a list of settings"):
        name = text(item)
        if name not in LOCKABLE:
            raise refuse(f"{name[:80]!r} cannot be locked.", item, nearest_names(name, LOCKABLE))
        names.append(name)
    return tuple(names)


def _examples(node: Node) -> tuple[str, ...]:
    return tuple(text(item) for item in entries(node, list, "a list of prompts"))


def _words(node: Node) -> tuple[str, ...]:
    """Words and phrases for `studio.safety.rules`."""
    words = []
    for item in entries(node, list, "a list of words"):
        word = text(item)
        if not any(letter.isalnum() for letter in word) or len(word) > MAX_WORD:
            raise refuse(f"{word[:40]!r} is no word.", item, f"Write 1 to {MAX_WORD} letters.")
        words.append(word)
    return tuple(words)


READERS: Mapping[str, Callable[[Node], Any]] = {
    "name": text,
    "title": _languages,
    "description": _languages,
    "prompt": _frame,
    "negative_prompt": text,
    "model": text,
    "scheduler": _scheduler,
    "steps": number(int, "a whole number"),
    "guidance": number(float, "a number"),
    "width": number(int, "a whole number"),
    "height": number(int, "a whole number"),
    "loras": _loras,
    "palette": kit.read_palette,
    "fonts": kit.read_fonts,
    "sizes": kit.read_sizes,
    "samples": kit.read_samples,
    "policies": kit.read_policies,
    "locked": _locked,
    "examples": _examples,
    "logo": kit.read_logo,
    "banned": _words,
    "required": _words,
}
