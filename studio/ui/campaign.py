"""Campaign: a sheet of products, scenes and formats, edited in the page's table, run row by row."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from studio.brand.names import PATTERN
from studio.brand.sheet import read_sheet, sheet_of, table_of
from studio.brand.table import MAX_BYTES, Cells
from studio.campaigns import CampaignView, Options
from studio.errors import StudioError, TooLarge
from studio.ui import campaign_views as views
from studio.ui import stage
from studio.ui.form import Page
from studio.ui.html import Markup
from studio.ui.parts import board
from studio.ui.run import AT_ONCE, QUIET, Updates, buttons, idle, told

LOOK = 0.5  # s between two looks at a running campaign
SHEETS, PICTURES = (".csv", ".xlsx"), (".png", ".jpg", ".jpeg", ".webp")
EXAMPLE = (
    ("sku", "product", "colour", "background", "scene", "size", "seed"),
    ("SKU-101", "sneaker", "red", "blue", "", "128x128 | 192x128", "7"),
    ("SKU-102", "mug", "green", "beige", "on a table | on a podium", "128x128", "8"),
    ("SKU-103", "lamp", "yellow", "grey", "", "128x128", "9"),
)


def build(page: Page) -> dict[str, Any]:
    t = page.t
    with gr.Row(elem_classes=["desk"]):
        with gr.Column(elem_classes=["left"], min_width=0):
            intro = gr.HTML(views.intro(t), elem_id="campaign-intro", apply_default_css=False)
            add = gr.UploadButton(
                t("campaign_upload"),
                file_types=[*SHEETS, *PICTURES],
                file_count="multiple",
                elem_id="campaign-upload",
                elem_classes=["quiet"],
            )
            name = gr.Textbox(label=t("campaign_name"), elem_id="campaign-name", max_lines=1, max_length=120)
            pattern = gr.Textbox(
                PATTERN, label=t("campaign_pattern"), info=t("campaign_pattern_info"),
                elem_id="campaign-pattern", max_lines=1, max_length=200,
            )  # fmt: skip
            go, stop = buttons(t, "campaign", t("campaign_run"))
            again = gr.Button(
                t("campaign_changed"), visible=False, elem_id="campaign-changed", elem_classes=["quiet"]
            )
            retry = gr.Button(
                t("campaign_retry"), visible=False, elem_id="campaign-retry", elem_classes=["quiet"]
            )
            said = board(Markup(""), elem_id="campaign-said")
            recent = board(Markup(""), elem_id="campaign-recent")
        with gr.Column(elem_classes=["right"], min_width=0):
            table = gr.Dataframe(
                value={"headers": list(EXAMPLE[0]), "data": [list(row) for row in EXAMPLE[1:]]},
                datatype="str",
                interactive=True,
                wrap=False,
                type="pandas",
                max_height=340,
                show_label=False,
                elem_id="campaign-table",
                buttons=[],
            )
            more = gr.Button(
                t("campaign_row"), size="sm", elem_id="campaign-row", elem_classes=["quiet"], min_width=0
            )
            view = board(Markup(""), elem_id="campaign-stage")
    return {
        "add": add, "name": name, "pattern": pattern, "go": go, "stop": stop, "again": again, "retry": retry,
        "said": said, "recent": recent, "table": table, "view": view, "intro": intro, "more": more,
        "id": gr.State(""), "pictures": gr.State({}), "job": gr.State(""),
    }  # fmt: skip


def wire(page: Page) -> None:
    parts = page.parts["campaign"]
    case = Case(page, parts)
    asked = {parts["table"], parts["name"], parts["pattern"], parts["pictures"], parts["id"], page.preset}
    seen = [parts[name] for name in ("view", "said", "go", "stop", "again", "retry", "id", "job", "recent")]
    sheet = [parts["table"], parts["name"], parts["pictures"], parts["said"], parts["id"]]
    parts["add"].upload(case.take, {parts["add"], *asked}, sheet, **QUIET)
    gr.on(
        [parts["table"].change, parts["pattern"].change, page.preset.change], case.preview, asked,
        [parts["said"], parts["view"], parts["again"]], trigger_mode="always_last", **AT_ONCE,
    )  # fmt: skip
    parts["more"].click(add_row, parts["table"], parts["table"], **AT_ONCE)
    parts["go"].click(case.start, asked, seen, **QUIET)
    parts["again"].click(case.start_changed, asked, seen, **QUIET)
    parts["retry"].click(case.start_failed, asked, seen, **QUIET)
    parts["stop"].click(case.cancel, parts["id"], None, **AT_ONCE)
    parts["tab"].select(case.arrive, asked, [parts["recent"], parts["said"], parts["view"]], **AT_ONCE)
    opened = [*seen, parts["table"], parts["name"], parts["pattern"]]
    parts["recent"].select(case.open, asked, opened, **QUIET)


class Case:
    """The handlers of Campaign. What runs is in the library's rows; the page only looks at them."""

    def __init__(self, page: Page, parts: Mapping[str, Any]) -> None:
        self.page, self.parts = page, parts
        self.studio, self.t = page.studio, page.t

    # --- the sheet ---

    def take(self, data: Mapping[Any, Any]) -> Updates:
        """Uploaded files: a sheet fills the table, pictures are kept for cells that name them."""
        parts, pictures = self.parts, dict(data[self.parts["pictures"]])
        updates: Updates = {}
        try:
            for file in map(Path, data[parts["add"]] or ()):
                if file.suffix.lower() in SHEETS:
                    sheet = read_sheet(_bounded(file))
                    updates[parts["table"]] = shown(table_of(sheet))
                    updates[parts["name"]] = file.stem[:120]
                    updates[parts["id"]] = ""
                else:
                    pictures[file.name.casefold()] = self.studio.upload(file.read_bytes())
        except StudioError as error:
            return {parts["said"]: views.problem(self.t, error)}
        updates[parts["pictures"]] = pictures
        if pictures:
            updates[parts["said"]] = views.line(self.t("campaign_pictures", count=len(pictures)))
        return updates

    def options(self, data: Mapping[Any, Any]) -> Options:
        """Rows that name no preset get the page's."""
        preset = data[self.page.preset]
        return Options(
            pattern=str(data[self.parts["pattern"]] or PATTERN),
            fields={"preset": preset} if preset else {},
            pictures=dict(data[self.parts["pictures"]]),
        )

    def preview(self, data: Mapping[Any, Any]) -> Updates:
        """What the table would make, and every cell that stands in the way."""
        parts, id = self.parts, str(data[self.parts["id"]])
        try:
            sheet = sheet_of(cells(data[parts["table"]]))
            plan = self.studio.campaigns.plan(sheet, self.options(data))
            found = self.studio.campaigns.forecast(plan)
        except StudioError as error:
            return {parts["said"]: views.problem(self.t, error)}
        updates: Updates = {parts["said"]: views.forecast(self.t, plan, found)}
        if id:
            before = self.studio.campaigns.store.table(id)
            changed = [row for row, old in zip(table_of(sheet), before, strict=False) if row != old]
            updates[parts["again"]] = gr.update(visible=bool(changed))
        else:
            updates[parts["view"]] = views.first_runs(self.t, plan)
        return updates

    def arrive(self, data: Mapping[Any, Any]) -> Updates:
        recent = {self.parts["recent"]: self.recent()}
        return recent if data[self.parts["id"]] else recent | self.without_button(data)

    def without_button(self, data: Mapping[Any, Any]) -> Updates:
        updates = self.preview(data)
        updates.pop(self.parts["again"], None)
        return updates

    # --- runs ---

    def start(self, data: Mapping[Any, Any]) -> Iterator[Updates]:
        def run() -> CampaignView:
            sheet, name = sheet_of(cells(data[self.parts["table"]])), data[self.parts["name"]]
            return self.studio.campaigns.create(sheet, self.options(data), str(name or ""))

        yield from self.follow(run)

    def start_changed(self, data: Mapping[Any, Any]) -> Iterator[Updates]:
        id, table = str(data[self.parts["id"]]), cells(data[self.parts["table"]])
        yield from self.follow(lambda: self.studio.campaigns.update(id, table))

    def start_failed(self, data: Mapping[Any, Any]) -> Iterator[Updates]:
        id = str(data[self.parts["id"]])
        yield from self.follow(lambda: self.studio.campaigns.retry(id))

    def follow(self, begin: Any) -> Iterator[Updates]:
        """Looks until the campaign has ended; a refusal leaves what is shown and says why."""
        parts = self.parts
        try:
            view = begin()
        except StudioError as error:
            yield {parts["said"]: views.problem(self.t, error)}
            return
        yield from told(self.t, parts, lambda: self.watch(view.id))

    def watch(self, id: str) -> Iterator[Updates]:
        parts = self.parts
        hidden = gr.update(visible=False)
        yield {
            parts["id"]: id, parts["go"]: hidden, parts["stop"]: gr.update(visible=True),
            parts["again"]: hidden, parts["retry"]: hidden, parts["said"]: Markup(""),
        }  # fmt: skip
        while True:
            view = self.studio.campaigns.get(id)
            yield {parts["view"]: self.look(view)}
            if view.state != "running":
                break
            time.sleep(LOOK)
        left = view.counts.get("failed", 0) + view.counts.get("cancelled", 0)
        yield {**idle(parts), parts["retry"]: gr.update(visible=left > 0), parts["recent"]: self.recent(id)}

    def look(self, view: CampaignView) -> Markup:
        campaigns = self.studio.campaigns
        return views.running(self.t, view, campaigns.shots(view.id), campaigns.pictures(view.id))

    def cancel(self, id: str) -> None:
        try:
            self.studio.campaigns.cancel(id)
        except StudioError:
            return  # it ended meanwhile: nothing to say

    def open(self, data: Mapping[Any, Any], event: gr.EventData) -> Iterator[Updates]:
        """An earlier campaign with its table; a running one is followed."""
        parts, id = self.parts, str(event._data.get("id", ""))
        try:
            view = self.studio.campaigns.get(id)
            table = self.studio.campaigns.store.table(id)
        except StudioError as error:
            yield {parts["view"]: stage.problem(self.t, error.as_dict())}
            return
        fields = {parts["name"]: view.name, parts["pattern"]: view.options.pattern}
        yield {parts["id"]: id, **({} if view.options.grid else {parts["table"]: shown(table), **fields})}
        yield from told(self.t, parts, lambda: self.watch(id))

    def recent(self, chosen: str = "") -> Markup:
        return views.recent(self.t, self.studio.campaigns.recent(8), chosen)


def cells(frame: Any) -> Cells:
    """The page's table with its headings first; empty rows at its end and nameless columns are left out."""
    headings = ["" if heading is None else str(heading) for heading in frame.columns]
    rows = [["" if _is_nothing(value) else str(value) for value in row] for row in frame.to_numpy().tolist()]
    while rows and not any(cell.strip() for cell in rows[-1]):
        rows.pop()
    used = [
        number for number, heading in enumerate(headings)
        if any(row[number].strip() for row in rows) or not heading.strip().isdecimal()
    ]  # fmt: skip
    return [[line[number] for number in used] for line in (headings, *rows)]


def add_row(frame: Any) -> dict[str, Any]:
    table = cells(frame)
    return shown([*table, [""] * len(table[0])])


def _is_nothing(value: object) -> bool:
    return value is None or value != value  # NaN: what pandas puts into an empty cell


def shown(table: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The value of the page's table."""
    return {"headers": list(table[0]), "data": [list(row) for row in table[1:]]}


def _bounded(file: Path) -> bytes:
    size = file.stat().st_size
    if size > MAX_BYTES:
        raise TooLarge(f"The sheet has {size / 2**20:.1f} MB; at most {MAX_BYTES // 2**20} MB are read.")
    return file.read_bytes()
