"""A preset's palette as the colours of a room, bent as far as reading needs (WCAG 2.2: 4.5 to 1 for text)."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass

PLAIN = "#1F4E79"  # where a palette has no colour that can carry white text
PAPER = "#F7F6F3"
READABLE = 4.5
LIGHT = 0.75  # luminance from which a brand colour may be the ground under dark text
GREY = 0.18  # saturation below which a colour says nothing

Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Colours:
    """'#RRGGBB' each: `accent` bears white text and stands on `ground`; `strip`: the palette as it is."""

    accent: str
    ground: str
    strip: tuple[str, ...]


def colours_of(palette: Mapping[str, str]) -> Colours:
    strip = tuple(palette.values())
    light = [colour for colour in strip if luminance(colour) >= LIGHT]
    ground = max(light, key=luminance) if light else PAPER
    vivid = [colour for colour in strip if saturation(colour) >= GREY and luminance(colour) < LIGHT]
    return Colours(darkened(vivid[0] if vivid else PLAIN, ground), ground, strip)


def darkened(colour: str, ground: str) -> str:
    """`colour`, darker by as little as makes it readable under white and on `ground`."""
    hue, light, vivid = colorsys.rgb_to_hls(*rgb(colour))
    while light > 0 and min(contrast(colour, "#FFFFFF"), contrast(colour, ground)) < READABLE:
        light -= 0.01
        red, green, blue = colorsys.hls_to_rgb(hue, max(0.0, light), vivid)
        colour = f"#{round(red * 255):02X}{round(green * 255):02X}{round(blue * 255):02X}"
    return colour


def contrast(left: str, right: str) -> float:
    """1 to 21. Source: WCAG 2.2, contrast ratio."""
    bright, dark = sorted((luminance(left), luminance(right)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    """0 to 1. Source: WCAG 2.2, relative luminance."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def saturation(colour: str) -> float:
    return colorsys.rgb_to_hls(*rgb(colour))[2]


def rgb(colour: str) -> Rgb:
    """0 to 1 each."""
    return int(colour[1:3], 16) / 255, int(colour[3:5], 16) / 255, int(colour[5:7], 16) / 255
