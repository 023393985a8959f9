"""Train: a style of one's own from dropped pictures, below the styles there are."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr

from studio.errors import StudioError
from studio.schema import Epoch, parse
from studio.training.dataset import Change, Dataset
from studio.training.request import MOST_EPOCHS, TrainRequest
from studio.ui import stage
from studio.ui.form import Page
from studio.ui.html import Markup, element
from studio.ui.parts import board
from studio.ui.run import AT_ONCE, QUIET, Updates
from studio.ui.text import Text
from studio.ui.train_views import checked, framed, running, runs

FIELDS = (
    "name", "trigger", "licence", "epochs", "hold_out", "repeats", "prior", "prior_weight", "prior_pictures",
    "table", "captioner",
)  # fmt: skip
JUDGED = ("checks", "frames", "table", "captioning", "captioner", "dataset", "go", "name")
CAPTIONS = 400  # px of the table of captions at most


def build(page: Page) -> dict[str, Any]:
    t = page.t
    with gr.Accordion(t("train"), open=False, elem_id="train"), gr.Row(elem_classes=["desk"]):
        with gr.Column(elem_classes=["left"], min_width=0):
            files = gr.File(
                label=t("train_drop"), file_count="multiple", elem_id="train-files",
                file_types=[".zip", ".png", ".jpg", ".jpeg", ".webp", ".txt", ".csv"],
            )  # fmt: skip
            name = gr.Textbox(label=t("train_name"), max_lines=1, max_length=100, elem_id="train-name")
            trigger = gr.Textbox(
                label=t("train_trigger"), info=t("train_trigger_info"), max_lines=1, max_length=100,
                elem_id="train-trigger",
            )  # fmt: skip
            licence = gr.Textbox(
                label=t("train_licence"), max_lines=1, max_length=200, elem_id="train-licence"
            )
            epochs = gr.Slider(1, MOST_EPOCHS, 10, step=1, label=t("train_epochs"), elem_id="train-epochs")
            more = more_fields(t)
            go = gr.Button(t("train_go"), variant="primary", elem_id="train-go", interactive=False)
            pause = gr.Button(t("train_pause"), variant="stop", elem_id="train-pause", visible=False)
        with gr.Column(elem_classes=["right"], min_width=0):
            checks = board(element("p", t("train_text"), class_="caption"), elem_id="train-checks")
            frames = gr.HTML(Markup(""), elem_id="train-frames", apply_default_css=False)
            table = gr.Dataframe(
                headers=[t("train_picture"), t("train_caption")], datatype="str", type="array",
                interactive=True, static_columns=[0], column_count=2, wrap=True,
                max_height=CAPTIONS, show_label=False, visible=False, buttons=[], elem_id="train-captions",
            )  # fmt: skip
            with gr.Row(visible=False, elem_id="train-captioning") as captioning:
                captioner = gr.Dropdown([], label=t("train_captioner"), elem_id="train-captioner", scale=3)
                write = gr.Button(t("train_write"), elem_id="train-write", elem_classes=["quiet"], scale=1)
            view = board(runs(t, page.studio.trainings.list()), elem_id="train-view")
    return {
        "files": files, "name": name, "trigger": trigger, "licence": licence, "epochs": epochs, "go": go,
        "pause": pause, "checks": checks, "view": view, "dataset": gr.State(""), "run": gr.State(""),
        "frames": frames, "table": table, "captioning": captioning, "captioner": captioner, "write": write,
        **more,
    }  # fmt: skip


def more_fields(t: Text) -> dict[str, Any]:
    """What most trainings leave as it is."""
    with gr.Accordion(t("train_more"), open=False, elem_id="train-more"):
        return {
            "hold_out": gr.Slider(
                0, 0.5, 0.1, step=0.05, label=t("train_hold_out"), info=t("train_hold_out_info"),
                elem_id="train-hold-out",
            ),
            "repeats": gr.Number(
                None, label=t("train_repeats"), info=t("train_repeats_info"), precision=0,
                elem_id="train-repeats",  # no minimum: Gradio sends 0 for empty
            ),
            "prior": gr.Textbox(
                label=t("train_prior"), info=t("train_prior_info"), max_lines=1, max_length=500,
                elem_id="train-prior",
            ),
            "prior_weight": gr.Slider(
                0.1, 3, 1, step=0.1, label=t("train_prior_weight"), elem_id="train-prior-weight"
            ),
            "prior_pictures": gr.Slider(
                4, 400, 100, step=4, label=t("train_prior_pictures"), elem_id="train-prior-pictures"
            ),
        }  # fmt: skip


Grow = Callable[[Mapping[Any, Any]], Updates]


def wire(page: Page, parts: Mapping[str, Any], grow: Grow, stacks: Sequence[Any], shelf: Any) -> None:
    """`grow`: from the stacks' values to updates in which shelf and stacks know the finished style."""
    desk = Trainer(page, parts)
    form = {parts["files"], parts["dataset"], *(parts[name] for name in FIELDS)}
    judged = [parts[name] for name in JUDGED]
    parts["files"].change(desk.judge, form, judged, **QUIET)
    for name in ("epochs", "hold_out", "prior_pictures"):
        parts[name].release(desk.foresee, form, [parts["checks"], parts["dataset"]], **QUIET)
    for name in ("repeats", "prior"):
        parts[name].submit(desk.foresee, form, [parts["checks"], parts["dataset"]], **QUIET)
    parts["write"].click(desk.caption, form, [parts["table"], parts["dataset"], parts["checks"]], **QUIET)
    shown = [parts["view"], parts["go"], parts["pause"], parts["run"]]
    parts["pause"].click(desk.pause, parts["run"], None, **AT_ONCE)
    for run in (
        parts["go"].click(desk.train, form, shown, **QUIET),
        parts["view"].select(desk.resume, None, shown, **QUIET),
    ):
        run.then(grow, set(stacks), [shelf, *stacks], **QUIET)


