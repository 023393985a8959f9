"""The models on the System tab: what is there and what it needs, fetching, deleting, choosing the default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import gradio as gr

from studio.catalog import CONTROLS, DISTILLED, FAMILIES
from studio.errors import Forbidden, StudioError
from studio.models import ControlRow, ModelRow, PullView
from studio.models.forecast import SIZES, family_needs
from studio.people import speaker
from studio.ui import stage
from studio.ui.form import Page, model_rows
from studio.ui.html import Markup, element
from studio.ui.parts import board, gigabytes
from studio.ui.run import AT_ONCE, QUIET, Updates
from studio.ui.text import Text

ENDED = 3  # downloads that have ended and are still shown
GOING = ("queued", "running")


def build(page: Page) -> dict[str, Any]:
    t = page.t
    shelf = board(Markup(""), elem_id="models-shelf")
    with gr.Row(elem_classes=["models-get"]):
        id = gr.Textbox(
            label=t("hub_id"), placeholder=t("hub_hint"), max_length=400, scale=3, elem_id="models-id"
        )
        get = gr.Button(t("hub_get"), size="sm", elem_id="models-get", elem_classes=["quiet"])
    said = gr.HTML(Markup(""), elem_id="models-said", apply_default_css=False)
    pulls = board(Markup(""), elem_id="models-pulls")
    # Apart from the shelf, which is drawn anew while somebody reads here.
    guide = gr.HTML(Markup(""), elem_id="models-guide", apply_default_css=False)
    return {
        "shelf": shelf, "id": id, "get": get, "said": said, "pulls": pulls, "guide": guide,
        "asked": gr.State(""), "names": gr.State(()),
    }  # fmt: skip


def wire(page: Page, timer: Any) -> None:
    """`timer`: ticks while the tab is open."""
    parts = page.parts["system"]
    keeper = Keeper(page, parts)
    asked = {parts["id"], parts["asked"], parts["names"]}
    outputs = [
        *(parts[name] for name in ("shelf", "said", "pulls", "id", "asked", "names")),
        *keeper.choices(),
    ]
    parts["tab"].select(keeper.look, asked, outputs, **AT_ONCE)
    parts["tab"].select(lambda: advice(page), None, parts["guide"], **AT_ONCE)
    timer.tick(keeper.look, asked, outputs, **AT_ONCE)
    gr.on([parts["get"].click, parts["id"].submit], keeper.fetch, asked, outputs, **QUIET)
    for name in ("shelf", "pulls"):
        parts[name].select(keeper.change, asked, outputs, **AT_ONCE)


class Keeper:
    """The handlers. `asked` in the page's state: the model whose deletion waits for a second click."""

    def __init__(self, page: Page, parts: Mapping[str, Any]) -> None:
        self.page, self.parts = page, parts
        self.studio, self.t = page.studio, page.t

    def choices(self) -> list[Any]:
        """Every list of models on the page."""
        fields = (form.fields.get("model") for form in self.page.forms)
        return [field for field in dict.fromkeys(fields) if field is not None]

    def look(self, data: Mapping[Any, Any]) -> Updates:
        return self.shown(data, data[self.parts["asked"]])

    def shown(self, data: Mapping[Any, Any], asked: str = "") -> Updates:
        parts, models = self.parts, self.studio.models
        rows = models.list()
        names = tuple(row.name for row in rows)
        updates: Updates = {
            parts["shelf"]: installed(self.page, rows, asked),
            parts["pulls"]: downloads(self.t, self.studio.pulls.list()),
            parts["asked"]: asked,
            parts["names"]: names,
        }
        if names != tuple(data[parts["names"]]):  # not at each look: it would shut a list somebody has open
            lists = gr.update(choices=model_rows(self.studio))
            updates |= dict.fromkeys(self.choices(), lists)
        return updates

    def fetch(self, data: Mapping[Any, Any]) -> Updates:
        return self.told(data, lambda: self.begin(str(data[self.parts["id"]]).strip()))

    def begin(self, id: str) -> Updates:
        view = self.studio.pulls.start(id)
        words = self.t("hub_begun", name=view.model, size=gigabytes(view.of))
        return {self.parts["said"]: said(words), self.parts["id"]: ""}

    def change(self, data: Mapping[Any, Any], event: gr.EventData) -> Updates:
        """Default, delete, really delete, stop or go on."""
        verb, id = event._data.get("act"), str(event._data.get("id", ""))[:400]
        if verb == "delete":
            return {**self.shown(data, asked=id), self.parts["said"]: Markup("")}
        verbs = {"default": self.choose, "really": self.remove, "stop": self.stop, "again": self.begin}
        if verb not in verbs:
            return self.shown(data)
        return self.told(data, lambda: verbs[verb](id))

    def choose(self, name: str) -> Updates:
        self.studio.models.make_default(name)
        return {self.parts["said"]: said(self.t("model_chosen", name=name))}

    def remove(self, name: str) -> Updates:
        self.studio.models.remove(name)
        return {self.parts["said"]: said(self.t("model_gone", name=name))}

    def stop(self, id: str) -> Updates:
        self.studio.pulls.cancel(id)
        return {self.parts["said"]: said(self.t("hub_stopped"))}

    def told(self, data: Mapping[Any, Any], act: Any) -> Updates:
        """What `act` changes, or why it was refused; the lists are new in either case."""
        try:
            if not speaker.get().may("admin"):
                raise Forbidden(self.t("models_admin"), code="admin_only")
            changes = act()
        except StudioError as error:
            changes = {self.parts["said"]: stage.problem(self.t, error.as_dict())}
        return {**self.shown(data), **changes}


