"""LoRA styles: stack them, and see each one's work beside the picture without it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from studio.catalog import FAMILIES
from studio.errors import StudioError
from studio.models import LoraRow
from studio.schema import DRAWN, GenerationRequest, JobView, parse
from studio.ui import stage, train
from studio.ui.form import Form, Page, lora_stack, prompt_box, seed_fields, shelf
from studio.ui.html import Markup, element, picture_url
from studio.ui.parts import board, stacked, unstacked
from studio.ui.run import AT_ONCE, QUIET, Updates, busy, buttons, cancel, idle, told
from studio.ui.schedulers import Cell, begin, look, start_view
from studio.ui.text import Text


def build(page: Page) -> dict[str, Any]:
    t = page.t
    with gr.Row(elem_classes=["desk"]):
        with gr.Column(elem_classes=["left"], min_width=0):
            prompt = prompt_box(page, "loras", lines=2)
            stack = lora_stack(page, "loras", prompt)
            go, stop = buttons(t, "loras", t("loras_run"))
            fields = seed_fields(page, "loras")
        with gr.Column(elem_classes=["right"], min_width=0):
            view = board(start_view(page, "loras"), elem_id="loras-stage")
            shelf_view = board(cards(t, shelf(page.studio)), elem_id="loras-shelf")
            add = gr.UploadButton(
                t("add_lora"),
                file_types=[".safetensors"],
                size="sm",
                elem_id="loras-add",
                elem_classes=["quiet"],
            )
            said = gr.HTML(Markup(""), elem_id="loras-said", apply_default_css=False)
    training = train.build(page)
    form = Form(page, {"prompt": prompt, "loras": stack, **fields})
    page.forms.append(form)
    return {
        "form": form,
        "go": go,
        "stop": stop,
        "view": view,
        "shelf": shelf_view,
        "add": add,
        "said": said,
        "stack": stack,
        "prompt": prompt,
        "job": gr.State(""),
        "training": training,
    }


def wire(page: Page) -> None:
    parts = page.parts["loras"]
    trial = Trial(page, parts)
    shown = [parts["view"], parts["go"], parts["stop"], parts["job"], parts["form"].fields["seed"]]
    parts["go"].click(trial.generate, parts["form"].inputs(), shown, **QUIET)
    parts["stop"].click(cancel(page.studio), parts["job"], None, **AT_ONCE)
    begin(page, parts)
    stacks = trial.stacks()
    parts["add"].upload(trial.add, {parts["add"], *stacks}, [parts["said"], parts["shelf"], *stacks], **QUIET)
    train.wire(page, parts["training"], trial.grown, stacks, parts["shelf"])


class Trial:
    """The handlers of LoRA styles."""

    def __init__(self, page: Page, parts: Mapping[str, Any]) -> None:
        self.page, self.parts = page, parts
        self.studio, self.t = page.studio, page.t

    def generate(self, data: Mapping[Any, Any]) -> Iterator[Updates]:
        yield from told(self.t, self.parts, lambda: self.run(data))

    def run(self, data: Mapping[Any, Any]) -> Iterator[Updates]:
        parts, form = self.parts, self.parts["form"]
        cells = [Cell(label, job) for label, job in self.submit(form.read(data))]
        jobs = " ".join(cell.job.id for cell in cells)
        yield busy(parts, jobs) | {form.fields["seed"]: cells[0].job.request.seed}
        for seen in look(self.studio, cells):
            yield {parts["view"]: compared(self.t, seen)}
        yield idle(parts)

    def submit(self, request: GenerationRequest) -> list[tuple[str, JobView]]:
        """Off, each alone when there are several, all: one prompt, one seed, submitted together.

        The preset's settings are kept but not its name: one that locks its styles would put them into
        "off" too.
        """
        titles = {row.name: row.title or row.name for row in self.studio.models.loras()}
        stack = [ref.model_dump() for ref in request.loras]
        asked = self.studio.resolve(request).model_dump(exclude=DRAWN) | {"preset": None, "count": 1}
        trials: list[tuple[str, list[dict[str, Any]]]] = [(self.t("loras_off"), [])]
        alone = [(f"{titles[ref['name']]} {ref['weight']:g}", [ref]) for ref in stack]
        trials += alone if len(stack) < 2 else [*alone, (self.t("loras_all"), stack)]
        return [
            (label, self.studio.submit(parse(GenerationRequest, asked | {"loras": loras})))
            for label, loras in trials
        ]

    def add(self, data: Mapping[Any, Any]) -> Updates:
        """A new file joins the shelf, or the reason why not is said."""
        parts = self.parts
        try:
            row = self.studio.add_lora(Path(data[parts["add"]]))
        except StudioError as error:
            return {parts["said"]: stage.problem(self.t, error.as_dict())}
        words = self.t("added", name=row.title or row.name)
        return {parts["said"]: element("p", words, class_="caption", role="status"), **self.grown(data)}

    def grown(self, data: Mapping[Any, Any]) -> Updates:
        """Shelf and stacks with every file there is now; what was stacked stays."""
        rows = shelf(self.studio)
        return {
            self.parts["shelf"]: cards(self.t, rows),
            **{stack: stacked(unstacked(data[stack]), shelf=rows) for stack in self.stacks()},
        }

    def stacks(self) -> list[Any]:
        return [self.parts["stack"], self.page.parts["create"]["form"].fields["loras"]]


def compared(t: Text, cells: Sequence[Cell]) -> Markup:
    """Off against all under one handle, every trial as a tile below it."""
    request = cells[0].job.request
    first, last = cells[0].job.images, cells[-1].job.images
    if len(cells) > 1 and first and last:
        sides = ((picture_url(first[0].id), cells[0].label), (picture_url(last[0].id), cells[-1].label))
        large = stage.compare(t, *sides, request.width, request.height)
    else:
        large = stage.frames([element("figure", class_="waiting")], request.width, request.height)
    return element(
        "section",
        stage.mat(large, f"{t('seed_is', seed=request.seed)} · {request.width} × {request.height}"),
        element(
            "div",
            *[tile(t, cell) for cell in cells],
            class_="tiles small",
            style=f"--w:{request.width};--h:{request.height}",
        ),
        class_="stage",
    )


def tile(t: Text, cell: Cell) -> Markup:
    if cell.job.images:
        inside, note = element("img", src=picture_url(cell.job.images[0].id), alt=cell.label), ""
    elif cell.job.final:
        inside, note = Markup(""), str((cell.job.error or {}).get("message", t(f"state_{cell.job.state}")))
    else:
        share = f"{cell.job.progress:.0%}"
        inside, note = element("i", class_="fill", style=f"height:{share}"), share
    return element(
        "figure",
        element("div", inside, class_="view" if cell.job.images else "view waiting"),
        element("figcaption", element("b", cell.label), element("span", note)),
        data_trial=cell.label,
    )


def cards(t: Text, rows: Sequence[LoraRow]) -> Markup:
    """Every file there is, also those that can't be used, with the reason."""
    if not rows:
        return element("p", t("loras_empty"), class_="caption")
    return element(
        "section",
        element("h3", t("loras_shelf")),
        element("ul", *[card(t, row) for row in rows]),
        class_="shelf",
    )


def card(t: Text, row: LoraRow) -> Markup:
    base = FAMILIES[row.base].label if row.base in FAMILIES else "?"
    facts = f"{t('base')}: {base} · {t('rank')} {row.rank}"
    return element(
        "li",
        element("b", row.title or row.name),
        element("span", facts),
        element("span", f"{t('stack_trigger')}: {row.trigger}") if row.trigger else None,
        element("span", f"{t('refused')}: {row.problem}", class_="bad") if row.problem else None,
        class_="refused" if row.problem else None,
    )
