"""A prompt matrix from Create: every combination of a prompt's parts, on one labelled sheet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from studio.campaigns import CampaignView
from studio.schema import GenerationRequest
from studio.studio import Studio
from studio.ui import stage
from studio.ui.html import Markup, element
from studio.ui.text import Text

LOOK = 0.5  # s between two looks


def switch(t: Text) -> Any:
    return gr.Checkbox(
        False, label=t("matrix"), info=t("matrix_info"), elem_id="create-matrix", container=False
    )


def start(studio: Studio, request: GenerationRequest) -> str:
    """Id of the campaign it runs as. Raises what `create_matrix` does."""
    return studio.campaigns.create_matrix(request, "").id


def follow(studio: Studio, t: Text, id: str) -> Iterator[Markup]:
    """What is to be seen, until it has ended."""
    while True:
        view = studio.campaigns.get(id)
        if view.state != "running":
            yield sheet(t, view)
            return
        yield running(t, view)
        time.sleep(LOOK)


def running(t: Text, view: CampaignView) -> Markup:
    share = 100 * view.finished / view.total if view.total else 0
    bar = element("div", element("i", style=f"width:{share:.0f}%"), class_="bar")
    said = t("matrix_running", done=view.finished, of=view.total)
    empty = element("div", class_="waiting sheet")
    return element("section", stage.mat(empty, said, bar), class_="stage")


def sheet(t: Text, view: CampaignView) -> Markup:
    lost = view.total - view.counts.get("done", 0)
    said = t("matrix_lost", lost=lost, of=view.total) if lost else t("matrix_done", of=view.total)
    address = f"/api/v1/campaigns/{view.id}/contact-sheet.png"
    picture = element("img", src=address, alt=view.name, class_="sheet")
    save = element("a", t("download"), href=address, download=f"matrix-{view.id[:8]}.png", class_="soft")
    return element(
        "section", stage.mat(picture, said), element("div", save, class_="acts"), class_="stage",
        data_matrix=view.id,
    )  # fmt: skip
