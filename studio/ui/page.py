"""The page: header, tabs, what a preset does to every form, and where it hangs in the app."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from fastapi import FastAPI

from studio.catalog import SCHEDULERS
from studio.errors import StudioError
from studio.presets import Preset
from studio.schema import GenerationRequest
from studio.studio import Studio
from studio.ui import brands, campaign, canny, create, library, loras, review, schedulers, stage, system
from studio.ui.create import Desk
from studio.ui.endpoints import add_endpoints
from studio.ui.form import COUNTS, Page, asked_by, default_model, examples
from studio.ui.html import Markup, element
from studio.ui.parts import ASSETS, script
from studio.ui.presets import first_preset, presets, titled
from studio.ui.run import AT_ONCE, QUIET, Updates
from studio.ui.sizes import first_size, shown, sizes, with_channels
from studio.ui.speaking import wire_speaker
from studio.ui.text import LANGUAGES, Text
from studio.ui.theme import theme

PATHS = {"en": "/", "zh": "/zh"}
WIDE = 32  # runs the page follows at once; each holds a thread while it waits for the next event


@dataclass(frozen=True)
class TabRow:
    """`build` makes the components and names them; `wire` joins their events once every tab is there."""

    id: str
    build: Callable[[Page], dict[str, Any]]
    wire: Callable[[Page], None]


TABS = (
    TabRow("create", create.build, create.wire),
    TabRow("canny", canny.build, canny.wire),
    TabRow("schedulers", schedulers.build, schedulers.wire),
    TabRow("loras", loras.build, loras.wire),
    TabRow("brands", brands.build, brands.wire),
    TabRow("campaign", campaign.build, campaign.wire),
    TabRow("library", library.build, library.wire),
    TabRow("review", review.build, review.wire),
    TabRow("system", system.build, system.wire),
)


def build(studio: Studio, language: str = "en") -> Any:
    """The whole page in one language as a `gr.Blocks`."""
    t = Text(language)
    with gr.Blocks(
        title=t("title"), fill_width=True, analytics_enabled=False, delete_cache=(3600, 3600)
    ) as blocks:
        if PATHS[language] == "/":
            add_endpoints(studio)  # first: Gradio numbers a name that a private event has taken
        with gr.Row(elem_id="top"):
            gr.HTML(name(t), apply_default_css=False, elem_id="name")
            preset = gr.Dropdown(
                presets(studio, language),
                value=first_preset(studio),
                label=t("preset"),
                elem_id="preset",
                filterable=False,
            )
            gr.HTML(switches(t), apply_default_css=False, elem_id="switches")
        kept = gr.BrowserState({}, storage_key="brand-studio", secret="brand-studio")
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as tabs:
            page = Page(studio, t, preset, tabs, kept)
            for row in TABS:
                with gr.Tab(t(f"tab_{row.id}"), id=row.id, elem_id=f"tab-{row.id}") as tab:
                    page.parts[row.id] = {**row.build(page), "tab": tab}
        for row in TABS:
            row.wire(page)
        wire_preset(blocks, page)
    wire_speaker(blocks)
    blocks.queue(default_concurrency_limit=WIDE)
    # mount_gradio_app leaves this unset, and Gradio then takes any place on the disk for a client's upload.
    blocks.has_launched = True
    return blocks


def mount(app: FastAPI, studio: Studio) -> FastAPI:
    """Hangs the page into `app`: English at /, 中文 at /zh. Call it after every other route is there."""
    head = f"<script>{script('page')}\n{script('review')}</script>"
    css = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ASSETS / "css").glob("*.css")))
    for language in reversed(
        tuple(LANGUAGES)
    ):  # the one at / answers everything that is left, so it comes last
        gr.mount_gradio_app(
            app,
            build(studio, language),
            path=PATHS[language],
            theme=theme(),
            css=css,
            head=head,
            max_file_size=2 * 2**30,
            ssr_mode=False,
            run_history=False,
            footer_links=[],
            show_error=False,
            pwa=False,
            mcp_server=False,
            enable_monitoring=False,
        )
    return app


def name(t: Text) -> Markup:
    return element(
        "div",
        element("b", t("title")),
        element(
            "span", t("starting"), id="ready", data_ready="false", data_yes=t("ready"), data_no=t("starting")
        ),
        class_="name",
    )


def switches(t: Text) -> Markup:
    links = [
        element("a", label, href=PATHS[language].rstrip("/") + "/", data_language=language, lang=language)
        for language, label in LANGUAGES.items()
        if language != t.language
    ]
    theme_button = element(
        "button", "◐", type="button", data_theme_switch="yes", aria_label=t("theme"), title=t("theme")
    )
    # Shown by page.js to who is signed in; a plain form, so that it works whatever became of the page.
    leave = element("button", t("sign_out"), type="submit")
    sign_out = element("form", leave, method="post", action="/logout", data_sign_out=True, hidden=True)
    return element("div", *links, theme_button, sign_out, class_="switches")


def wire_preset(blocks: Any, page: Page) -> None:
    """A new preset fills every form; a new visit does too, then brings back what the browser kept."""
    parts = page.parts["create"]
    fields = [component for form in page.forms for component in form.fields.values()]
    outputs = list(dict.fromkeys([*fields, parts["note"], parts["view"]]))
    page.preset.input(
        lambda chosen, job: apply(page, chosen, job), [page.preset, parts["job"]], outputs, **AT_ONCE
    )
    desk = Desk(page, parts)
    arrived = blocks.load(
        lambda kept: welcome(page, kept or {}), page.kept, [*outputs, page.preset], **AT_ONCE
    )
    arrived.then(desk.resume, page.kept, desk.shown(), **QUIET)
    bench = page.parts["canny"]["bench"]
    arrived.then(bench.resume, page.kept, [page.parts["canny"]["picture"], *bench.shown()], **QUIET)


def welcome(page: Page, kept: Mapping[str, Any]) -> Updates:
    """The preset's form, and over it what the designer had typed. What no longer exists is left out."""
    known = {preset.name for preset in page.studio.presets.list()} | {""}
    chosen = kept.get("preset", first_preset(page.studio))
    chosen = chosen if chosen in known else first_preset(page.studio)
    updates: Updates = {page.preset: chosen, **apply(page, chosen)}
    preset = page.studio.presets.get(chosen) if chosen else None
    form = page.parts["create"]["form"]
    for field, value in restored(page.studio, kept.get("form") or {}, preset).items():
        if field not in form.fields:  # kept by an earlier version of the page
            continue
        update = updates.get(form.fields[field])
        updates[form.fields[field]] = update | {"value": value} if isinstance(update, dict) else value
    return updates


