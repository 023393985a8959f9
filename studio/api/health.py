"""For monitoring: alive, ready, figures in Prometheus' text form. No prompt, name or path is among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from studio.api.routes import get_and_head
from studio.api.views import refusals
from studio.errors import Forbidden, NotReady, StudioError
from studio.schema import State, StudioStatus
from studio.studio import Studio

LOOPBACK = ("127.", "::1")


class Alive(BaseModel):
    status: str


class Ready(BaseModel):
    status: str
    device: str
    dtype: str


def add_health(app: FastAPI, studio: Studio, page_problem: Callable[[], str]) -> None:
    """`page_problem`: why the page cannot be opened yet; empty when it can."""

    @get_and_head(app, "/livez", tags=["health"], summary="The web process answers")
    def livez() -> Alive:
        return Alive(status="ok")

    @get_and_head(
        app, "/readyz", tags=["health"], responses=refusals(503),
        summary="The worker holds the default model and the page is there",
    )  # fmt: skip
    def readyz() -> Ready:
        if not studio.executor.ready():
            raise not_loaded(studio)
        if problem := page_problem():
            raise NotReady(problem, hint="The API answers already.")
        worker = studio.status().worker
        return Ready(status="ready", device=worker.device, dtype=worker.dtype)

    @app.get("/metrics", tags=["health"], response_class=PlainTextResponse, responses=refusals(403))
    def metrics(request: Request) -> PlainTextResponse:
        if request.client is not None and not request.client.host.startswith(LOOPBACK):
            raise Forbidden(
                "Figures are given to this machine only.", hint="Collect them on the machine itself."
            )
        text = "\n".join(exposition(studio.status(), studio.executor.ready()))
        return PlainTextResponse(text + "\n", media_type="text/plain; version=0.0.4")


def not_loaded(studio: Studio) -> NotReady:
    """Why: a default model that is not there, or is not whole, never will be loaded."""
    try:
        studio.models.get(studio.models.default())
    except StudioError as error:
        return NotReady(f"The default model cannot be loaded. {error.message}", hint="See: studio doctor.")
    return NotReady("The worker is loading the default model.", hint="Jobs are accepted and will wait.")


OUTCOMES: tuple[State, ...] = ("completed", "failed", "cancelled")


def figures(status: StudioStatus, ready: bool) -> Iterator[tuple[str, str, float]]:
    """(name, help, value) of each gauge."""
    worker = status.worker
    yield "studio_worker_ready", "1 when the worker holds the default model.", float(ready)
    yield "studio_jobs_queued", "Jobs waiting.", status.queued
    yield "studio_jobs_running", "Jobs with a runner.", status.running
    yield "studio_images", "Pictures in the library, trash apart.", status.images
    yield "studio_images_trashed", "Pictures in the trash.", status.trashed
    yield "studio_worker_memory_bytes", "Memory of the worker or of its device.", worker.memory
    yield "studio_models_resident", "Models in memory.", len(worker.resident)
    yield "studio_rows_per_tick", "Mean UNet rows of the last steps.", worker.rows_per_tick


def exposition(status: StudioStatus, ready: bool) -> Iterator[str]:
    """Prometheus' text form, line by line."""
    for name, about, value in figures(status, ready):
        yield from (f"# HELP {name} {about}", f"# TYPE {name} gauge", f"{name} {value!r}")
    yield "# HELP studio_jobs_total Jobs that ended, since the library began."
    yield "# TYPE studio_jobs_total counter"
    for outcome in OUTCOMES:
        yield f'studio_jobs_total{{outcome="{outcome}"}} {status.ended.get(outcome, 0)}'
