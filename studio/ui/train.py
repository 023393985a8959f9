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
from studio.training.dataset import Dataset
from studio.training.forecast import Forecast
from studio.training.request import MOST_EPOCHS, TrainRequest
from studio.trainings import RunView
from studio.ui import stage
from studio.ui.form import Page
from studio.ui.html import Markup, data_uri, element
from studio.ui.parts import board
from studio.ui.run import AT_ONCE, QUIET, Updates
from studio.ui.text import Text

FIELDS = ("name", "trigger", "licence", "epochs")
LEFT_OUT = 12  # names of pictures that are shown
CURVE = (320, 90)  # px of the loss curve's drawing area


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
            go = gr.Button(t("train_go"), variant="primary", elem_id="train-go", interactive=False)
            pause = gr.Button(t("train_pause"), variant="stop", elem_id="train-pause", visible=False)
        with gr.Column(elem_classes=["right"], min_width=0):
            checks = board(element("p", t("train_text"), class_="caption"), elem_id="train-checks")
            view = board(runs(t, page.studio.trainings.list()), elem_id="train-view")
    return {
        "files": files, "name": name, "trigger": trigger, "licence": licence, "epochs": epochs, "go": go,
        "pause": pause, "checks": checks, "view": view, "dataset": gr.State(""), "run": gr.State(""),
    }  # fmt: skip


Grow = Callable[[Mapping[Any, Any]], Updates]


def wire(page: Page, parts: Mapping[str, Any], grow: Grow, stacks: Sequence[Any], shelf: Any) -> None:
    """`grow`: from the stacks' values to updates in which shelf and stacks know the finished style."""
    desk = Trainer(page, parts)
    form = {parts["files"], parts["dataset"], *(parts[name] for name in FIELDS)}
    judged = [parts["checks"], parts["dataset"], parts["go"], parts["name"]]
    parts["files"].change(desk.judge, form, judged, **QUIET)
    parts["epochs"].release(desk.foresee, form, parts["checks"], **QUIET)
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
            text = element("p", self.t("train_text"), class_="caption")
            return {parts["checks"]: text, parts["dataset"]: "", parts["go"]: gr.update(interactive=False)}
        name = str(data[parts["name"]]).strip() or files[0].stem[:60]
        try:
            dataset = self.keep(files, name, str(data[parts["licence"]]))
            request = self.request(data, dataset.id, name)
            found = self.studio.trainings.plan(request).forecast
        except StudioError as error:
            problem = stage.problem(self.t, error.as_dict())
            return {
                parts["checks"]: problem, parts["dataset"]: "", parts["go"]: gr.update(interactive=False)
            }  # fmt: skip
        return {
            parts["checks"]: checked(self.t, dataset, found),
            parts["dataset"]: dataset.id,
            parts["go"]: gr.update(interactive=True),
            parts["name"]: name,
        }

    def foresee(self, data: Mapping[Any, Any]) -> Any:
        """The cost anew; the pictures stay judged."""
        id = data[self.parts["dataset"]]
        if not id:
            return gr.skip()
        try:
            dataset = self.studio.trainings.dataset(id)
            found = self.studio.trainings.plan(self.request(data, id, "style")).forecast
        except StudioError as error:
            return stage.problem(self.t, error.as_dict())
        return checked(self.t, dataset, found)

    def keep(self, files: Sequence[Path], name: str, licence: str) -> Dataset:
        if len(files) == 1 and files[0].suffix.lower() == ".zip":
            return self.studio.trainings.keep(files[0], name, licence=licence)
        with tempfile.TemporaryDirectory() as folder:
            for file in files:
                place = Path(folder) / file.name
                if not place.exists():
                    os.link(file, place) if same_disk(file, folder) else place.write_bytes(file.read_bytes())
            return self.studio.trainings.keep(Path(folder), name, licence=licence)

    def request(self, data: Mapping[Any, Any], dataset: str, name: str) -> TrainRequest:
        fields = {
            "name": name, "dataset": dataset, "trigger": str(data[self.parts["trigger"]]).strip(),
            "epochs": int(data[self.parts["epochs"]]),
        }  # fmt: skip
        return parse(TrainRequest, fields)

    def train(self, data: Mapping[Any, Any]) -> Iterator[Updates]:
        parts = self.parts
        try:
            name = str(data[parts["name"]]).strip()
            run = self.studio.trainings.submit(self.request(data, data[parts["dataset"]], name))
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


