"""Brands: write a preset beside what it means, with every mistake named by its place; versions, kits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from studio.errors import BadRequest, Conflict, Forbidden, StudioError
from studio.kits import Brought
from studio.kits.kits import Kind, digest, renamed
from studio.people import speaker
from studio.presets import Preset
from studio.ui import stage
from studio.ui.form import Page
from studio.ui.html import Markup, element
from studio.ui.kit_views import meaning, with_logo, with_samples
from studio.ui.parts import board
from studio.ui.presets import presets
from studio.ui.run import AT_ONCE, QUIET, Updates
from studio.ui.text import Text

SHOWN = 20  # versions in the list
LATEST = {**QUIET, "trigger_mode": "always_last"}  # each keystroke asks, only the newest is answered


def build(page: Page) -> dict[str, Any]:
    t = page.t
    first = first_of(page)
    with gr.Row(elem_classes=["desk"]):
        with gr.Column(elem_classes=["left"], min_width=0):
            pick = gr.Dropdown(
                names(page), value=first, label=t("brands_pick"), elem_id="brands-pick", filterable=False
            )
            name = gr.Textbox(
                first, label=t("brands_name"), info=t("brands_name_info"), max_lines=1, max_length=64,
                elem_id="brands-name",
            )  # fmt: skip
            save = gr.Button(t("brands_save"), variant="primary", elem_id="brands-save", elem_classes=["go"])
            version = gr.Dropdown([], label=t("brands_versions"), elem_id="brands-versions", filterable=False)
            bring = gr.UploadButton(
                t("brands_import"), file_types=[".brandkit", ".zip", ".yaml", ".yml", ".csv", ".json"],
                elem_id="brands-import", elem_classes=["quiet"],
            )  # fmt: skip
            samples = gr.UploadButton(
                t("kit_add_samples"), file_types=[".png", ".jpg", ".jpeg", ".webp"], file_count="multiple",
                elem_id="brands-samples", elem_classes=["quiet"],
            )  # fmt: skip
            logo = gr.UploadButton(
                t("kit_add_logo"), file_types=[".png"], elem_id="brands-logo", elem_classes=["quiet"]
            )
            acts = board(Markup(""), elem_id="brands-acts")
            said = gr.HTML(Markup(""), elem_id="brands-said", apply_default_css=False)
        with gr.Column(elem_classes=["right"], min_width=0):
            text = gr.Code(
                label=t("brands_text"), language="yaml", lines=18, max_lines=30, wrap_lines=True,
                elem_id="brands-text",
            )  # fmt: skip
            verdict = gr.HTML(Markup(""), elem_id="brands-verdict", apply_default_css=False)
    return {
        "pick": pick, "name": name, "save": save, "version": version, "bring": bring, "acts": acts,
        "samples": samples, "logo": logo,
        "said": said, "text": text, "verdict": verdict, "base": gr.State(""), "loaded": gr.State(first),
    }  # fmt: skip


def wire(page: Page) -> None:
    parts = page.parts["brands"]
    desk = Brands(page, parts)
    inputs = {parts[key] for key in ("name", "text", "base", "loaded")}
    shown = [parts[key] for key in ("name", "text", "base", "loaded", "version", "acts", "said", "verdict")]
    everything = [*shown, parts["pick"], page.preset]
    parts["tab"].select(desk.open, inputs, everything, **AT_ONCE)
    parts["pick"].input(desk.load, {parts["pick"]}, shown, **AT_ONCE)
    parts["text"].change(desk.judge, inputs, parts["verdict"], **LATEST)
    parts["version"].input(
        desk.look_back, {parts["version"], parts["loaded"]}, [parts["text"], parts["said"]], **AT_ONCE
    )
    parts["save"].click(desk.save, inputs, everything, **QUIET)
    parts["acts"].select(desk.delete, inputs, everything, **AT_ONCE)
    parts["bring"].upload(desk.bring, {*inputs, parts["bring"]}, everything, **QUIET)
    for kind in ("samples", "logo"):
        parts[kind].upload(
            getattr(desk, f"add_{kind}"), {*inputs, parts[kind]}, [parts["text"], parts["said"]], **QUIET
        )


class Brands:
    """The handlers. In the page's state: `loaded`, the brand in the editor, and `base`, its text's digest."""

    def __init__(self, page: Page, parts: Mapping[str, Any]) -> None:
        self.page, self.parts = page, parts
        self.studio, self.t = page.studio, page.t

    def open(self, data: Mapping[Any, Any]) -> Updates:
        """A tab that is opened for the first time shows a brand; later what was being written stays."""
        if data[self.parts["base"]]:
            return {self.parts["pick"]: gr.update(choices=names(self.page))}
        return self.shown(data[self.parts["loaded"]])

    def load(self, data: Mapping[Any, Any]) -> Updates:
        return self.told(lambda: self.shown(str(data[self.parts["pick"]])))

    def judge(self, data: Mapping[Any, Any]) -> Any:
        try:
            found = self.studio.kits.check(*self.named(data))
        except StudioError as error:
            return mistake(error)
        return meaning(self.t, found, self.missing(found))

    def look_back(self, data: Mapping[Any, Any]) -> Updates:
        def act() -> Updates:
            number = int(data[self.parts["version"]])
            text = self.studio.kits.version(data[self.parts["loaded"]], number)
            return {
                self.parts["text"]: text,
                self.parts["said"]: said(self.t("brands_looked", number=number)),
            }

        return self.told(act)

    def save(self, data: Mapping[Any, Any]) -> Updates:
        def act() -> Updates:
            name, text = self.named(data)
            base = data[self.parts["base"]] if name == data[self.parts["loaded"]] else None
            if base is None and name in self.studio.kits.names():
                raise Conflict(
                    f"There is a preset {name} already.",
                    hint="Pick it above to change it.",
                    code="preset_exists",
                )
            self.studio.kits.save(name, text, self.by(), base)
            return self.shown(name) | self.lists(name) | {
                self.parts["said"]: said(self.t("brands_saved", name=name))
            }  # fmt: skip

        return self.told(act)

    def delete(self, data: Mapping[Any, Any], event: gr.EventData) -> Updates:
        """Asks once more, in the place where it was asked for."""
        verb, name = event._data.get("act"), str(event._data.get("id", ""))[:64]
        if verb != "really":
            return {self.parts["acts"]: acts(self.page, name, asked=verb == "delete")}

        def act() -> Updates:
            self.by()
            self.studio.kits.delete(name)
            left = name if self.studio.kits.is_shipped(name) else first_of(self.page)
            return self.shown(left) | self.lists(left) | {
                self.parts["said"]: said(self.t("brands_deleted", name=name))
            }  # fmt: skip

        return self.told(act)

    def bring(self, data: Mapping[Any, Any]) -> Updates:
        def act() -> Updates:
            file = Path(data[self.parts["bring"]])
            with file.open("rb") as stream:
                rows = self.studio.trade.bring(stream, file.name, self.by())
            taken = [row.name for row in rows if row.name]
            if not taken:
                raise BadRequest(rows[0].problem if rows else self.t("brands_none"), code="bad_kit")
            return self.shown(taken[0]) | self.lists(taken[0]) | {self.parts["said"]: brought(self.t, rows)}

        return self.told(act)

    def add_samples(self, data: Mapping[Any, Any]) -> Updates:
        def act() -> Updates:
            files = [self.kept("samples", Path(file)) for file in data[self.parts["samples"]]]
            return self.written(with_samples(str(data[self.parts["text"]] or ""), files), files)

        return self.told(act)

    def add_logo(self, data: Mapping[Any, Any]) -> Updates:
        def act() -> Updates:
            file = self.kept("logos", Path(data[self.parts["logo"]]))
            return self.written(with_logo(str(data[self.parts["text"]] or ""), file), [file])

        return self.told(act)

    def kept(self, kind: Kind, file: Path) -> str:
        """Name that brand files give the picture."""
        self.by()
        return self.studio.keep_kit_picture(kind, file.stem, file.read_bytes())

    def written(self, text: str, files: Sequence[str]) -> Updates:
        words = said(self.t("kit_added", names=", ".join(files)))
        return {self.parts["text"]: text, self.parts["said"]: words}

    def by(self) -> str:
        """Who changes brands: everybody wears them, so that is for administrators."""
        person = speaker.get()
        if not person.may("admin"):
            raise Forbidden(self.t("brands_admin"), code="admin_only")
        return person.name

    def named(self, data: Mapping[Any, Any]) -> tuple[str, str]:
        """The name that was typed, and the text under that name."""
        name, text = str(data[self.parts["name"]]).strip(), str(data[self.parts["text"]] or "")
        return name, renamed(text, name) if name != data[self.parts["loaded"]] else text

    def missing(self, preset: Preset) -> list[str]:
        """Styles, a model and pictures that the brand names and this studio lacks."""
        styles = {row.name for row in self.studio.models.loras()}
        lacking = [lora.name for lora in preset.loras or () if lora.name not in styles]
        if preset.model and preset.model not in {row.name for row in self.studio.models.list()}:
            lacking.append(preset.model)
        find = self.studio.kits.picture
        logos = (preset.logo.light, preset.logo.dark) if preset.logo is not None else ()
        lacking += [name for name in dict.fromkeys(logos) if find("logos", name) is None]
        return lacking + [name for name in preset.samples if find("samples", name) is None]

    def shown(self, name: str) -> Updates:
        parts, kits = self.parts, self.studio.kits
        text = kits.text(name)
        rows = [
            (self.t("brands_version", number=row.number, by=row.by), str(row.number))
            for row in kits.versions(name)[:SHOWN]
        ]
        return {
            parts["name"]: name,
            parts["text"]: text,
            parts["base"]: digest(text),
            parts["loaded"]: name,
            parts["version"]: gr.update(choices=rows, value=None, visible=bool(rows)),
            parts["acts"]: acts(self.page, name),
            parts["said"]: Markup(""),
            parts["verdict"]: self.judge({parts["name"]: name, parts["text"]: text, parts["loaded"]: name}),
        }

    def lists(self, name: str) -> Updates:
        """Every list of presets on the page."""
        return {
            self.parts["pick"]: gr.update(choices=names(self.page), value=name),
            self.page.preset: gr.update(choices=presets(self.studio, self.t.language)),
        }

    def told(self, act: Callable[[], Updates]) -> Updates:
        try:
            return act()
        except StudioError as error:
            return {self.parts["said"]: mistake(error)}


def first_of(page: Page) -> str:
    found = page.studio.kits.names()
    return "plain" if "plain" in found or not found else found[0]


def names(page: Page) -> list[str]:
    return list(page.studio.kits.names())


def acts(page: Page, name: str, *, asked: bool = False) -> Markup:
    t = page.t
    if asked:
        really, keep = stage.act(t("delete_really"), "really", name), stage.act(t("keep"), "keep", name)
        return element("div", really, keep, class_="acts")
    link = element(
        "a", t("brands_export"), href=f"/api/v1/presets/{quote(name)}/kit", download=f"{name}.brandkit",
        class_="soft",
    )  # fmt: skip
    gone = stage.act(t("delete"), "delete", name) if page.studio.kits.is_own(name) else None
    return element("div", link, gone, class_="acts")


def said(words: str) -> Markup:
    return element("p", words, class_="caption", role="status")


def mistake(error: StudioError) -> Markup:
    return element(
        "div",
        element("p", error.message, class_="bad"),
        element("p", error.hint, class_="caption") if error.hint else None,
        role="status", data_valid="no",
    )  # fmt: skip


def brought(t: Text, rows: Sequence[Brought]) -> Markup:
    """What came in, what of it was left out, and who signed."""
    lines = []
    for row in rows:
        facts = [t("brands_left_out", names=", ".join(row.left_out))] if row.left_out else []
        facts += [t("brands_styles", names=", ".join(row.loras))] if row.loras else []
        if row.signer is not None:
            facts.append(
                t("brands_signed_here")
                if row.signer.ours
                else t("brands_signed", name=row.signer.name, print=row.signer.fingerprint[:16])
            )
        facts += [row.problem] if row.problem else []
        lines.append(element("li", element("b", row.name or row.source), element("span", " · ".join(facts))))
    return element("ul", *lines, class_="brought", role="status")
