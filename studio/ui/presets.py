"""The presets as a list to pick from."""

from __future__ import annotations

from studio.presets import Preset
from studio.studio import Studio
from studio.ui.text import Text


def presets(studio: Studio, language: str) -> list[tuple[str, str]]:
    named = [(titled(preset, language), preset.name) for preset in studio.presets.list()]
    return [*named, (Text(language)("no_preset"), "")]


def titled(preset: Preset, language: str) -> str:
    return str(preset.title.get(language) or preset.title.get("en") or preset.name)


def first_preset(studio: Studio) -> str:
    names = [preset.name for preset in studio.presets.list()]
    return "plain" if "plain" in names else ""
