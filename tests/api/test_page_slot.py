"""The page comes after the API, in the same server."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from serving import refused, served

from studio.api.app import web
from studio.api.page import Build
from studio.studio import Studio


def small_page() -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.get("/")(lambda: HTMLResponse("the page"))
    return app


@contextmanager
def page_served(studio: Studio, build: Build) -> Iterator[httpx.Client]:
    with served(web(studio, build), studio.settings) as address, httpx.Client(base_url=address) as client:
        yield client


def wait_for(client: httpx.Client, path: str, status: int) -> httpx.Response:
    until = time.monotonic() + 20
    while (answer := client.get(path)).status_code != status:
        assert time.monotonic() < until, answer.text
        time.sleep(0.02)
    return answer


def test_the_api_answers_while_the_page_is_being_built(studio: Studio) -> None:
    go = threading.Event()

    def build() -> FastAPI:
        go.wait(20)
        return small_page()

    with page_served(studio, build) as client:
        assert client.get("/livez").status_code == 200
        assert "being built" in refused(client.get("/readyz"), 503, "not_ready")["message"]
        coming = client.get("/")
        assert coming.status_code == 503 and "is starting" in coming.text
        refused(client.post("/gradio_api/queue/join", json={}), 503, "not_ready")
        go.set()
        wait_for(client, "/readyz", 200)
        assert client.get("/").text == "the page"


def test_a_page_that_cannot_be_built_leaves_the_api(studio: Studio) -> None:
    def build() -> FastAPI:
        raise RuntimeError("/secret/place")

    with page_served(studio, build) as client:
        until = time.monotonic() + 20
        while "could not" not in (error := refused(client.get("/readyz"), 503))["message"]:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert "RuntimeError" in error["message"] and "/secret" not in error["message"]
        assert client.get("/api/v1/schedulers").status_code == 200
        refused(client.get("/"), 503, "not_ready")


def test_a_server_stops_without_waiting_for_its_page(studio: Studio) -> None:
    go = threading.Event()

    def build() -> FastAPI:
        go.wait(60)
        return small_page()

    with page_served(studio, build) as client:
        refused(client.get("/readyz"), 503)
    go.set()


def test_the_pages_own_refusals_have_the_one_form(studio: Studio) -> None:
    with page_served(studio, small_page) as client:
        wait_for(client, "/readyz", 200)
        refused(client.get("/nope"), 404)
        answer = client.post("/", json={})
        refused(answer, 405)
        assert answer.headers["allow"] == "GET, HEAD"


def test_the_page_is_told_when_the_server_stops(studio: Studio) -> None:
    closed = threading.Event()

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        closed.set()

    def build() -> FastAPI:
        app = FastAPI(openapi_url=None, lifespan=life)
        app.get("/")(lambda: HTMLResponse("the page"))
        return app

    with page_served(studio, build) as client:
        wait_for(client, "/readyz", 200)
        assert not closed.is_set()
    assert closed.is_set()
