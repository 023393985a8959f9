"""Palette on the Library tab: a picture's score with its swatches, and the shelf sorted by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from studio.brand.palette import PaletteScore
from studio.errors import StudioError
from studio.schema import ImageRow
from studio.studio import Studio
from studio.ui.form import Page
from studio.ui.html import Markup, element
from studio.ui.text import Text

LEAST = (0, 50, 70, 85, 95)  # scores to filter by


def build(page: Page) -> dict[str, Any]:
    """Sorts the shelf by how well pictures keep to the palette of the page's preset."""
    t = page.t
    choices = [(t("palette_off"), -1), (t("palette_sort"), 0)]
    choices += [(t("palette_least", score=score), score) for score in LEAST[1:]]
    return {
        "palette": gr.Dropdown(
            choices, value=-1, label=t("palette_order"), filterable=False, elem_id="library-palette"
        )
    }


def ranked(studio: Studio, preset: str, least: float, search: str) -> list[ImageRow]:
    """Best first. A preset without a palette asks for nothing: newest first."""
    try:
        return [row for row, _ in studio.by_palette(preset, least, search)]
    except StudioError:
        return studio.images(search)


def card(t: Text, studio: Studio, image: ImageRow, preset: str) -> Markup | None:
    """Score and swatches against the picture's own preset, else the page's; None without any palette."""
    for name in (image.request.preset, preset):
        try:
            if name and studio.presets.get(name).palette:
                return drawn(t, name, studio.palette_score(image.id, name)[1], studio.presets.get(name).title)
        except StudioError:
            continue
    return None


def drawn(t: Text, preset: str, found: PaletteScore, title: Mapping[str, str]) -> Markup:
    name = title.get(t.language) or title.get("en") or preset
    bars = [
        element(
            "i",
            style=f"background:{one.colour};flex:{one.share:.3f}",
            title=t(
                "palette_swatch",
                colour=one.colour,
                share=f"{one.share:.0%}",
                role=one.role,
                nearest=one.nearest,
                distance=f"{one.distance:.1f}",
            ),
        )  # fmt: skip
        for one in found.swatches
    ]
    rows = [
        element(
            "li",
            element("i", style=f"background:{one.colour}", class_="swatch"),
            element("i", style=f"background:{one.nearest}", class_="swatch"),
            element("span", f"{one.share:.0%}"),
            element("span", t("palette_free") if one.neutral else one.role),
            element("span", f"ΔE {one.distance:.1f}"),
        )
        for one in found.swatches
    ]
    return element(
        "details",
        element(
            "summary",
            element("span", t("palette_score", title=name)),
            element("b", f"{found.score:.0f}"),
            element("div", *bars, class_="palette-bar"),
        ),
        element("ul", *rows),
        class_="palette-card",
        data_score=found.score,
    )
