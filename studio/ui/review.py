"""Review: share chosen pictures with clients, see who looked, hear what they said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from studio.errors import StudioError
from studio.people import speaker
from studio.review.links import ShareRequest
from studio.schema import ImageRow, parse
from studio.ui import review_views as views
from studio.ui import stage
from studio.ui.form import Page
from studio.ui.html import Markup, element
from studio.ui.parts import board
from studio.ui.run import AT_ONCE, Updates

PAUSE = 3.0  # seconds between two looks at what clients said, while the tab is open
MOST = 100  # pictures of one link
SPANS = ("1h", "1d", "3d", "7d", "14d", "30d")
WEEK = 7 * 24 * 3600.0
FORM = ("chosen", "title", "note", "expires", "pin", "download", "views", "tunnel")


def build(page: Page) -> dict[str, Any]:
    t = page.t
    spans = {"1h": t("review_hour"), **{span: t("review_days", count=span[:-1]) for span in SPANS[1:]}}
    with gr.Row(elem_classes=["desk"]):
        with gr.Column(elem_classes=["left"], min_width=0):
            chosen = board(views.tray(t, []), elem_id="review-tray")
            title = gr.Textbox(label=t("review_name"), max_lines=1, max_length=120, elem_id="review-title")
            note = gr.Textbox(label=t("review_note"), lines=2, max_length=2000, elem_id="review-note")
            expires = gr.Dropdown(
                [(words, span) for span, words in spans.items()], value="7d", label=t("review_ends"),
                filterable=False, elem_id="review-expires",
            )  # fmt: skip
            pin = gr.Textbox(
                label=t("review_pin"), placeholder=t("review_optional"), max_lines=1, elem_id="review-pin"
            )
            download = gr.Checkbox(False, label=t("review_may_copy"), container=False, elem_id="review-copy")
            with gr.Accordion(t("settings"), open=False, elem_id="review-more"):
                limit = gr.Number(
                    label=t("review_limit"), precision=0, value=None,  # no minimum: Gradio sends 0 for empty
                    placeholder=t("review_optional"), elem_id="review-views",
                )  # fmt: skip
                tunnel = gr.Radio(
                    [(t("review_here"), ""), (t("review_ssh"), "ssh"), (t("review_gradio"), "gradio")],
                    value="", label=t("review_way"), elem_id="review-tunnel",
                )  # fmt: skip
            promise = gr.HTML(Markup(""), apply_default_css=False, elem_id="review-promise")
            go = gr.Button(
                t("review_go"), variant="primary", elem_id="review-go", elem_classes=["act-one"],
                interactive=False,
            )  # fmt: skip
            said = gr.HTML(Markup(""), apply_default_css=False, elem_id="review-said")
        with gr.Column(elem_classes=["right"], min_width=0):
            links = board(Markup(""), elem_id="review-links")
            detail = board(Markup(""), elem_id="review-detail")
            file = gr.UploadButton(
                t("review_import"), file_types=[".json"], size="sm", elem_id="review-import",
                elem_classes=["quiet"],
            )  # fmt: skip
    return {
        "tray": chosen, "title": title, "note": note, "expires": expires, "pin": pin, "download": download,
        "views": limit, "tunnel": tunnel, "promise": promise, "go": go, "said": said, "links": links,
        "detail": detail, "file": file, "chosen": gr.State([]), "link": gr.State(""), "heard": gr.State(-1),
        "timer": gr.Timer(PAUSE, active=False),
    }  # fmt: skip


def wire(page: Page) -> None:
    parts = page.parts["review"]
    case = Case(page, parts)
    form = {parts[name] for name in FORM}
    told = [parts["tray"], parts["promise"], parts["go"]]
    seen = [parts["links"], parts["detail"], parts["link"], parts["heard"]]
    changed = [parts[name].change for name in ("expires", "pin", "download", "tunnel")]
    gr.on(changed, case.describe, form, told, trigger_mode="always_last", **AT_ONCE)
    parts["tray"].select(case.drop, form, [parts["chosen"], *told], **AT_ONCE)
    made = [parts["said"], parts["chosen"], *told, *seen]
    parts["go"].click(case.share, {*form, parts["link"], page.preset}, made, **AT_ONCE)
    parts["links"].select(case.act, {parts["link"]}, [parts["said"], *seen], **AT_ONCE)
    parts["file"].upload(case.take_in, {parts["file"], parts["link"]}, [parts["said"], *seen], **AT_ONCE)
    parts["timer"].tick(case.listen, {parts["link"], parts["heard"]}, seen, **AT_ONCE)
    arrived = parts["tab"].select(case.look, {parts["link"]}, seen, **AT_ONCE)
    arrived.then(lambda: gr.update(active=True), None, parts["timer"], **AT_ONCE)
    parts["tab"].select(case.describe, form, told, **AT_ONCE)
    for id, other in page.parts.items():
        if id != "review":
            other["tab"].select(lambda: gr.update(active=False), None, parts["timer"], **AT_ONCE)


class Case:
    """The handlers of Review."""

    def __init__(self, page: Page, parts: Mapping[str, Any]) -> None:
        self.page, self.parts = page, parts
        self.studio, self.t = page.studio, page.t

    def rows(self, ids: list[str]) -> list[ImageRow]:
        """Those of the chosen pictures that are still there."""
        found = []
        for id in ids:
            try:
                found.append(self.studio.image(id))
            except StudioError:
                continue
        return found

    def describe(self, data: Mapping[Any, Any]) -> Updates:
        parts = self.parts
        chosen = self.rows(data[parts["chosen"]])
        download = "copy" if data[parts["download"]] else "none"
        span = str(data[parts["expires"]])
        until = self.t("review_hour") if span == "1h" else self.t("review_days", count=span[:-1])
        said = views.promise(
            self.t, len(chosen), until, str(data[parts["pin"]] or ""), download, str(data[parts["tunnel"]])
        )
        return {
            parts["tray"]: views.tray(self.t, chosen), parts["promise"]: said if chosen else Markup(""),
            parts["go"]: gr.update(interactive=bool(chosen)),
        }  # fmt: skip

    def drop(self, data: Mapping[Any, Any], event: gr.EventData) -> Updates:
        gone = str(event._data.get("id", ""))
        chosen = self.parts["chosen"]
        kept = [id for id in data[chosen] if id != gone]
        return {chosen: kept, **self.describe({**data, chosen: kept})}

    def share(self, data: Mapping[Any, Any]) -> Updates:
        parts = self.parts
        limit = data[parts["views"]]
        asked = {
            "images": data[parts["chosen"]], "title": data[parts["title"]] or "",
            "note": data[parts["note"]] or "", "expires": data[parts["expires"]],
            "pin": data[parts["pin"]] or None, "download": "copy" if data[parts["download"]] else "none",
            "views": int(limit) if limit else None, "tunnel": data[parts["tunnel"]] or None,
            "preset": None,
        }  # fmt: skip
        try:
            link = self.studio.share(parse(ShareRequest, asked))
        except StudioError as error:
            return {parts["said"]: stage.problem(self.t, error.as_dict())}
        emptied = {parts["chosen"]: [], **self.describe({**data, parts["chosen"]: []})}
        return {parts["said"]: Markup(""), **emptied, **self.shown(link.id)}

    def act(self, data: Mapping[Any, Any], event: gr.EventData) -> Updates:
        """Show, extend or revoke a link."""
        verb, id = event._data.get("act"), str(event._data.get("id", ""))
        try:
            if verb == "revoke":
                self.studio.review.revoke(id, speaker.get().name)
            elif verb == "extend":
                self.studio.review.extend(id, WEEK, speaker.get().name)
            return {self.parts["said"]: Markup(""), **self.shown(id)}
        except StudioError as error:
            return {self.parts["said"]: stage.problem(self.t, error.as_dict())}

    def take_in(self, data: Mapping[Any, Any]) -> Updates:
        try:
            new = self.studio.review.take_in(Path(str(data[self.parts["file"]])).read_bytes())
        except StudioError as error:
            return {self.parts["said"]: stage.problem(self.t, error.as_dict())}
        words = element("p", self.t("review_imported", count=new), class_="caption", role="status")
        return {self.parts["said"]: words, **self.look(data)}

    def look(self, data: Mapping[Any, Any]) -> Updates:
        return self.shown(str(data[self.parts["link"]]))

    def listen(self, data: Mapping[Any, Any]) -> Updates:
        """What is new since the last look; nothing is drawn anew where nothing is."""
        if self.moment() == data[self.parts["heard"]]:
            return {self.parts["heard"]: gr.skip()}
        return self.look(data)

    def moment(self) -> int:
        """Changes with all that the tab shows."""
        shown = [
            (link.state, link.url, link.viewers, link.tunnel_state, link.prepared)
            for link in self.studio.review.all()
        ]
        trail = self.studio.review.trail()
        return hash((trail[-1].number if trail else 0, tuple(shown)))

    def shown(self, chosen: str) -> Updates:
        parts, heard = self.parts, self.moment()
        found = self.studio.review.all()
        if chosen not in {link.id for link in found}:
            chosen = found[0].id if found else ""
        link = next((link for link in found if link.id == chosen), None)
        detail = views.detail(self.t, link, self.studio.review.trail(chosen)) if link else Markup("")
        return {
            parts["links"]: views.links(self.t, found, chosen), parts["detail"]: detail,
            parts["link"]: chosen, parts["heard"]: heard,
        }  # fmt: skip


def added(chosen: list[str], id: str) -> list[str]:
    """The tray with a picture in it, or without it where it was in already."""
    if id in chosen:
        return [other for other in chosen if other != id]
    return [*chosen, id][:MOST]
