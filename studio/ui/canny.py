"""Canny: the edges of a picture guide a new one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr

from studio.catalog import CONTROLS
from studio.errors import StudioError
from studio.schema import ImageRow, JobView
from studio.ui import product, stage
from studio.ui.form import Form, Page, default_model, negative_box, prompt_box, run_fields, size_chips
from studio.ui.html import Markup, data_uri, element, picture_url
from studio.ui.parts import board, picker
from studio.ui.run import AT_ONCE, QUIET, Updates, busy, buttons, cancel, idle, told
from studio.ui.scene import watch
from studio.uploads import size_of

TRY = 6  # pictures offered to start from
MAX_ASPECT = 2.0  # longer pictures are cropped: no model here was made for them


def build(page: Page) -> dict[str, Any]:
    t, kind = page.t, CONTROLS["canny"]
    with gr.Row(elem_classes=["desk"]):
        with gr.Column(elem_classes=["left"], min_width=0):
            picture = picker(t, "canny-picture")
            low = gr.Slider(1, 254, value=kind.low, step=1, label=t("low"), elem_id="canny-low")
            high = gr.Slider(2, 255, value=kind.high, step=1, label=t("high"), elem_id="canny-high")
            scale = gr.Slider(0, 2, value=1, step=0.05, label=t("scale"), elem_id="canny-scale")
            prompt = prompt_box(page, "canny", lines=2)
            go, stop = buttons(t, "canny")
            with gr.Accordion(t("settings"), open=False, elem_id="canny-settings"):
                start = gr.Slider(0, 0.95, value=0, step=0.05, label=t("start"), elem_id="canny-start")
                end = gr.Slider(
                    0.05, 1, value=1, step=0.05, label=t("end"), info=t("span_info"), elem_id="canny-end"
                )
                perfect = gr.Checkbox(
                    True,
                    label=t("pixel_perfect"),
                    info=t("pixel_info"),
                    elem_id="canny-perfect",
                    container=False,
                )
                size = size_chips(page, "canny")
                negative = negative_box(page, "canny")
                fields = run_fields(page, "canny")
            placing = product.fields(t, "canny", outline=False)
        with gr.Column(elem_classes=["right"], min_width=0):
            view = board(start_view(page), elem_id="canny-stage")
    form = Form(page, {"prompt": prompt, "negative_prompt": negative, "size": size, **placing, **fields})
    page.forms.append(form)
    bench = Bench(
        page,
        form,
        {
            "picture": picture,
            "low": low,
            "high": high,
            "scale": scale,
            "start": start,
            "end": end,
            "perfect": perfect,
            "size": size,
        },
    )
    return {"bench": bench, "picture": picture, "view": view, "go": go, "stop": stop, "job": gr.State("")}


def start_view(page: Page) -> Markup:
    """What the tab is for, with the latest pictures to try it on."""
    t = page.t
    if "canny" not in default_model(page.studio).controls:
        return stage.empty(t, t("canny_title"), t("canny_none"))
    mine = page.studio.images(limit=TRY)
    thumbs = [stage.thumb(image, verb="canny") for image in mine]
    return stage.empty(
        t, t("canny_title"), t("canny_text"), more=[element("p", t("canny_mine")), *thumbs] if mine else []
    )


def wire(page: Page) -> None:
    parts = page.parts["canny"]
    bench: Bench = parts["bench"]
    for name in ("picture", "low", "high", "perfect", "size"):
        bench.fields[name].input(
            bench.look, bench.inputs(), parts["view"], trigger_mode="always_last", **AT_ONCE
        )
    perfect, size = bench.fields["perfect"], bench.fields["size"]
    perfect.change(lambda on: gr.update(visible=not on), perfect, size, **AT_ONCE)
    parts["view"].select(bench.take, bench.inputs(), [parts["picture"], parts["view"]], **AT_ONCE)
    parts["tab"].select(bench.greet, {*bench.inputs(), page.kept}, parts["view"], **AT_ONCE)
    outputs = [*bench.shown(), page.kept]
    parts["go"].click(bench.generate, bench.form.inputs(page.kept, *bench.fields.values()), outputs, **QUIET)
    parts["stop"].click(cancel(page.studio), parts["job"], None, **AT_ONCE)


class Bench:
    """The handlers of Canny. `fields`: the picture, the thresholds and what else shapes the control."""

    def __init__(self, page: Page, form: Form, fields: Mapping[str, Any]) -> None:
        self.page, self.form, self.fields = page, form, fields
        self.studio, self.t = page.studio, page.t

    def shown(self) -> list[Any]:
        """What a run changes."""
        parts = self.page.parts["canny"]
        strip = self.page.parts["create"]["strip"]
        return [*(parts[name] for name in ("view", "go", "stop", "job")), strip]

    def inputs(self) -> set[Any]:
        return set(self.fields.values())

    def values(self, data: Mapping[Any, Any]) -> dict[str, Any]:
        return {name: data[component] for name, component in self.fields.items()}

    def look(self, data: Mapping[Any, Any]) -> Markup:
        """The edge map as the model will get it: at the size of the result."""
        values = self.values(data)
        if not values["picture"]:
            return start_view(self.page)
        try:
            width, height = self.target(values)
            edges = self.studio.edges(
                values["picture"], int(values["low"]), int(values["high"]), (width, height)
            )
        except StudioError as error:
            return stage.problem(self.t, error.as_dict())
        image = element("img", src=data_uri(edges, "image/png"), alt=self.t("edges"))
        caption = f"{self.t('edges')} · {width} × {height}"
        mat = stage.mat(stage.frames([element("figure", image)], width, height), caption)
        return element("section", mat, element("div", class_="acts"), class_="stage")

    def greet(self, data: Mapping[Any, Any]) -> Any:
        """The start again with the latest pictures, unless one is worked on or `resume` is to bring one.

        Who opens the tab right after a reload comes before `resume`; the start would cover its result.
        """
        going_on = data[self.fields["picture"]] or self.kept_job(data[self.page.kept])
        return gr.skip() if going_on else start_view(self.page)

    def take(self, data: Mapping[Any, Any], event: gr.EventData) -> Updates:
        if event._data.get("act") != "canny":
            return {self.page.parts["canny"]["view"]: gr.skip()}
        return self.put(str(event._data.get("id", "")), data)

    def put(self, id: str, data: Mapping[Any, Any]) -> Updates:
        """A picture of the library as the one whose edges count."""
        picture = self.fields["picture"]
        return {picture: id, self.page.parts["canny"]["view"]: self.look({**data, picture: id})}

    def target(self, values: Mapping[str, Any]) -> tuple[int, int]:
        """Width and height of the result in px: the size picked, or the picture's own proportions."""
        if not values["perfect"]:
            width, height = str(values["size"]).split("x")
            return int(width), int(height)
        data, _ = self.studio.picture_bytes(values["picture"])
        return proportioned(*size_of(data), default_model(self.studio).size)

    def generate(self, data: Mapping[Any, Any]) -> Iterator[Updates]:
        parts, values = self.page.parts["canny"], self.values(data)
        if not values["picture"]:
            yield {parts["view"]: start_view(self.page)}
            return

        def start() -> Iterator[Updates]:
            width, height = self.target(values)
            control = {
                "type": "canny",
                "image": values["picture"],
                "low": int(values["low"]),
                "high": int(values["high"]),
                "scale": float(values["scale"]),
                "start": float(values["start"]),
                "end": float(values["end"]),
            }
            job = self.studio.submit(self.form.read(data, control=control, width=width, height=height))
            edges = self.studio.edges(control["image"], control["low"], control["high"], (width, height))
            kept = {**self.page.remembered(data), "canny": job.id}
            yield {self.page.kept: kept, **busy(parts, job.id)}
            yield from self.follow(job.id, edges)

        yield from told(self.t, parts, start)

    def resume(self, kept: Mapping[str, Any] | None) -> Iterator[Updates]:
        """After a reload: the picture that was worked on, and the run that was going on or what it made."""
        parts, job = self.page.parts["canny"], self.kept_job(kept)
        control = job.request.control if job else None
        if job is None or control is None:
            return
        try:
            size = (job.request.width, job.request.height)
            edges = self.studio.edges(control.image, control.low, control.high, size)
        except StudioError:
            return  # a picture that is gone
        yield {parts["picture"]: control.image}
        if not job.final:
            yield busy(parts, job.id)
            yield from told(self.t, parts, lambda: self.follow(job.id, edges))
        elif job.images:
            yield {parts["view"]: self.result(job.images[0], edges)}

    def kept_job(self, kept: Mapping[str, Any] | None) -> JobView | None:
        """The run that this browser began last; None before the first, and in another library."""
        try:
            return self.studio.job(str((kept or {}).get("canny") or ""))
        except StudioError:
            return None

    def follow(self, job: str, edges: bytes) -> Iterator[Updates]:
        parts = self.page.parts["canny"]
        for scene in watch(self.studio, job):
            if not scene.over:
                yield {parts["view"]: stage.running(self.t, scene)}
                continue
            images = self.studio.job(job).images
            if scene.error is not None:
                shown = stage.problem(self.t, scene.error)
            elif images:
                shown = self.result(images[0], edges)
            else:
                shown = stage.empty(self.t, self.t("stopped"), "")
            strip = stage.strip(self.t, self.studio.images(limit=stage.STRIP))
            yield {parts["view"]: shown, self.page.parts["create"]["strip"]: strip, **idle(parts)}

    def result(self, image: ImageRow, edges: bytes) -> Markup:
        t = self.t
        left = (data_uri(edges, "image/png"), t("edges"))
        both = stage.compare(t, left, (picture_url(image.id), t("result")), image.width, image.height)
        return element(
            "section",
            stage.mat(both, stage.caption(t, image)),
            element(
                "div", stage.copy_button(t, stage.settings(image)), stage.download(t, image), class_="acts"
            ),
            class_="stage",
            data_image=image.id,
        )


def proportioned(width: int, height: int, native: int) -> tuple[int, int]:
    """The picture's shape at about `native` squared pixels, in steps the network can halve."""
    step = min(64, native // 8)
    aspect = min(MAX_ASPECT, max(1 / MAX_ASPECT, width / height))
    sides = (native * aspect**0.5, native / aspect**0.5)
    return max(step, round(sides[0] / step) * step), max(step, round(sides[1] / step) * step)
