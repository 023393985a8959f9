"""Form fields by the names of the request. A tab takes the ones it needs; reading and filling go by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradio as gr

from studio.catalog import FAMILIES, SCHEDULERS
from studio.errors import NotFound, StudioError
from studio.models import LoraRow, ModelRow
from studio.schema import (
    GUIDANCE_ADVICE,
    GUIDANCE_WARNING,
    MAX_PROMPT,
    MAX_SEED,
    GenerationRequest,
    ResolvedRequest,
    parse,
)
from studio.studio import Studio
from studio.ui import product, refiner
from studio.ui.html import Markup, element
from studio.ui.parts import stack, stacked, unstacked
from studio.ui.run import AT_ONCE
from studio.ui.sizes import sizes, with_channels
from studio.ui.text import Text

COUNTS = (1, 2, 4, 8)
CHUNK = 75  # tokens the text encoder reads at once


@dataclass(frozen=True)
class Page:
    """What every tab is given. `preset`: the dropdown in the header; `kept`: what the browser remembers."""

    studio: Studio
    t: Text
    preset: Any
    tabs: Any
    kept: Any
    forms: list[Form] = field(default_factory=list)
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def remembered(self, data: Mapping[Any, Any]) -> dict[str, Any]:
        """What the browser keeps, among an event's inputs.

        Without Gradio's mark of a skipped output: its diffs of a stream may leave that in the dict, and a
        value with the mark is taken for an update of the component the next time.
        """
        return {name: value for name, value in (data[self.kept] or {}).items() if name != "__type__"}


@dataclass(frozen=True)
class Form:
    """`fields`: component by request field; besides those `size` ("128x128"), `keep_seed`, and for
    the refiner `refiner` (its name, "" = none) and `refiner_at`; for product and ground see ui/product.py."""

    page: Page
    fields: dict[str, Any]

    def inputs(self, *more: Any) -> set[Any]:
        return {*self.fields.values(), self.page.preset, *more}

    def values(self, data: Mapping[Any, Any]) -> dict[str, Any]:
        return {name: data[component] for name, component in self.fields.items()}

    def read(self, data: Mapping[Any, Any], **more: Any) -> GenerationRequest:
        """Raises BadRequest, worded as the API words it."""
        asked = self.values(data)
        size, keep, rows = asked.pop("size", None), asked.pop("keep_seed", True), asked.pop("loras", None)
        if size:
            asked["width"], asked["height"] = (int(side) for side in str(size).split("x"))
        if rows:
            asked["loras"] = unstacked(rows)
        asked |= {"refiner": refiner.read(asked.pop("refiner", ""), asked.pop("refiner_at", None))}
        asked |= product.read(asked)
        for name in ("steps", "count", "seed"):
            if asked.get(name) is not None:
                asked[name] = int(asked[name])
        if asked.get("guidance") is not None:
            asked["guidance"] = float(asked["guidance"])
        if not keep:
            asked["seed"] = None
        return parse(GenerationRequest, {**asked, "preset": data[self.page.preset] or None, **more})

    def fill(self, asked: Mapping[str, Any], locked: Iterable[str] = (), title: str = "") -> dict[Any, Any]:
        """Updates that put `asked` (by field name) into the form and close the fields in `locked`."""
        t, shut = self.page.t, set(locked)
        updates: dict[Any, Any] = {}
        for name, component in self.fields.items():
            if name not in asked or name == "prompt":
                continue
            held = bool({"width", "height"} & shut) if name == "size" else name in shut
            value = asked[name]
            if name == "loras":
                updates[component] = stacked(value, locked=held)
                continue
            if name == "product_image":
                updates[component] = value
                continue
            updates[component] = gr.update(value=value, interactive=not held)
            if name == "model":  # models come and go while the page is open
                updates[component]["choices"] = model_rows(self.page.studio)
            if name in ("refiner", "refiner_at"):
                updates[component] |= refiner.seen(t, self.page.studio, asked["model"])[name]
            if name in LABELS:
                label = t(LABELS[name])
                updates[component]["label"] = f"{label} · {t('locked_by', title=title)}" if held else label
        return updates


def examples(studio: Studio, preset: str = "") -> tuple[str, ...]:
    """Prompts to begin with: the preset's own, else those of the first preset that has some."""
    rows = studio.presets.list()
    chosen = [row for row in rows if row.name == preset] or [row for row in rows if row.examples]
    return tuple(chosen[0].examples) if chosen else ()


