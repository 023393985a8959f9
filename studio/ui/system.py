"""System: the models, what is in memory, what waits, which versions run."""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.catalog import BACKENDS
from studio.schema import JobView, StudioStatus
from studio.ui import models
from studio.ui.form import Page
from studio.ui.html import Markup, element
from studio.ui.parts import gigabytes
from studio.ui.run import AT_ONCE
from studio.ui.text import Text

PAUSE = 2.0  # seconds between two looks while the tab is open
JOBS = 12


def build(page: Page) -> dict[str, Any]:
    kept = models.build(page)
    view = gr.HTML(Markup(""), elem_id="system-view", apply_default_css=False)
    return {**kept, "view": view, "timer": gr.Timer(PAUSE, active=False)}


def wire(page: Page) -> None:
    parts = page.parts["system"]

    def look() -> Markup:
        return report(page)

    parts["tab"].select(
        lambda: (look(), gr.update(active=True)), None, [parts["view"], parts["timer"]], **AT_ONCE
    )
    parts["timer"].tick(look, None, parts["view"], **AT_ONCE)
    models.wire(page, parts["timer"])
    for id, other in page.parts.items():
        if id != "system":
            other["tab"].select(lambda: gr.update(active=False), None, parts["timer"], **AT_ONCE)


def report(page: Page) -> Markup:
    t, studio = page.t, page.studio
    status = studio.status()
    return element(
        "div",
        worker(t, status),
        jobs(t, studio.jobs_list(limit=JOBS)),
        versions(t, status),
        class_="report",
    )


def card(title: str, *inside: Markup) -> Markup:
    return element("section", element("h3", title), *inside, class_="fact-card")


def facts(pairs: list[tuple[str, str]]) -> Markup:
    rows = [element("div", element("dt", name), element("dd", value)) for name, value in pairs]
    return element("dl", *rows)


def worker(t: Text, status: StudioStatus) -> Markup:
    at = status.worker
    resident = ", ".join(f"{name} ({gigabytes(bytes)})" for name, bytes in at.resident)
    return card(
        t("worker"),
        facts(
            [
                (t("worker"), t("ready") if at.ready else t("starting")),
                (t("device"), at.device),
                (t("dtype"), at.dtype),
                (t("backend"), BACKENDS[at.backend].label if at.backend in BACKENDS else at.backend),
                (t("memory"), gigabytes(at.memory)),
                (t("resident"), resident or t("nothing")),
                (t("adapters"), ", ".join(at.adapters) or t("nothing")),
                (t("rows"), f"{at.rows_per_tick:.1f}"),
                (t("queue"), t("queue_is", queued=status.queued, running=status.running)),
                (t("pictures"), str(status.images)),
                (t("trashed"), str(status.trashed)),
            ]
        ),
    )


def jobs(t: Text, rows: list[JobView]) -> Markup:
    lines = [
        element(
            "li",
            element("span", t(f"state_{row.state}"), class_=f"state {row.state}"),
            element("span", row.request.prompt, class_="line"),
            element("span", t("took", seconds=f"{row.seconds:.1f}") if row.seconds else ""),
        )
        for row in rows
    ]
    return card(t("recent"), element("ul", *lines) if lines else element("p", t("nothing")))


def versions(t: Text, status: StudioStatus) -> Markup:
    return card(t("versions"), facts(sorted(status.versions.items())))
