"""For monitoring: alive, and ready."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI
from pydantic import BaseModel

from studio.api.routes import get_and_head
from studio.api.views import refusals
from studio.errors import NotReady, StudioError
from studio.studio import Studio


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


def not_loaded(studio: Studio) -> NotReady:
    """Why: a default model that is not there, or is not whole, never will be loaded."""
    try:
        studio.models.get(studio.models.default())
    except StudioError as error:
        return NotReady(f"The default model cannot be loaded. {error.message}", hint="See: studio doctor.")
    return NotReady("The worker is loading the default model.", hint="Jobs are accepted and will wait.")