LABELS = {
    "negative_prompt": "negative",
    "steps": "steps",
    "guidance": "guidance",
    "scheduler": "scheduler",
    "model": "model",
}


def asked_by(request: ResolvedRequest) -> dict[str, Any]:
    """A resolved request as form values."""
    return {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "size": f"{request.width}x{request.height}",
        "steps": request.steps,
        "guidance": request.guidance,
        "scheduler": request.scheduler,
        "model": request.model,
        "loras": [{"name": lora.name, "weight": lora.weight} for lora in request.loras],
        **refiner.asked_by(request),
        "draft": request.draft,
    }


def prompt_box(page: Page, prefix: str, *, lines: int = 3) -> Any:
    """The prompt with its counter, wired."""
    t = page.t
    with gr.Column(elem_classes=["prompt"], min_width=0):
        prompt = gr.Textbox(
            label=t("prompt"),
            placeholder=t("prompt_hint"),
            lines=lines,
            max_lines=8,
            elem_id=f"{prefix}-prompt",
            max_length=MAX_PROMPT,
        )
        counter = gr.HTML(tokens(page, ""), elem_id=f"{prefix}-tokens", apply_default_css=False)
    prompt.change(
        lambda text: tokens(page, text),
        prompt,
        counter,
        trigger_mode="always_last",
        **AT_ONCE,
    )
    return prompt


