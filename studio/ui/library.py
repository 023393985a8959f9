"""Library: every picture with the settings that made it; delete to the trash, and undo."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.errors import StudioError
from studio.review.links import Verdict
from studio.schema import ImageRow
from studio.ui import checks, palette, review_views, rules, shelves, stage, verify
from studio.ui.form import Page
from studio.ui.html import Markup, element, join
from studio.ui.parts import board
from studio.ui.review import added
from studio.ui.run import AT_ONCE, Updates

PAGE = 60  # pictures shown at first; "more" shows as many again


def build(page: Page) -> dict[str, Any]:
    t = page.t
    with gr.Row(elem_classes=["desk"]):
        with gr.Column(elem_classes=["left"], min_width=0):
            search = gr.Textbox(
                label=t("search"), placeholder=t("search_hint"), elem_id="library-search", max_lines=1
            )
            filters = shelves.build_filters(page) | palette.build(page)
            trash = gr.Checkbox(False, label=t("show_trash"), elem_id="library-trash", container=False)
            said_of = gr.Dropdown(
                [
                    (t("review_all"), ""), (t("review_approved"), "approved"),
                    (t("review_rejected"), "rejected"), (t("review_commented"), "commented"),
                ],
                value="", label=t("review_filter"), filterable=False, elem_id="library-filter",
            )  # fmt: skip
            detail = board(nothing(t), elem_id="library-detail")
            settings = gr.Textbox(
                label=t("picture_settings"),
                lines=6,
                max_lines=16,
                interactive=False,
                visible=False,
                elem_id="library-settings",
            )
            membership = shelves.build_membership(page)
            said = board(Markup(""), elem_id="library-said")
            verifying = verify.build(page)
        with gr.Column(elem_classes=["right"], min_width=0):
            choosing = board(Markup(""), elem_id="library-choosing")
            shelf_view = board(Markup(""), elem_id="library-shelf")
            more = gr.Button(
                t("more"), size="sm", visible=False, elem_id="library-more", elem_classes=["quiet"]
            )
    return {
        **filters,
        **membership,
        **verifying,
        "search": search,
        "filter": said_of,
        "choosing": choosing,
        "trash": trash,
        "detail": detail,
        "settings": settings,
        "said": said,
        "shelf": shelf_view,
        "more": more,
        "shown": gr.State(PAGE),
    }


def wire(page: Page) -> None:
    parts = page.parts["library"]
    case = Case(page, parts)
    tray = page.parts["review"]["chosen"]
    asked = {parts[name] for name in ("search", "trash", "shown", "filter", "star", "collection", "palette")}
    asked |= {tray, page.preset}
    view = [parts["shelf"], parts["more"], parts["choosing"]]
    # One event for all three: the answer of the last one asked is the one that stays. Not `input` of the
    # search: Gradio 6 keeps silent there when words are pasted.
    changed = [
        parts["search"].change, parts["trash"].change, parts["filter"].change, parts["tab"].select,
        parts["star"].change, parts["collection"].input, parts["palette"].input, page.preset.change,
    ]  # fmt: skip
    gr.on(changed, case.refresh, asked, view, trigger_mode="always_last", **AT_ONCE)
    parts["more"].click(case.grow, asked, [*view, parts["shown"]], **AT_ONCE)
    parts["shelf"].select(case.pick, asked, [parts["detail"], parts["settings"], tray, *view], **AT_ONCE)
    parts["choosing"].select(lambda: gr.update(selected="review"), None, page.tabs, **AT_ONCE)
    for source in (parts["detail"], parts["said"]):
        source.select(
            case.change, asked, [parts["detail"], parts["settings"], parts["said"], *view], **AT_ONCE
        )
    shelves.wire(page)
    verify.wire(page)


class Case:
    """The handlers of Library."""

    def __init__(self, page: Page, parts: Mapping[str, Any]) -> None:
        self.page, self.parts = page, parts
        self.studio, self.t = page.studio, page.t

    def refresh(self, data: Mapping[Any, Any], chosen: str = "") -> Updates:
        parts, shown = self.parts, int(data[self.parts["shown"]])
        search, trash = str(data[parts["search"]] or ""), bool(data[parts["trash"]])
        verdicts, state = self.studio.review.verdicts(), str(data[parts["filter"]] or "")
        least = int(data[parts["palette"]])
        if state:
            images = self.spoken_of(review_views.counted(verdicts, state), search, trash)
        elif least >= 0 and not trash:
            images = palette.ranked(self.studio, str(data[self.page.preset] or ""), least, search)
        else:
            shelf_of = str(data[parts["collection"]] or "") or None
            images = self.studio.images(
                search, shown + 1, trash=trash, star=bool(data[parts["star"]]), collection=shelf_of
            )
        tray = data[self.page.parts["review"]["chosen"]]
        marks, asked = Marks(self.t, verdicts, tray, chosen), bool(search or state or least > 0)
        return {
            parts["shelf"]: shelf(self.t, images[:shown], marks, searched=asked, trash=trash),
            parts["more"]: gr.update(visible=len(images) > shown),
            parts["choosing"]: choosing(self.t, len(tray)),
        }

    def spoken_of(self, ids: list[str], search: str, trash: bool) -> list[ImageRow]:
        """Pictures that clients judged, those spoken of last first."""
        found, words = [], search.casefold().split()
        for id in ids:
            with contextlib.suppress(StudioError):
                image = self.studio.image(id)
                prompt = image.request.prompt.casefold()
                if image.trashed == trash and all(word in prompt for word in words):
                    found.append(image)
        return found

    def grow(self, data: Mapping[Any, Any]) -> Updates:
        shown = self.parts["shown"]
        return self.refresh({**data, shown: data[shown] + PAGE}) | {shown: data[shown] + PAGE}

    def pick(self, data: Mapping[Any, Any], event: gr.EventData) -> Updates:
        id = str(event._data.get("id", ""))
        if event._data.get("act") == "choose":
            tray = self.page.parts["review"]["chosen"]
            held = added(data[tray], id)
            return {tray: held, **self.refresh({**data, tray: held})}
        try:
            image = self.studio.image(id)
        except StudioError as error:
            return {self.parts["detail"]: stage.problem(self.t, error.as_dict())}
        return {
            self.parts["detail"]: self.large(image, data),
            self.parts["settings"]: gr.update(value=stage.settings(image), visible=True),
            **self.refresh(data, id),
        }

    def large(self, image: ImageRow, data: Mapping[Any, Any]) -> Markup:
        return join(
            detail(self.t, image), checks.card(self.t, self.studio.checks_of(image.id)),
            rules.of_picture(self.t, self.studio, image.id),
            palette.card(self.t, self.studio, image, data[self.page.preset]),
        )  # fmt: skip

    def change(self, data: Mapping[Any, Any], event: gr.EventData) -> Updates:
        """Delete, undo, restore, star."""
        verb, id = event._data.get("act"), str(event._data.get("id", ""))
        if verb in {"star", "unstar"}:
            self.studio.star([id], verb == "star")
            return {self.parts["detail"]: self.large(self.studio.image(id), data), **self.refresh(data, id)}
        if verb not in {"delete", "restore"}:
            return {self.parts["detail"]: gr.skip()}
        (self.studio.trash if verb == "delete" else self.studio.restore)([id])
        if verb == "delete":
            said = element(
                "p",
                self.t("deleted") + " ",
                stage.act(self.t("undo"), "restore", id),
                class_="caption",
                role="status",
            )
        else:
            said = element("p", self.t("restored"), class_="caption", role="status")
        return {
            self.parts["detail"]: nothing(self.t),
            self.parts["settings"]: gr.update(visible=False),
            self.parts["said"]: said,
            **self.refresh(data),
        }


def nothing(t: Any) -> Markup:
    return element("p", t("pick_one"), class_="caption")


def detail(t: Any, image: ImageRow) -> Markup:
    verb = (
        stage.act(t("restore"), "restore", image.id)
        if image.trashed
        else stage.act(t("delete"), "delete", image.id)
    )
    return element(
        "section",
        stage.mat(stage.frames([stage.picture(image)], image.width, image.height), stage.caption(t, image)),
        element(
            "div", shelves.star_button(t, image), stage.download(t, image),
            stage.copy_button(t, stage.settings(image)), verb, class_="acts",
        ),  # fmt: skip
        class_="stage small",
        data_image=image.id,
    )


@dataclass(frozen=True)
class Marks:
    """Over a picture of the shelf: chosen for review or not, what clients said of it. `shown`: large now."""

    t: Any
    verdicts: Mapping[str, Verdict]
    tray: list[str]
    shown: str

    def over(self, image: ImageRow) -> Markup:
        held = image.id in self.tray
        pick = element(
            "button", "✓", type="button", class_="pick", data_act="choose", data_id=image.id,
            aria_pressed="true" if held else "false", aria_label=self.t("review_pick"),
        )  # fmt: skip
        star = element("span", "★", class_="starred", aria_label=self.t("starred")) if image.star else None
        badge = review_views.badge(self.t, self.verdicts.get(image.id))
        thumb = stage.thumb(image, self.shown)
        return element("div", thumb, None if image.trashed else pick, star, badge, class_="held")


def choosing(t: Any, count: int) -> Markup:
    if not count:
        return Markup("")
    share = element("button", t("review_share"), type="button", class_="soft", data_act="share")
    return element("div", element("p", t("review_chosen", count=count)), share, class_="choosing")


def shelf(t: Any, images: list[ImageRow], marks: Marks, *, searched: bool, trash: bool) -> Markup:
    if images:
        tiles = [marks.over(image) for image in images]
        return element("div", *tiles, class_="shelf-grid")
    if trash:
        return stage.empty(t, t("trash_empty"), "")
    if searched:
        return stage.empty(t, t("library_nothing"), "")
    return stage.empty(t, t("library_title"), t("library_text"))