def same_disk(file: Path, folder: str) -> bool:
    return file.stat().st_dev == os.stat(folder).st_dev


def checked(t: Text, dataset: Dataset, found: Forecast) -> Markup:
    """The set in figures, what was left out and why, and what training takes."""
    left_out = [entry for entry in dataset.entries if not entry.used]
    rows = [
        element(
            "li",
            element("b", entry.name),
            element("span", ", ".join(t(f"train_{finding}") for finding in entry.findings)),
            element("span", t("train_like", name=entry.like)) if entry.like else None,
            class_="refused",
        )
        for entry in left_out[:LEFT_OUT]
    ]
    problems = [
        element("li", element("b", name), element("span", t(f"train_{what}")), class_="refused")
        for name, what in dataset.problems[:LEFT_OUT]
    ]
    time = t("train_timed")
    if found.seconds is not None:
        time = t("train_minutes", minutes=max(1, round(found.seconds / 60)))
    facts = [
        t("train_used", used=len(dataset.training), held_out=len(dataset.held_out)),
        t("train_left_out", count=len(left_out)),
        t("train_weights", count=f"{found.trainable:,}", share=f"{found.share:.1%}"),
        t("train_cost", steps=found.steps, memory=f"{found.memory / 2**30:.2f}", time=time),
    ]
    return element(
        "section",
        *[element("p", fact) for fact in facts],
        element("ul", *rows, *problems) if rows or problems else None,
        class_="shelf",
        data_used=len(dataset.used),
    )


def running(
    t: Text, run: RunView, losses: Sequence[tuple[int, float]], pictures: Sequence[bytes]
) -> Markup:
    state = t(f"train_state_{run.state}")
    told = f"{t('step', step=run.step, of=run.of)}" if run.of else ""
    if run.eta is not None:
        told += f" · {t('train_left', minutes=max(1, round(run.eta / 60)))}"
    marks = [
        element("li", element("b", t("train_epoch", number=one["number"])), element("span", scores(t, one)))
        for one in run.epochs
    ]
    error = run.error or {}
    return element(
        "section",
        element("h3", f"{run.training.title or run.training.name} · {state}"),
        element("p", told, class_="caption", role="status"),
        element("p", f"{error.get('message', '')} {error.get('hint', '')}", class_="bad") if error else None,
        curve(losses) if len(losses) > 1 else None,
        element("ul", *marks) if marks else None,
        element("p", t("train_best", epoch=run.best)) if run.best else None,
        element("div", *[element("img", src=data_uri(one, "image/png"), alt="") for one in pictures],
                class_="train-board"),
        class_="shelf",
        data_state=run.state,
        data_lora=run.lora or None,
    )  # fmt: skip


def scores(t: Text, epoch: Mapping[str, Any]) -> str:
    said = [t("train_loss", loss=f"{epoch['loss']:.4f}")]
    if epoch["held_out"] is not None:
        said.append(t("train_held_out", loss=f"{epoch['held_out']:.4f}"))
    if epoch["style"] is not None:
        said.append(t("train_style", score=f"{epoch['style']:.0%}"))
    return " · ".join(said)


def curve(losses: Sequence[tuple[int, float]]) -> Markup:
    """Mean loss over stretches of the run, on a scale from 0 to the highest."""
    width, height = CURVE
    stretch = max(1, len(losses) // 80)
    means = [
        sum(loss for _, loss in losses[at : at + stretch]) / len(losses[at : at + stretch])
        for at in range(0, len(losses), stretch)
    ]
    top, last = max(means) or 1.0, max(1, len(means) - 1)
    points = " ".join(
        f"{place / last * width:.1f},{height - mean / top * height:.1f}" for place, mean in enumerate(means)
    )
    line = element(
        "polyline", points=points, fill="none", stroke="currentColor", **{"stroke-width": "1.5"}
    )
    return element("svg", line, viewBox=f"0 0 {width} {height}", width="100%", height=height, role="img")


def runs(t: Text, known: Sequence[RunView]) -> Markup:
    """Earlier runs, those that paused with a button to go on."""
    rows = [
        element(
            "li",
            element("b", run.training.title or run.training.name),
            element("span", t(f"train_state_{run.state}")),
            element("button", t("train_resume"), type="button", class_="soft", data_act="resume",
                    data_run=run.id)
            if run.state in ("paused", "failed") else None,
        )
        for run in known[:LEFT_OUT]
    ]  # fmt: skip
    return element("section", element("ul", *rows), class_="shelf") if rows else Markup("")