def tokens(page: Page, text: str) -> Markup:
    used = count(page.studio, text)
    chunks = max(1, -(-used // CHUNK))
    key = "tokens" if chunks == 1 else "tokens_many"
    words = page.t(key, used=used, room=CHUNK * chunks, chunks=chunks)
    keys = element("span", page.t("keys"), class_="keys")
    return element("div", keys, element("span", words, class_="tokens", data_long=chunks > 1), class_="below")


def count(studio: Studio, text: str) -> int:
    """Tokens of `text`; 0 while there is no model to count with."""
    try:
        return studio.count_tokens(text, None) if text else 0
    except StudioError:
        return 0


def negative_box(page: Page, prefix: str) -> Any:
    return gr.Textbox(
        label=page.t("negative"),
        placeholder=page.t("negative_hint"),
        lines=1,
        max_lines=4,
        elem_id=f"{prefix}-negative",
    )


def default_model(studio: Studio) -> ModelRow:
    """The model requests get when they name none; if it is missing, a row with which the page can stand."""
    try:
        return studio.models.get(studio.models.default())
    except StudioError:
        kind = FAMILIES["pocket"]
        return ModelRow(
            studio.models.default(),
            kind.label,
            "pocket",
            Path(),
            0,
            kind.size,
            kind.steps,
            kind.guidance,
            kind.scheduler,
            "epsilon",
            (),
            False,
            kind.context,
        )


def size_chips(page: Page, prefix: str) -> Any:
    chips = sizes(default_model(page.studio))
    width, height = chips[0][1].split("x")
    radio = gr.Radio(
        chips,
        value=chips[0][1],
        label=page.t("size", width=width, height=height),
        elem_id=f"{prefix}-size",
        elem_classes=["chips"],
    )

    def rename(value: str | None) -> Any:
        if not value:
            return gr.skip()
        width, height = value.split("x")
        return gr.update(label=page.t("size", width=width, height=height))

    radio.change(rename, radio, radio, **AT_ONCE)
    return radio


def count_chips(page: Page, prefix: str) -> Any:
    return gr.Radio(
        list(COUNTS), value=1, label=page.t("count"), elem_id=f"{prefix}-count", elem_classes=["chips"]
    )


def run_fields(page: Page, prefix: str) -> dict[str, Any]:
    """Scheduler, steps, guidance and seed with advice that follows the values."""
    t, studio = page.t, page.studio
    row = default_model(studio)
    scheduler = gr.Dropdown(
        [(kind.label, name) for name, kind in SCHEDULERS.items()],
        value=row.scheduler,
        label=t("scheduler"),
        info=scheduler_advice(t, row.scheduler),
        elem_id=f"{prefix}-scheduler",
    )
    steps = gr.Slider(
        1,
        150,
        value=row.steps,
        step=1,
        label=t("steps"),
        info=steps_advice(t, row.scheduler),
        elem_id=f"{prefix}-steps",
    )
    guidance = gr.Slider(
        0,
        30,
        value=row.guidance,
        step=0.5,
        label=t("guidance"),
        info=guidance_advice(t, row.guidance, row.guidance),
        elem_id=f"{prefix}-guidance",
    )
    scheduler.change(
        lambda name: (gr.update(info=scheduler_advice(t, name)), gr.update(info=steps_advice(t, name))),
        scheduler,
        [scheduler, steps],
        **AT_ONCE,
    )
    guidance.change(
        lambda value: gr.update(info=guidance_advice(t, value, row.guidance)),
        guidance,
        guidance,
        trigger_mode="always_last",
        **AT_ONCE,
    )
    return {"scheduler": scheduler, "steps": steps, "guidance": guidance} | seed_fields(page, prefix)


def seed_fields(page: Page, prefix: str) -> dict[str, Any]:
    t = page.t
    with gr.Row(elem_classes=["seed"]):
        seed = gr.Number(
            value=None,
            precision=0,
            minimum=0,
            maximum=MAX_SEED,
            label=t("seed"),
            elem_id=f"{prefix}-seed",
            scale=3,
        )
        dice = gr.Button(
            t("dice"), size="sm", elem_id=f"{prefix}-dice", elem_classes=["quiet"], min_width=0, scale=1
        )
    keep = gr.Checkbox(False, label=t("keep_seed"), elem_id=f"{prefix}-keep", container=False)
    dice.click(
        None,
        None,
        [seed, keep],
        js=f"() => [Math.floor(Math.random() * {MAX_SEED}), true]",
        api_visibility="private",
    )
    return {"seed": seed, "keep_seed": keep}


def scheduler_advice(t: Text, name: str | None) -> str:
    row = SCHEDULERS.get(name or "")
    return t.pick(row.advice, row.advice_zh) if row else ""


def steps_advice(t: Text, name: str | None) -> str:
    row = SCHEDULERS.get(name or "")
    return t("steps_info", low=row.steps[0], high=row.steps[1]) if row else ""


def guidance_advice(t: Text, value: float | None, default: float) -> str:
    if value is None:
        return ""
    if value > GUIDANCE_WARNING:
        return t("guidance_burn")
    if value > GUIDANCE_ADVICE[1]:
        return t("guidance_high")
    if value < GUIDANCE_ADVICE[0] and default < GUIDANCE_ADVICE[0]:
        return t("guidance_low", default=f"{default:g}")
    return t("guidance_good")


def model_rows(studio: Studio) -> list[tuple[str, str]]:
    return [(row.label, row.name) for row in studio.models.list() if not row.refines]


def model_choice(page: Page, prefix: str, size: Any) -> Any:
    """The model, wired to `size`: each family has its own formats."""
    studio = page.studio
    rows = model_rows(studio)
    choice = gr.Dropdown(
        rows or [(page.t("no_model"), studio.models.default())],
        value=default_model(studio).name,
        label=page.t("model"),
        elem_id=f"{prefix}-model",
    )

    def reshape(name: str, chosen: str) -> Any:
        try:
            preset = studio.presets.get(chosen) if chosen else None
            chips = with_channels(sizes(studio.models.get(name)), preset)
        except StudioError:
            return gr.skip()
        return gr.update(choices=chips, value=chips[0][1])

    choice.input(reshape, [choice, page.preset], size, **AT_ONCE)
    return choice


def shelf(studio: Studio) -> list[LoraRow]:
    """Every LoRA file, with the reason where the studio's model can't use it."""
    rows = []
    for row in studio.models.loras():
        try:
            studio.models.check_lora(row.name, default_model(studio).name)
            rows.append(row)
        except NotFound:  # no model yet: nothing to compare with
            rows.append(row)
        except StudioError as error:
            rows.append(row if row.problem else replace(row, problem=error.message))
    return rows


def lora_stack(page: Page, prefix: str, prompt: Any) -> Any:
    """The stack, wired so that a click on a trigger word puts it into the prompt."""
    part = stack(page.t, shelf(page.studio), f"{prefix}-loras")

    def add_word(text: str, event: gr.EventData) -> Any:
        word = str(event._data.get("word", ""))[:200]
        return gr.skip() if not word or word in text else f"{text.rstrip()}, {word}".removeprefix(", ")

    part.select(add_word, prompt, prompt, **AT_ONCE)
    return part
