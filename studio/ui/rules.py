"""A brand's rules as a calm line of lights: under Generate, and with a picture of the Library.

Beside it, what a prompt with wildcards draws: both follow the form as one types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from studio.brand.rules import Light, Report, Ruling
from studio.errors import StudioError
from studio.schema import GenerationRequest
from studio.studio import Studio
from studio.ui.form import Form, Page
from studio.ui.html import Markup, element
from studio.ui.run import AT_ONCE
from studio.ui.text import Text

SIGNS: Mapping[Light, str] = {"red": "✕", "amber": "!", "green": "✓", "off": "–"}  # gravest first
WATCHED = ("prompt", "size", "model", "loras", "seed", "keep_seed")  # fields that change it
MOST_FILES = 12  # names of wildcard files that are shown
LONGEST = 300  # characters of a drawn prompt that are shown


def build(elem_id: str) -> Any:
    return gr.HTML(Markup(""), elem_id=elem_id, apply_default_css=False)


def wire(page: Page, form: Form, lights: Any, draws: Any) -> None:
    events = [form.fields[name].change for name in WATCHED if name in form.fields]
    gr.on(
        [*events, page.preset.change], lambda data: renewed(page, form, data, lights, draws), form.inputs(),
        [lights, draws], trigger_mode="always_last", **AT_ONCE,
    )  # fmt: skip


def renewed(page: Page, form: Form, data: Mapping[Any, Any], lights: Any, draws: Any) -> dict[Any, Any]:
    typed = str(data[form.fields["prompt"]])

    def make() -> GenerationRequest:
        return form.read(data, prompt=typed.strip() or "a", count=1)

    return {lights: before(page, make), draws: drawn(page, typed, make)}


def before(page: Page, make: Callable[[], GenerationRequest]) -> Markup:
    """Empty where the form holds what cannot be run: Generate says why."""
    try:
        return card(page.t, page.studio.rules_before(make()))
    except StudioError:
        return Markup("")


def of_picture(t: Text, studio: Studio, id: str) -> Markup | None:
    """None where its file is gone."""
    try:
        return card(t, studio.rules_after(id))
    except StudioError:
        return None


def card(t: Text, report: Report) -> Markup:
    """Closed it counts the lights, gravest first; opened it says each rule's reason."""
    rows = [row for light in SIGNS for row in report.rulings if row.light == light]
    counts = [counted(t, light, report.count(light)) for light in SIGNS if report.count(light)]
    judged = report.worst.light != "off"
    said = element("span", *counts, class_="lights") if judged else element("span", t("rules_nothing"))
    return element(
        "details",
        element("summary", element("span", t(f"rules_{report.when}")), said),
        element("ul", *[line(t, row) for row in rows]),
        class_="rules", data_worst=report.worst.light,
    )  # fmt: skip


def counted(t: Text, light: Light, count: int) -> Markup:
    return element("span", sign(light), f" {count} {t(f'rules_{light}')}", class_="light")


def line(t: Text, row: Ruling) -> Markup:
    return element(
        "li",
        sign(row.light, t(f"rules_{row.light}")),
        element("b", t.pick(*row.title)),
        element("span", t.pick(*row.reason)),
        data_rule=row.rule,
        data_light=row.light,
    )


def sign(light: Light, spoken: str | None = None) -> Markup:
    """`spoken`: for who hears the page, where no word stands beside it."""
    hidden = None if spoken else "true"
    role = "img" if spoken else None
    return element(
        "i", SIGNS[light], class_=f"sign {light}", role=role, aria_label=spoken, title=spoken,
        aria_hidden=hidden,
    )  # fmt: skip


def drawn(page: Page, typed: str, make: Callable[[], GenerationRequest]) -> Markup:
    """What comes of braces and wildcards; empty for a prompt without them."""
    t, studio = page.t, page.studio
    if "{" not in typed and "__" not in typed:
        return Markup("")
    try:
        seed = make().seed
        text = studio.wildcards.draw(typed, seed or 0)[0]
    except StudioError as error:
        return element("div", element("p", f"{error.message} {error.hint}"), files(page), class_="draws bad")
    if text == typed:
        return Markup("")
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    said = t("draws_each", text=shown) if seed is None else t("draws_now", text=shown)
    return element("div", element("p", said), files(page) if "__" in typed else None, class_="draws")


def files(page: Page) -> Markup:
    names = page.studio.wildcards.names()
    if not names:
        return element("p", page.t("draws_no_files"))
    more = " …" if len(names) > MOST_FILES else ""
    listed = " ".join(f"__{name}__" for name in names[:MOST_FILES])
    return element("p", page.t("draws_files", names=listed + more))
