"""Grids from Create, on one labelled sheet: values along up to three axes, or a prompt's parts combined."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr

from studio.brand.grid import NAMES, read_axis
from studio.campaigns import CampaignView
from studio.errors import BadRequest
from studio.schema import GenerationRequest
from studio.studio import Studio
from studio.ui import stage
from studio.ui.html import Markup, element
from studio.ui.text import Text

LOOK = 0.5  # s between two looks


def build(t: Text, studio: Studio) -> dict[str, Any]:
    """A field and its values for each axis, and the switch of the prompt matrix."""
    named = ("scheduler", "steps", "guidance", "seed", "size", "strength", "model", "preset")
    words = [(t("axis_none"), ""), (t("axis_prompt"), "prompt")]
    words += [(t(f"axis_{name}"), name) for name in named]
    styles = [(f"LoRA {row.title}", f"lora:{row.name}") for row in studio.models.loras() if not row.problem]
    found: dict[str, Any] = {}
    with gr.Accordion(t("grid"), open=False, elem_id="create-grid"):
        found["matrix"] = gr.Checkbox(
            False, label=t("matrix"), info=t("matrix_info"), elem_id="create-matrix", container=False
        )
        for name in NAMES:
            with gr.Row(elem_classes=["axis"]):
                found[f"{name}_field"] = gr.Dropdown(
                    [*words, *styles], value="", label=t("axis", name=name.upper()), allow_custom_value=True,
                    elem_id=f"create-axis-{name}", min_width=120, scale=2,
                )  # fmt: skip
                found[f"{name}_values"] = gr.Textbox(
                    label=t("axis_values"), placeholder=t(f"axis_values_{name}"), max_length=2000, lines=1,
                    elem_id=f"create-values-{name}", min_width=120, scale=3,
                )  # fmt: skip
    return found


def wanted(data: Mapping[Any, Any], parts: Mapping[str, Any]) -> bool:
    return bool(data[parts["matrix"]] or any(_axes(data, parts)))


def start(
    studio: Studio, request: GenerationRequest, data: Mapping[Any, Any], parts: Mapping[str, Any]
) -> str:
    """Id of the campaign it runs as. Raises what `create_grid`, `create_matrix` and `read_axis` do."""
    axes = [read_axis(field, values) for field, values in _axes(data, parts)]
    if not data[parts["matrix"]]:
        return studio.campaigns.create_grid(request, axes, request.prompt[:120]).id
    if axes:
        raise BadRequest("A prompt matrix has no axes of its own.", hint="Empty X, Y and Z.", field="matrix")
    return studio.campaigns.create_matrix(request, "").id


def _axes(data: Mapping[Any, Any], parts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(field, values) of the axes that have a field; values without one say nothing."""
    typed = [(data[parts[f"{name}_field"]], data[parts[f"{name}_values"]]) for name in NAMES]
    return [(str(field), str(values or "")) for field, values in typed if field]


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
    save = element("a", t("download"), href=address, download=f"grid-{view.id[:8]}.png", class_="soft")
    return element(
        "section", stage.mat(picture, said), element("div", save, class_="acts"), class_="stage",
        data_grid=view.id,
    )  # fmt: skip
