"""Palette on the Library tab: a picture's score with its swatches, and the shelf sorted by it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import gradio as gr

from studio.brand.palette import PaletteScore
from studio.errors import StudioError
from studio.presets import Preset
from studio.schema import ImageRow
from studio.studio import Studio
from studio.ui import stage
from studio.ui.form import Page
from studio.ui.html import Markup, element, picture_url
from studio.ui.presets import titled
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
                return drawn(t, image, studio.presets.get(name), studio.palette_score(image.id, name)[1])
        except StudioError:
            continue
    return None


def drawn(t: Text, image: ImageRow, preset: Preset, found: PaletteScore) -> Markup:
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
            element("span", t("palette_score", title=titled(preset, t.language))),
            element("b", f"{found.score:.0f}"),
            element("div", *bars, class_="palette-bar"),
        ),
        element("ul", *rows),
        nearer(t, image, preset.name),
        class_="palette-card",
        data_score=found.score,
    )


def nearer(t: Text, image: ImageRow, preset: str) -> Markup:
    """The picture recoloured, beside itself; made only when somebody looks."""
    address = f"/api/v1/palette/{image.id}/recoloured?preset={quote(preset)}"
    before, after = (picture_url(image.id), t("palette_before")), (address, t("palette_after"))
    link = element(
        "a", t("download"), href=address, download=f"{image.seed}-{image.id[:8]}-{preset}.png", class_="soft"
    )
    return element(
        "details",
        element("summary", t("palette_nearer")),
        stage.compare(t, before, after, image.width, image.height, lazy=True),
        element("div", link, class_="acts"),
        class_="nearer",
    )
