"""Schedulers: one prompt and one seed through any number of schedulers and step counts, in one batch."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.catalog import SCHEDULERS
from studio.errors import StudioError
from studio.schema import MAX_SEED, JobView, ResolvedRequest
from studio.studio import Studio
from studio.ui import stage
from studio.ui.form import Form, Page, examples, prompt_box, seed_fields
from studio.ui.html import Markup, element, picture_url
from studio.ui.parts import board
from studio.ui.run import AT_ONCE, QUIET, Updates, busy, buttons, cancel, idle, told
from studio.ui.text import Text

STEPS = (5, 10, 20, 30, 50)
FIRST = ("ddim", "pndm", "euler-ancestral", "dpmpp-2m", "unipc", "euler")
LOOK = 0.25  # seconds between two looks at the jobs


@dataclass(frozen=True)
class Cell:
    """One run of a comparison. `label`: scheduler key, or what else tells it from the others."""

    label: str
    job: JobView


def build(page: Page) -> dict[str, Any]:
    t = page.t
    with gr.Row(elem_classes=["desk"]):
        with gr.Column(elem_classes=["left"], min_width=0):
            prompt = prompt_box(page, "schedulers", lines=2)
            names = gr.CheckboxGroup(
                [(row.label, name) for name, row in SCHEDULERS.items()],
                value=list(FIRST),
                label=t("pick_schedulers"),
                elem_id="schedulers-names",
                elem_classes=["chips"],
            )
            steps = gr.CheckboxGroup(
                list(STEPS),
                value=[20],
                label=t("pick_steps"),
                elem_id="schedulers-steps",
                elem_classes=["chips"],
            )
            go, stop = buttons(t, "schedulers", t("compare", count=len(FIRST)))
            fields = seed_fields(page, "schedulers")
        with gr.Column(elem_classes=["right"], min_width=0):
            view = board(start_view(page, "schedulers"), elem_id="schedulers-stage")
            gr.HTML(guide(t), elem_id="schedulers-guide", apply_default_css=False)
    form = Form(page, {"prompt": prompt, **fields})
    return {
        "form": form,
        "names": names,
        "steps": steps,
        "go": go,
        "stop": stop,
        "view": view,
        "prompt": prompt,
        "job": gr.State(""),
    }


def start_view(page: Page, tab: str, preset: str = "") -> Markup:
    """What a comparing tab is for, with prompts to click."""
    t = page.t
    return stage.empty(t, t(f"{tab}_title"), t(f"{tab}_text"), examples(page.studio, preset))


def begin(page: Page, parts: Mapping[str, Any]) -> None:
    """A click on an example puts it into the tab's prompt."""

    def take(event: gr.EventData) -> Any:
        prompt = event._data.get("prompt")
        return str(prompt) if event._data.get("act") == "example" else gr.skip()

    parts["view"].select(take, None, parts["prompt"], **AT_ONCE)


def wire(page: Page) -> None:
    parts = page.parts["schedulers"]
    begin(page, parts)
    race = Race(page, parts)
    picks = [parts["names"], parts["steps"]]

    def count(names: Sequence[str], steps: Sequence[int]) -> Any:
        pictures = len(names) * len(steps)
        label = page.t("compare", count=pictures) if pictures else page.t("compare_none")
        return gr.update(value=label, interactive=pictures > 0)

    for pick in picks:
        pick.change(count, picks, parts["go"], **AT_ONCE)
    shown = [parts["view"], parts["go"], parts["stop"], parts["job"], parts["form"].fields["seed"]]
    parts["go"].click(race.generate, parts["form"].inputs(*picks), shown, **QUIET)
    parts["stop"].click(cancel(page.studio), parts["job"], None, **AT_ONCE)


class Race:
    """The handlers of Schedulers."""

    def __init__(self, page: Page, parts: Mapping[str, Any]) -> None:
        self.page, self.parts = page, parts
        self.studio, self.t = page.studio, page.t

    def generate(self, data: Mapping[Any, Any]) -> Iterator[Updates]:
        yield from told(self.t, self.parts, lambda: self.run(data))

    def run(self, data: Mapping[Any, Any]) -> Iterator[Updates]:
        """Submits every pair before looking at the first, so that the engine steps them in one batch."""
        parts, form = self.parts, self.parts["form"]
        pairs = [
            (name, int(steps)) for name in data[parts["names"]] for steps in sorted(data[parts["steps"]])
        ]
        kept = data[form.fields["seed"]] if data[form.fields["keep_seed"]] else None
        seed = random.randint(0, MAX_SEED) if kept is None else int(kept)
        cells: list[Cell] = []
        try:
            for name, steps in pairs:
                asked = form.read(data, seed=seed, count=1, scheduler=name, steps=steps)
                cells.append(Cell(name, self.studio.submit(asked)))
        except StudioError:
            cancel(self.studio)(" ".join(cell.job.id for cell in cells))
            raise
        yield busy(parts, " ".join(cell.job.id for cell in cells)) | {form.fields["seed"]: seed}
        for seen in look(self.studio, cells):
            yield {parts["view"]: grid(self.t, seen)}
        yield idle(parts)


def look(studio: Studio, cells: Sequence[Cell]) -> Iterator[list[Cell]]:
    """The cells again and again until every job is over."""
    seen: list[Cell] = list(cells)
    while True:
        seen = [cell if cell.job.final else Cell(cell.label, studio.job(cell.job.id)) for cell in seen]
        yield seen
        if all(cell.job.final for cell in seen):
            return
        time.sleep(LOOK)


def grid(t: Text, cells: Sequence[Cell]) -> Markup:
    request = cells[0].job.request
    tiles = [tile(t, cell, request) for cell in cells]
    caption = f"{t('seed_is', seed=request.seed)} · {request.width} × {request.height}"
    style = f"--w:{request.width};--h:{request.height}"
    return element(
        "section",
        element("div", *tiles, class_="tiles", style=style),
        element("p", caption, class_="caption last"),
        class_="stage",
    )


def tile(t: Text, cell: Cell, request: ResolvedRequest) -> Markup:
    label = SCHEDULERS[cell.label].label
    steps = t("cell_steps", steps=cell.job.request.steps)
    if cell.job.images:
        image = cell.job.images[0]
        inside: Markup | None = element("img", src=picture_url(image.id), alt=f"{label}, {steps}")
        note = t("took", seconds=f"{image.seconds:.1f}")
    elif cell.job.error:
        inside, note = None, str(cell.job.error.get("message", ""))
    elif cell.job.state == "running":
        share = f"{cell.job.progress:.0%}"
        inside, note = element("i", class_="fill", style=f"height:{share}"), share
    else:
        inside, note = None, t(f"state_{cell.job.state}")
    return element(
        "figure",
        element("div", inside, class_="view" if cell.job.images else "view waiting"),
        element("figcaption", element("b", label), element("span", f"{steps} · {note}")),
        data_scheduler=cell.label,
        data_steps=cell.job.request.steps,
    )


def guide(t: Text) -> Markup:
    """What each scheduler is good for, folded: read once."""
    head = element("tr", *(element("th", t(key)) for key in ("guide_name", "guide_steps", "guide_use")))
    rows = [
        element(
            "tr",
            element("th", row.label, scope="row"),
            element("td", f"{row.steps[0]}–{row.steps[1]}"),
            element("td", t.pick(row.advice, row.advice_zh)),
        )
        for row in SCHEDULERS.values()
    ]
    table = element("table", element("thead", head), element("tbody", *rows))
    return element("details", element("summary", t("guide")), table, class_="guide", open=True)