def restored(studio: Studio, kept: Mapping[str, Any], preset: Preset | None) -> dict[str, Any]:
    """Fields of an earlier visit that can still be set: neither locked since, nor gone."""
    locked = preset.locked if preset is not None else ()
    held = {
        *locked,
        "model",
        "refiner",
        "refiner_at",
        *(["size"] if {"width", "height"} & set(locked) else []),
    }
    choices: Mapping[str, Container[Any]] = {
        "size": {value for _, value in with_channels(sizes(default_model(studio)), preset)},
        "scheduler": SCHEDULERS,
        "count": COUNTS,
    }
    return {
        field: value
        for field, value in kept.items()
        if field not in held and (field not in choices or value in choices[field])
    }


def apply(page: Page, chosen: str, job: str = "") -> Updates:
    """What the preset asks for, asked of the studio itself: a request that leaves everything else out.

    `job`: the last run of Create; once there is one its picture stays, else the preset's examples are shown.
    """
    t, studio = page.t, page.studio
    parts = page.parts["create"]
    try:
        preset = studio.presets.get(chosen) if chosen else None
        asked = asked_by(studio.resolve(GenerationRequest(prompt="a", preset=chosen or None)))
    except StudioError as error:
        return {parts["note"]: stage.problem(t, error.as_dict())}
    asked["size"] = first_size(preset) or asked["size"]
    title = titled(preset, t.language) if preset else ""
    locked = preset.locked if preset else ()
    updates: Updates = {}
    for form in page.forms:
        # The tab that compares styles is where one takes them off, so there they stay open.
        held = set(locked) - {"loras"} if form is page.parts["loras"]["form"] else locked
        updates |= form.fill(asked, held, title)
        if "size" in form.fields:
            chips = with_channels(sizes(studio.models.get(asked["model"])), preset)
            updates[form.fields["size"]]["choices"] = shown(chips, asked["size"])
    updates[parts["note"]] = note(t, preset, title, asked)
    if not job:
        updates[parts["view"]] = stage.empty(t, t("empty_title"), t("empty_text"), examples(studio, chosen))
    return updates


def note(t: Text, preset: Preset | None, title: str, asked: Mapping[str, Any]) -> Markup:
    """What the preset set, in quiet lines: settings, its words around the prompt, what it locks, palette."""
    if preset is None:
        return element("p", t("preset_none"), class_="note")
    facts = [
        SCHEDULERS[asked["scheduler"]].label,
        t("cell_steps", steps=asked["steps"]),
        f"{t('guidance')} {asked['guidance']:g}",
        asked["size"].replace("x", " × "),
        *[f"{lora['name']} {lora['weight']:g}" for lora in asked["loras"]],
    ]
    swatches = [
        element("i", style=f"background:{colour}", title=f"{name} {colour}", class_="swatch")
        for name, colour in preset.palette.items()
    ]
    frame = preset.prompt.replace("{prompt}", "…") if preset.prompt != "{prompt}" else ""
    locked = ", ".join(t(f"field_{name}") for name in preset.locked)
    return element(
        "div",
        element("p", element("b", t("preset_sets", title=title)), " ", " · ".join(facts)),
        element("p", t("preset_frame", frame=frame)) if frame else None,
        element("p", t("preset_locks", fields=locked)) if locked else None,
        element("p", *swatches) if swatches else None,
        class_="note",
    )
