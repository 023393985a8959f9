"""The web app: walls around the API, and the page for every address that is not the API's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.api import docs, errors, health, library, login, models, native, queue
from studio.api.a1111 import add_a1111
from studio.api.campaigns import add_campaigns
from studio.api.infotext import add_infotext
from studio.api.kits import add_kits
from studio.api.metrics import Counted, Metrics, add_metrics, remembered
from studio.api.openai import add_openai
from studio.api.page import Build, Page
from studio.api.palettes import add_palettes
from studio.api.review import add_review
from studio.api.rules import add_rules
from studio.api.sign_in import SignIn
from studio.api.stream import Listeners
from studio.api.training import add_training
from studio.api.verify import add_verify
from studio.api.walls import Walls
from studio.api.webhooks import add_webhooks
from studio.api.wildcards import add_wildcards
from studio.studio import Studio

OURS = (
    "/api/", "/sdapi/", "/controlnet/", "/internal/", "/v1/", "/livez", "/readyz", "/metrics", "/generate",
    "/docs", "/openapi.json", "/login", "/logout", "/gradio_api/stream/",
)  # fmt: skip


def web(studio: Studio, page: Build | None = None) -> ASGIApp:
    """`page` makes the page's app; called in a thread once the server answers. None: the API alone."""
    sign_in, metrics = SignIn(studio.accounts, studio.settings), Metrics(studio)
    walls = Walls(unwalled(studio, page, sign_in, metrics), studio.settings, sign_in)
    return Counted(walls, metrics)  # it looks on, and lets nobody in


def unwalled(
    studio: Studio,
    page: Build | None = None,
    sign_in: SignIn | None = None,
    metrics: Metrics | None = None,
) -> ASGIApp:
    """The app before the walls stand around it. For tests of the walls; never serve it."""
    place = Page(page)
    api = make_api(studio, place, sign_in or SignIn(studio.accounts, studio.settings), metrics)

    async def split(scope: Scope, receive: Receive, send: Send) -> None:
        ours = scope["type"] == "lifespan" or scope["path"].startswith(OURS) or page is None
        with remembered(scope):
            await (api if ours else place)(scope, receive, send)

    return split


def make_api(studio: Studio, place: Page, sign_in: SignIn, metrics: Metrics | None = None) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with place.running():
            yield

    # Its documentation page would load scripts from elsewhere; docs.py has one that does not.
    app = FastAPI(
        title="Brand Studio", version=installed(), lifespan=lifespan, docs_url=None, redoc_url=None,
        redirect_slashes=False,
    )  # fmt: skip
    errors.install(app)
    listeners = Listeners()
    health.add_health(app, studio, lambda: place.problem)
    add_metrics(app, metrics or Metrics(studio))
    login.add_login(app, sign_in)
    library.add_library(app, studio)
    library.add_collections(app, studio)
    queue.add_queue(app, studio)
    add_rules(app, studio)  # before the pictures, whose ids take the rest of an address
    native.add_events(app, studio, listeners)
    native.add_jobs(app, studio, listeners)
    native.add_images(app, studio)
    native.add_choices(app, studio)
    add_verify(app, studio)
    models.add_models(app, studio)
    models.add_pulls(app, studio)
    add_infotext(app, studio)
    add_webhooks(app, studio)
    add_a1111(app, studio, listeners)
    add_openai(app, studio, listeners)
    add_review(app, studio)
    add_campaigns(app, studio)
    add_training(app, studio, listeners)
    add_kits(app, studio)
    add_palettes(app, studio)
    add_wildcards(app, studio)
    docs.add_docs(app)
    return app


def installed() -> str:
    try:
        return version("brand-studio")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0"