def said(words: str) -> Markup:
    return element("p", words, class_="caption", role="status")


def installed(page: Page, rows: list[ModelRow], asked: str) -> Markup:
    t, studio = page.t, page.studio
    dtype, chosen = studio.executor.status().dtype, studio.models.default()
    cards = [
        card(t, row, studio.models.needs(row.name, dtype), row.name == chosen, row.name == asked)
        for row in rows
    ]
    cards += [
        element(
            "li",
            element("b", name),
            element("span", f"{t('refused')}: {error.message}", class_="bad"),
            verbs(t, name, deletable=True, asked=name == asked),
            class_="refused",
        )
        for name, error in studio.models.problems().items()
    ]
    cards += [control_card(t, row, row.name == asked) for row in studio.models.controls.list()]
    return element(
        "section",
        element("h3", t("models")),
        element("ul", *cards),
        class_="models",
    )


def card(t: Text, row: ModelRow, needs: Mapping[int, int], chosen: bool, asked: bool) -> Markup:
    marks = [t("model_default")] * chosen + [t("model_builtin")] * row.builtin
    marks += [DISTILLED[row.distilled].label] if row.distilled else []
    facts = [FAMILIES[row.family].label, f"{row.size} px", gigabytes(row.bytes), *row.controls]
    origin = [row.source] + [f"@{row.revision[:7]}"] * bool(row.revision)
    sizes = [size for size in (*SIZES, row.size) if size in needs]
    wants = " · ".join(f"{side} px {gigabytes(needs[side])}" for side in sorted(set(sizes)))
    return element(
        "li",
        element("b", row.label, *[element("i", mark, class_="mark") for mark in marks]),
        element("span", " · ".join(facts)),
        element("span", f"{t('model_wants')}: {wants}"),
        element("span", " ".join(origin)) if row.source else None,
        element("span", f"SHA-256 {row.hash[:10]}", title=row.hash) if row.hash else None,
        verbs(
            t,
            row.name,
            deletable=not (row.builtin or chosen),
            asked=asked,
            default=not chosen and not row.refines,
        ),
        data_model=row.name,
    )


def control_card(t: Text, row: ControlRow, asked: bool) -> Markup:
    facts = [f"ControlNet {CONTROLS[row.control].label}", gigabytes(row.bytes)]
    facts += [t("control_fits", models=", ".join(row.fits))] if row.fits else []
    origin = [row.source] + [f"@{row.revision[:7]}"] * bool(row.revision)
    return element(
        "li",
        element("b", row.name),
        element("span", " · ".join(facts)),
        element("span", " ".join(origin)),
        element("span", f"SHA-256 {row.hash[:10]}", title=row.hash),
        verbs(t, row.name, deletable=True, asked=asked),
        data_model=row.name,
    )


def verbs(t: Text, name: str, *, deletable: bool, asked: bool, default: bool = False) -> Markup:
    """Deleting asks once more, in the place where it was asked for."""
    buttons = [stage.act(t("make_default"), "default", name)] if default and not asked else []
    if asked:
        buttons += [stage.act(t("delete_really"), "really", name), stage.act(t("keep"), "keep", name)]
    elif deletable:
        buttons.append(stage.act(t("delete"), "delete", name))
    return element("div", *buttons, class_="acts")


def downloads(t: Text, views: list[PullView]) -> Markup:
    ended = [view for view in views if view.state not in GOING][:ENDED]
    rows = [download(t, view) for view in views if view.state in GOING or view in ended]
    return element("ul", *rows, class_="pulls") if rows else Markup("")


def download(t: Text, view: PullView) -> Markup:
    share = view.done / max(1, view.of)
    speed = view.done / view.seconds if view.seconds > 1 and view.state == "running" else 0.0
    facts = [t(f"state_{view.state}"), f"{gigabytes(view.done)} / {gigabytes(view.of)}", f"{share:.0%}"]
    facts += [f"{speed / 2**20:.1f} MiB/s"] if speed else []
    verb = None
    if view.state in GOING:
        verb = stage.act(t("cancel"), "stop", view.id)
    elif view.state in ("cancelled", "failed"):
        verb = stage.act(t("hub_again"), "again", f"{view.source}@{view.revision}")
    return element(
        "li",
        element("b", view.source),
        element("progress", max=100, value=round(share * 100), aria_label=view.source),
        element("span", " · ".join(facts)),
        element("span", str(view.error["message"]), class_="bad") if view.error else None,
        element("div", verb, class_="acts") if verb else None,
        data_pull=view.state,
    )


def advice(page: Page) -> Markup:
    """Which family suits this machine: what each wants at its own size, beside what there is."""
    t, worker = page.t, page.studio.executor.status()
    dtype, device = worker.dtype, worker.device
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if device == "cpu" else 0
    rows = []
    for family in FAMILIES.values():
        want = family_needs(family, dtype)
        fits = "" if not there else t("fits") if want < there * 0.8 else t("fits_not")
        cells = (
            family.label,
            f"{family.size} px",
            gigabytes(want),
            fits,
            t.pick(family.advice, family.advice_zh),
        )
        rows.append(element("tr", *[element("td", cell) for cell in cells]))
    heads = ("family", "native", "model_wants", "machine", "hint")
    machine = t("machine_has", size=gigabytes(there)) if there else ""
    return element(
        "details",
        element("summary", t("which_model")),
        element("p", machine, class_="caption") if machine else None,
        element(
            "table",
            element("thead", element("tr", *[element("th", t(f"models_{head}")) for head in heads])),
            element("tbody", *rows),
        ),
        class_="guide",
    )
