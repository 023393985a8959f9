"""What makes a preset a brand kit: logo, colours with roles, fonts, sizes by channel, samples, policies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from studio.catalog import COLOUR_ROLES, LOGO_POSITIONS
from studio.errors import BadRequest
from studio.presets import readers
from studio.presets.readers import at_name, entries, known, text
from studio.presets.yaml_nodes import Node, refuse
from studio.schema import GenerationRequest, parse

COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
STEM = r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}"
LOGO = re.compile(rf"{STEM}\.png")
SAMPLE = re.compile(rf"{STEM}\.(?:png|jpg)")
SIZE = re.compile(r"(\d{1,5})\s*[xX×]\s*(\d{1,5})")
LOGO_RANGES = {"width": (0.03, 0.6), "clear": (0.0, 3.0)}
MAX_ROLE = 40  # characters of a font's role, a channel
MAX_FONT = 80  # characters of a font's name
MAX_SAMPLES = 12
HANDLING = ("flag", "blur", "block")  # as in rules.yaml, from the mildest
POLICIES: Mapping[str, tuple[str, ...]] = {
    "metadata": ("internal", "client"),
    "mark": ("on", "off"),
    "protected": HANDLING,
    "safety": HANDLING,
}


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
class Policies:
    """What the brand decides about its pictures; None = left to the studio.

    `metadata`: what a download holds unless it says. `mark`: the invisible mark in clients' copies.
    `protected`, `safety`: what is done when that check finds something; the studio's own wins where stricter.
    """

    metadata: Literal["internal", "client"] | None = None
    mark: bool | None = None
    protected: Literal["flag", "blur", "block"] | None = None
    safety: Literal["flag", "blur", "block"] | None = None

    @property
    def checks(self) -> dict[str, Literal["flag", "blur", "block"]]:
        """By the name of a check."""
        found = {"protected": self.protected, "safety": self.safety}
        return {name: value for name, value in found.items() if value is not None}

    def told(self) -> dict[str, str]:
        """Those that are set, as a brand file writes them."""
        mark = {True: "on", False: "off", None: None}[self.mark]
        found = {"metadata": self.metadata, "mark": mark, "protected": self.protected, "safety": self.safety}
        return {name: value for name, value in found.items() if value is not None}


def read_palette(node: Node) -> dict[str, str]:
    """'#RRGGBB' by name; a colour may also be {hex, role}, see `read_roles`."""
    found = entries(node, dict, "a colour for each name")
    return {name[:80]: _colour(_parts(one)["hex"]) for name, one in found.items()}


def read_roles(node: Node) -> dict[str, str]:
    """What colours are for, by their names; those that do not say are left out."""
    found = entries(node, dict, "a colour for each name")
    parts = {name[:80]: _parts(one) for name, one in found.items()}
    return {
        name: readers.choice(one["role"], COLOUR_ROLES, "role")
        for name, one in parts.items()
        if "role" in one
    }


def _parts(node: Node) -> Mapping[str, Node]:
    if not isinstance(node.value, dict):
        return {"hex": node}
    known(node.value, ("hex", "role"))
    if "hex" not in node.value:
        raise refuse("the colour has no hex.", node, "Write {hex: '#FF6600', role: primary}.")
    return node.value


def _colour(node: Node) -> str:
    colour = text(node)
    if not colour and not node.quoted:
        raise refuse("colour missing: a bare # starts a comment.", node, "Quote it as '#FF6600'.")
    if not node.quoted:
        raise refuse(f"colour {colour[:40]} is not quoted.", node, "Quote it as '#FF6600'.")
    if COLOUR.fullmatch(colour) is None:
        raise refuse(f"{colour[:40]!r} is no colour.", node, "Write six hex digits: '#FF6600'.")
    return colour.upper()


def read_fonts(node: Node) -> dict[str, str]:
    """Names of fonts by what they are for. They are shown; no file of a font is read."""
    found = entries(node, dict, "a font's name for each role")
    return {_name(role, one): readers.label(one, MAX_FONT) for role, one in found.items()}


def read_sizes(node: Node) -> dict[str, tuple[int, int]]:
    """(width, height) in px by channel, within the limits of every request."""
    sizes: dict[str, tuple[int, int]] = {}
    seen: set[str] = set()
    for channel, one in entries(node, dict, "a size for each channel").items():
        name = _name(channel, one)
        if name.casefold() in seen:
            raise refuse(
                f"channel {name[:40]!r} is given twice.", at_name(channel, one), code="duplicate_key"
            )
        seen.add(name.casefold())
        sizes[name] = _size(one)
    return sizes


def _size(node: Node) -> tuple[int, int]:
    found = SIZE.fullmatch(text(node).strip())
    if found is None:
        raise refuse(f"{text(node)[:40]!r} is no size.", node, "Write 1024x768: width x height in px.")
    width, height = int(found[1]), int(found[2])
    try:
        parse(GenerationRequest, {"prompt": "x", "width": width, "height": height})
    except BadRequest as error:
        raise refuse(error.message, node, error.hint) from None
    return width, height


def _name(name: str, node: Node) -> str:
    if not name.strip() or len(name) > MAX_ROLE or not name.isprintable():
        hint = f"Write 1 to {MAX_ROLE} characters."
        raise refuse(f"{name[:40]!r} is no name.", at_name(name, node), hint)
    return name.strip()


def read_samples(node: Node) -> tuple[str, ...]:
    """Files in the folder `samples` beside the preset: pictures that show the brand as it should be."""
    found = entries(node, list, "a list of picture files")
    if len(found) > MAX_SAMPLES:
        raise refuse(f"{len(found)} samples; at most {MAX_SAMPLES} fit.", node)
    names: list[str] = []
    for one in found:
        name = text(one)
        if SAMPLE.fullmatch(name) is None:
            raise refuse(
                f"{name[:40]!r} is no PNG or JPEG file's name.", one, "Write sample.png or sample.jpg."
            )
        if name in names:
            raise refuse(f"{name} is there twice.", one)
        names.append(name)
    return tuple(names)


def read_policies(node: Node) -> Policies:
    found = entries(node, dict, f"a list of {', '.join(POLICIES)}")
    known(found, POLICIES)
    values: dict[str, Any] = {name: readers.choice(one, POLICIES[name], name) for name, one in found.items()}
    if "mark" in values:
        values["mark"] = values["mark"] == "on"
    return Policies(**values)


def read_logo(node: Node) -> Logo:
    found = entries(node, dict, "a logo with light, dark, position, width and clear")
    known(found, Logo.__dataclass_fields__)
    values: dict[str, Any] = {}
    for name, one in found.items():
        if name in LOGO_RANGES:
            values[name] = readers.number(float, "a number")(one)
            least, most = LOGO_RANGES[name]
            if not least <= values[name] <= most:
                raise refuse(f"{name} is from {least:g} to {most:g}.", one)
        elif name == "position":
            values[name] = readers.choice(one, LOGO_POSITIONS, "position")
        else:
            values[name] = text(one)
            if LOGO.fullmatch(values[name]) is None:
                raise refuse(f"{values[name][:40]!r} is no PNG file's name.", one, "Write logo.png.")
    missing = [name for name in ("light", "dark") if name not in values]
    if missing:
        said = f"the logo has no {' and no '.join(missing)} version."
        raise refuse(said, node, "The same file may be both.")
    return Logo(**values)