class Trainer:
    """The handlers of Train."""

    def __init__(self, page: Page, parts: Mapping[str, Any]) -> None:
        self.parts = parts
        self.studio, self.t = page.studio, page.t

    def judge(self, data: Mapping[Any, Any]) -> Updates:
        """What is wrong with the pictures, and what training on the others takes."""
        parts, files = self.parts, [Path(file) for file in data[self.parts["files"]] or ()]
        if not files:
            return self.without(element("p", self.t("train_text"), class_="caption"))
        name = str(data[parts["name"]]).strip() or files[0].stem[:60]
        try:
            dataset = self.keep(files, name, data)
            found = self.studio.trainings.plan(self.request(data, dataset.id, name)).forecast
            pairs = list(self.studio.trainings.frames(dataset.id))
        except StudioError as error:
            return self.without(stage.problem(self.t, error.as_dict()))
        known = list(self.studio.trainings.captioners())
        return {
            parts["checks"]: checked(self.t, dataset, found),
            parts["frames"]: framed(self.t, pairs),
            parts["table"]: gr.update(value=captions_of(dataset), visible=True),
            parts["captioning"]: gr.update(visible=bool(known)),
            parts["captioner"]: gr.update(choices=known, value=known[0] if known else None),
            parts["dataset"]: dataset.id,
            parts["go"]: gr.update(interactive=True),
            parts["name"]: name,
        }

    def without(self, words: Markup) -> Updates:
        """No set to train on; `words` say why."""
        parts = self.parts
        return {
            parts["checks"]: words,
            parts["frames"]: Markup(""),
            parts["table"]: gr.update(value=[], visible=False),
            parts["captioning"]: gr.update(visible=False),
            parts["dataset"]: "",
            parts["go"]: gr.update(interactive=False),
        }

    def foresee(self, data: Mapping[Any, Any]) -> Any:
        """The split and the cost anew; the pictures stay judged."""
        if not data[self.parts["dataset"]]:
            return gr.skip(), gr.skip()
        try:
            dataset = self.as_typed(data)
            found = self.studio.trainings.plan(self.request(data, dataset.id, "style")).forecast
        except StudioError as error:
            return stage.problem(self.t, error.as_dict()), gr.skip()
        return checked(self.t, dataset, found), dataset.id

    def caption(self, data: Mapping[Any, Any]) -> Iterator[Updates]:
        """Missing captions, by the model that was picked; what was typed stays."""
        parts, trainings = self.parts, self.studio.trainings
        try:
            dataset = self.as_typed(data)
            writing = trainings.caption(dataset.id, str(data[parts["captioner"]] or ""))
            while True:
                try:
                    done = next(writing)
                except StopIteration as end:
                    dataset = end.value
                    break
                yield {parts["checks"]: element("p", self.t("train_written", count=done), role="status")}
            found = trainings.plan(self.request(data, dataset.id, "style")).forecast
        except StudioError as error:
            yield {parts["checks"]: stage.problem(self.t, error.as_dict())}
            return
        yield {
            parts["table"]: captions_of(dataset),
            parts["dataset"]: dataset.id,
            parts["checks"]: checked(self.t, dataset, found),
        }

    def keep(self, files: Sequence[Path], name: str, data: Mapping[Any, Any]) -> Dataset:
        judging: dict[str, Any] = {
            "licence": str(data[self.parts["licence"]]),
            "hold_out": self.share(data),
        }
        if len(files) == 1 and files[0].suffix.lower() == ".zip":
            return self.studio.trainings.keep(files[0], name, **judging)
        with tempfile.TemporaryDirectory() as folder:
            for file in files:
                place = Path(folder) / file.name
                if not place.exists():
                    os.link(file, place) if same_disk(file, folder) else place.write_bytes(file.read_bytes())
            return self.studio.trainings.keep(Path(folder), name, **judging)

    def as_typed(self, data: Mapping[Any, Any]) -> Dataset:
        """The set with the captions, the licence and the split that the form says."""
        parts = self.parts
        captions = {str(row[0]): str(row[1] or "") for row in data[parts["table"]] or () if row[0]}
        change = Change(captions, self.share(data), str(data[parts["licence"]]))
        return self.studio.trainings.change(str(data[parts["dataset"]]), change)

    def share(self, data: Mapping[Any, Any]) -> float:
        return float(data[self.parts["hold_out"]])

    def request(self, data: Mapping[Any, Any], dataset: str, name: str) -> TrainRequest:
        parts, repeats = self.parts, data[self.parts["repeats"]]
        fields = {
            "name": name, "dataset": dataset, "trigger": str(data[parts["trigger"]]).strip(),
            "epochs": int(data[parts["epochs"]]), "repeats": int(repeats) if repeats else None,
            "prior": str(data[parts["prior"]]).strip(), "prior_weight": float(data[parts["prior_weight"]]),
            "prior_pictures": int(data[parts["prior_pictures"]]),
        }  # fmt: skip
        return parse(TrainRequest, fields)

    def train(self, data: Mapping[Any, Any]) -> Iterator[Updates]:
        parts = self.parts
        try:
            name = str(data[parts["name"]]).strip()
            run = self.studio.trainings.submit(self.request(data, self.as_typed(data).id, name))
        except StudioError as error:
            yield {parts["view"]: stage.problem(self.t, error.as_dict())}
            return
        yield from self.follow(run.id)

    def resume(self, event: gr.EventData) -> Iterator[Updates]:
        told: Any = event._data
        try:
            run = self.studio.trainings.resume(str(told.get("run", "")))
        except StudioError as error:
            yield {self.parts["view"]: stage.problem(self.t, error.as_dict())}
            return
        yield from self.follow(run.id)

    def pause(self, run: str) -> None:
        with suppress(StudioError):  # it ended in the meantime
            self.studio.trainings.pause(run)

    def follow(self, id: str) -> Iterator[Updates]:
        """Draws the run anew at each event, its board only when an epoch changed it."""
        parts, trainings = self.parts, self.studio.trainings
        yield {
            parts["run"]: id, parts["go"]: gr.update(visible=False), parts["pause"]: gr.update(visible=True)
        }  # fmt: skip
        pictures = trainings.board(id, 0)
        for _, event in trainings.events(id):
            view = trainings.get(id)
            if isinstance(event, Epoch):
                pictures = trainings.board(id, event.number)
            yield {parts["view"]: running(self.t, view, trainings.losses(id), pictures)}
        view = trainings.get(id)
        yield {
            parts["view"]: running(self.t, view, trainings.losses(id), pictures),
            parts["go"]: gr.update(visible=True),
            parts["pause"]: gr.update(visible=False),
        }


def captions_of(dataset: Dataset) -> list[list[str]]:
    """Rows of the table: a picture's name and what it shows."""
    return [[entry.name, entry.caption] for entry in dataset.used]


def same_disk(file: Path, folder: str) -> bool:
    return file.stat().st_dev == os.stat(folder).st_dev
