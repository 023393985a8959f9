"""Create: text to picture, and everything one does next with a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gradio as gr
from pydantic import BaseModel

from studio.errors import StudioError
from studio.schema import DRAWN, GenerationRequest, ImageRow, parse, parse_json
from studio.ui import grids, outlook, product, refiner, rules, stage
from studio.ui.form import (
    Form,
    Page,
    asked_by,
    count_chips,
    default_model,
    lora_stack,
    model_choice,
    negative_box,
    prompt_box,
    run_fields,
    size_chips,
)
from studio.ui.html import Markup, element
from studio.ui.parts import board, dropper
from studio.ui.run import AT_ONCE, CAMPAIGN, QUIET, Updates, busy, buttons, cancel, idle, told
from studio.ui.scene import Scene, watch
from studio.ui.sizes import ratio, sizes
from studio.ui.text import Text

VARIANTS = 10  # what a client is shown to choose from, in one click
VARY = 0.6  # denoising strength of a variation: the layout stays, the rest is new


def build(page: Page) -> dict[str, Any]:
    t = page.t
    with gr.Row(elem_classes=["desk"]):
        with gr.Column(elem_classes=["left"], min_width=0):
            note = gr.HTML(Markup(""), elem_id="preset-note", apply_default_css=False)
            prompt = prompt_box(page, "create")
            draws = rules.build("create-draws")
            negative = negative_box(page, "create")
            size = size_chips(page, "create")
            count = count_chips(page, "create")
            go, stop = buttons(t, "create")
            foreseen = outlook.outlook(page, "create")
            lights = rules.build("create-rules")
            with gr.Accordion(t("styles"), open=False, elem_id="create-styles"):
                loras = lora_stack(page, "create", prompt)
            with gr.Accordion(t("settings"), open=False, elem_id="create-settings"):
                fields = run_fields(page, "create")
                model = model_choice(page, "create", size)
                refining = refiner.fields(t, page.studio, "create", model)
                draft = gr.Checkbox(False, label=t("draft"), info=t("draft_info"), elem_id="create-draft")
            placing = product.fields(t, "create")
            grid = grids.build(t, page.studio)
            taken = gr.HTML(Markup(""), elem_id="create-taken", apply_default_css=False)
            drop = dropper(t, "create-drop", t("take_settings"), "/api/v1/infotext")
        with gr.Column(elem_classes=["right"], min_width=0):
            view = board(stage.empty(t, t("empty_title"), t("empty_text")), elem_id="create-stage")
            strip = board(stage.strip(t, []), elem_id="create-strip")
    form = Form(
        page,
        {
            "prompt": prompt,
            "negative_prompt": negative,
            "size": size,
            "count": count,
            "loras": loras,
            "model": model,
            **refining,
            "draft": draft,
            **placing,
            **fields,
        },
    )
    page.forms.append(form)
    return {
        "form": form,
        "note": note,
        "outlook": foreseen,
        "rules": lights,
        "draws": draws,
        "grid": grid,
        "taken": taken,
        "drop": drop,
        "prompt": prompt,
        "go": go,
        "stop": stop,
        "view": view,
        "strip": strip,
        "job": gr.State(""),
    }


def wire(page: Page) -> None:
    parts = page.parts["create"]
    form, desk = parts["form"], Desk(page, parts)
    outputs = [*desk.shown(), page.kept]
    parts["go"].click(desk.generate, form.inputs(page.kept, *parts["grid"].values()), outputs, **QUIET)
    outlook.wire(page, form, parts["outlook"])
    rules.wire(page, form, parts["rules"], parts["draws"])
    parts["stop"].click(cancel(page.studio), parts["job"], None, **AT_ONCE)
    parts["view"].select(desk.again, form.inputs(page.kept), outputs, **QUIET)
    parts["drop"].input(desk.take, {parts["drop"]}, [*form.fields.values(), parts["taken"]], **AT_ONCE)
    canny = page.parts["canny"]
    shown = [parts["view"], parts["strip"], *form.fields.values(), canny["picture"], canny["view"], page.tabs]
    for source in (parts["view"], parts["strip"]):
        source.select(desk.pick, canny["bench"].inputs(), shown, trigger_mode="multiple", **AT_ONCE)


class Desk:
    """The handlers of Create. It keeps nothing: what it needs is in the library, the form and the browser."""

    def __init__(self, page: Page, parts: Mapping[str, Any]) -> None:
        self.page, self.parts = page, parts
        self.studio, self.t = page.studio, page.t
        self.form: Form = parts["form"]

    def shown(self) -> list[Any]:
        """What a run changes."""
        names = ("view", "strip", "go", "stop", "job", "outlook")
        return [*(self.parts[name] for name in names), self.form.fields["seed"]]

    def generate(self, data: Mapping[Any, Any]) -> Iterator[Updates]:
        if grids.wanted(data, self.parts["grid"]):
            yield from told(self.t, self.parts, lambda: self.combine(data))
        else:
            yield from self.run(data, lambda: self.form.read(data))

    def combine(self, data: Mapping[Any, Any]) -> Iterator[Updates]:
        """A grid. It runs as a campaign: a reload loses sight of it, not the pictures."""
        id = grids.start(self.studio, self.form.read(data), data, self.parts["grid"])
        yield busy(self.parts, f"{CAMPAIGN}{id}")
        for seen in grids.follow(self.studio, self.t, id):
            yield {self.parts["view"]: seen}
        yield {**idle(self.parts), self.parts["strip"]: self.strip()}

    def again(self, data: Mapping[Any, Any], event: gr.EventData) -> Iterator[Updates]:
        """Vary, ten of it, and upscale: new runs made from a finished picture."""
        verb, id = event._data.get("act"), str(event._data.get("id", ""))
        if verb not in {"vary", "variants", "upscale"}:
            yield {self.parts["view"]: gr.skip()}
            return
        yield from self.run(data, lambda: remade(self.studio.image(id), verb))

    def run(self, data: Mapping[Any, Any], make: Callable[[], GenerationRequest]) -> Iterator[Updates]:
        def start() -> Iterator[Updates]:
            job = self.studio.submit(make())
            made = {"job": job.id, "form": self.form.values(data), "preset": data[self.page.preset]}
            kept = {**self.page.remembered(data), **made}
            yield {self.page.kept: kept, **busy(self.parts, job.id)}
            yield from self.follow(job.id)

        yield from told(self.t, self.parts, start)

    def follow(self, job: str) -> Iterator[Updates]:
        for scene in watch(self.studio, job):
            yield self.ended(job, scene) if scene.over else {self.parts["view"]: stage.running(self.t, scene)}

    def ended(self, job: str, scene: Scene) -> Updates:
        images = list(self.studio.job(job).images)
        updates = idle(self.parts) | {
            self.parts["strip"]: self.strip(images[0].id if len(images) == 1 else "")
        }
        if images:
            updates[self.form.fields["seed"]] = images[0].seed
            updates[self.parts["outlook"]] = outlook.of(self.page, images[0])
        if scene.error is not None:
            updates[self.parts["view"]] = stage.problem(self.t, scene.error)
        elif images:
            updates[self.parts["view"]] = self.show(images)
        else:
            updates[self.parts["view"]] = stage.empty(self.t, self.t("stopped"), "")
        return updates

    def show(self, images: list[ImageRow]) -> Markup:
        if len(images) > 1:
            return stage.group(self.t, images)
        image = images[0]
        canny = "canny" in default_model(self.studio).controls
        return stage.single(self.t, image, stage.settings(image), canny=canny)

    def strip(self, chosen: str = "") -> Markup:
        return stage.strip(self.t, self.studio.images(limit=stage.STRIP), chosen)

    def pick(self, data: Mapping[Any, Any], event: gr.EventData) -> Updates:
        """Look at a picture, take its settings or an example prompt, or carry it to Canny."""
        verb, id = event._data.get("act"), str(event._data.get("id", ""))
        if verb == "example":
            return {self.form.fields["prompt"]: str(event._data.get("prompt", ""))}
        if verb not in {"focus", "reuse", "canny"}:
            return {self.parts["view"]: gr.skip()}
        try:
            image = self.studio.image(id)
        except StudioError as error:
            return {self.parts["view"]: stage.problem(self.t, error.as_dict())}
        if verb == "focus":
            return {self.parts["view"]: self.show([image]), self.parts["strip"]: self.strip(id)}
        if verb == "reuse":
            return self.reuse(image)
        return {
            **self.page.parts["canny"]["bench"].put(id, data),
            self.page.tabs: gr.update(selected="canny"),
        }

    def reuse(self, image: ImageRow) -> Updates:
        """The form as it was for this picture, its own seed kept."""
        asked = asked_by(image.request) | product.asked_by(image.request)
        asked |= {"count": 1, "seed": image.seed, "keep_seed": True}
        return {**self.form.fill(asked), self.form.fields["prompt"]: image.request.prompt}

    def take(self, data: Mapping[Any, Any]) -> Updates:
        """A picture was dropped: its settings fill the form, what cannot be followed is listed."""
        try:
            told = parse_json(Taken, str(data[self.parts["drop"]]).encode())
            request = parse(GenerationRequest, told.request)
        except StudioError as error:
            return {self.parts["taken"]: stage.problem(self.t, error.as_dict())}
        updates = self.form.fill(asked_for(request))
        if request.width and request.height:
            updates[self.form.fields["size"]] = size_of(self.page, request)
        updates[self.form.fields["prompt"]] = request.prompt
        updates[self.parts["taken"]] = taken_note(self.t, told)
        return updates

    def resume(self, kept: Mapping[str, Any] | None) -> Iterator[Updates]:
        """After a reload: the strip at once, then the run that was going on, or what it made."""
        yield {self.parts["strip"]: self.strip()}
        job = str((kept or {}).get("job") or "")
        if not job:
            return
        try:
            row = self.studio.job(job)
        except StudioError:
            return  # another library, or an old one
        if row.images and row.final:
            yield {self.parts["view"]: self.show(list(row.images))}
        elif not row.final:
            yield busy(self.parts, job)
            yield from told(self.t, self.parts, lambda: self.follow(job))


class Taken(BaseModel):
    """What /api/v1/infotext said of a picture, on its way back through the browser."""

    tool: str
    request: dict[str, Any]
    unmatched: list[str]


def taken_note(t: Text, told: Taken) -> Markup:
    """Untrusted text, shown as text."""
    said = element("p", t("taken", tool=told.tool[:40]), class_="caption", role="status")
    if not told.unmatched:
        return said
    lines = [element("li", line) for line in told.unmatched]
    rest = element("p", t("taken_not"), class_="caption")
    return element("div", said, rest, element("ul", *lines), class_="taken")


def asked_for(request: GenerationRequest) -> dict[str, Any]:
    """Form values for what a request says; what it leaves out stays as it is, apart from the styles."""
    asked = {
        name: value
        for name in ("negative_prompt", "steps", "guidance", "scheduler", "model", "seed")
        if (value := getattr(request, name)) is not None
    }
    asked["keep_seed"] = "seed" in asked
    asked["loras"] = [{"name": lora.name, "weight": lora.weight} for lora in request.loras]
    asked |= product.asked_by(request)
    asked["draft"] = request.draft
    return {**asked, **refiner.asked_by(request)} if request.model is not None else asked


def size_of(page: Page, request: GenerationRequest) -> Any:
    """The size's chip, and one more where none of them has it."""
    row = default_model(page.studio) if request.model is None else page.studio.models.get(request.model)
    chips, value = sizes(row), f"{request.width}x{request.height}"
    own = [] if value in dict(chips).values() else [(ratio(request.width or 1, request.height or 1), value)]
    return gr.update(choices=[*chips, *own], value=value)


def remade(image: ImageRow, verb: str) -> GenerationRequest:
    """`vary`, `variants`: the picture as a start with new seeds; `upscale`: the same at twice its pixels."""
    asked = image.request.model_dump(exclude=DRAWN) | {"count": VARIANTS if verb == "variants" else 1}
    if verb != "upscale":
        asked |= {"init_image": image.id, "strength": VARY, "mask": None, "seed": None, "upscale": 1.0}
    else:
        asked |= {"seed": image.seed, "upscale": min(4.0, image.request.upscale * 2)}
    return GenerationRequest.model_validate(asked)
