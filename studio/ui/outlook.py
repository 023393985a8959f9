"""What a run will take, before it begins: a line under Generate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from studio.errors import StudioError
from studio.models.forecast import Outlook
from studio.schema import GenerationRequest, ImageRow
from studio.ui.form import Form, Page
from studio.ui.html import Markup, element
from studio.ui.parts import gigabytes
from studio.ui.run import AT_ONCE
from studio.ui.text import Text

WATCHED = ("size", "count", "steps", "guidance", "model", "refiner")  # fields that change it
ROUND = 10.0  # seconds from which a time is told without its tenths


def outlook(page: Page, prefix: str) -> Any:
    shown = line(page, lambda: GenerationRequest(prompt="a"))
    return gr.HTML(shown, elem_id=f"{prefix}-outlook", apply_default_css=False)


def wire(page: Page, form: Form, shown: Any) -> None:
    events = [form.fields[name].change for name in WATCHED if name in form.fields]
    gr.on(
        events, lambda data: renewed(page, form, data), form.inputs(), shown, trigger_mode="always_last",
        **AT_ONCE,
    )  # fmt: skip


def renewed(page: Page, form: Form, data: Mapping[Any, Any]) -> Markup:
    return line(page, lambda: form.read(data, prompt=str(data[form.fields["prompt"]]).strip() or "a"))


def of(page: Page, image: ImageRow) -> Markup:
    """For the next picture like this one: its time is known now."""
    return line(page, lambda: image.request)


def line(page: Page, make: Any) -> Markup:
    """Empty where the form holds what cannot be run: Generate says why."""
    try:
        told = page.studio.forecast(make())
    except StudioError:
        return Markup("")
    return element("p", sentence(page.t, told), class_="caption" if told.fits else "caption bad")


def sentence(t: Text, told: Outlook) -> str:
    memory = gigabytes(told.bytes)
    if not told.fits:
        return t("outlook_too_much", memory=memory, there=gigabytes(told.there))
    words = (
        [t("outlook_of", memory=memory, there=gigabytes(told.there))]
        if told.there
        else [t("outlook_memory", memory=memory)]
    )
    if told.tight:
        words.append(t("outlook_tight"))
    if told.seconds is not None:
        seconds = f"{told.seconds:.0f}" if told.seconds >= ROUND else f"{told.seconds:.1f}"
        words.append(t("outlook_time", seconds=seconds))
    return " · ".join(words)
