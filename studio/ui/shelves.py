"""Stars and collections of the Library tab."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from studio.errors import StudioError
from studio.people import speaker
from studio.schema import ImageRow
from studio.ui import stage
from studio.ui.form import Page
from studio.ui.html import Markup
from studio.ui.run import AT_ONCE, Updates


def build_filters(page: Page) -> dict[str, Any]:
    """What narrows the shelf down."""
    t = page.t
    return {
        "star": gr.Checkbox(False, label=t("starred_only"), elem_id="library-star", container=False),
        "collection": gr.Dropdown(
            [(t("all_pictures"), "")], value="", label=t("collection"), filterable=False,
            elem_id="library-collection", visible=False,
        ),
    }  # fmt: skip


def build_membership(page: Page) -> dict[str, Any]:
    """Which collections the picture that is looked at belongs to; a new name makes a new one."""
    t = page.t
    belongs = gr.Dropdown(
        [], value=[], multiselect=True, allow_custom_value=True, label=t("in_collections"),
        info=t("in_collections_hint"), elem_id="library-belongs", visible=False,
    )  # fmt: skip
    return {"belongs": belongs, "picked": gr.State("")}


def wire(page: Page) -> None:
    parts = page.parts["library"]
    shelves = Shelves(page, parts)
    said = [parts["belongs"], parts["collection"], parts["said"]]
    # Not `input`: Gradio 6 keeps silent there about a name that is typed.
    parts["belongs"].change(shelves.put, {parts["belongs"], parts["picked"]}, said, **AT_ONCE)
    parts["shelf"].select(shelves.look, None, [parts["belongs"], parts["picked"]], **AT_ONCE)
    parts["tab"].select(shelves.choices, parts["collection"], parts["collection"], **AT_ONCE)


class Shelves:
    """The handlers of stars and collections."""

    def __init__(self, page: Page, parts: Mapping[str, Any]) -> None:
        self.page, self.parts = page, parts
        self.studio, self.t = page.studio, page.t

    def choices(self, chosen: str) -> Any:
        """Every collection with its number of pictures. Nothing to choose from: not shown."""
        rows = self.studio.library.collections.rows()
        named = [(f"{row.name} ({row.images})", row.id) for row in rows]
        kept = chosen if chosen in {row.id for row in rows} else ""
        return gr.update(choices=[(self.t("all_pictures"), ""), *named], value=kept, visible=bool(rows))

    def look(self, event: gr.EventData) -> Updates:
        id = str(event._data.get("id", ""))
        if event._data.get("act") != "focus":
            return {self.parts["belongs"]: gr.skip()}
        return {self.parts["belongs"]: self.membership(id), self.parts["picked"]: id}

    def membership(self, id: str) -> Any:
        rows = self.studio.library.collections.rows()
        inside = set(self.studio.library.collections.of(id))
        names = [row.name for row in rows]
        return gr.update(choices=names, value=[row.name for row in rows if row.id in inside], visible=True)

    def put(self, data: Mapping[Any, Any]) -> Updates:
        """Makes the picture belong to exactly the collections that are named."""
        id = str(data[self.parts["picked"]])
        wanted = {" ".join(str(name).split()) for name in data[self.parts["belongs"]]}
        shelves = self.studio.library.collections
        said = Markup("")
        known = {row.name: row.id for row in shelves.rows()}
        inside = set(shelves.of(id))
        if not id or wanted == {name for name, shelf in known.items() if shelf in inside}:
            return {self.parts["belongs"]: gr.skip()}  # another picture was looked at, no more
        try:
            for name in sorted(wanted - known.keys()):
                known[name] = shelves.make(name, speaker.get().name).id
            for name, shelf in known.items():
                if name in wanted and shelf not in inside:
                    shelves.put(shelf, [id])
                elif name not in wanted and shelf in inside:
                    shelves.take(shelf, [id])
        except StudioError as error:
            said = stage.problem(self.t, error.as_dict())
        return {
            self.parts["belongs"]: self.membership(id),
            self.parts["collection"]: self.choices(""),
            self.parts["said"]: said,
        }


def star_button(t: Any, image: ImageRow) -> Markup:
    return stage.act(t("unstar") if image.star else t("star"), "unstar" if image.star else "star", image.id)
