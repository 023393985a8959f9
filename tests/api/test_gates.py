"""Every route of the whole app, Gradio's too: what can be reached is named in gates.py, all else is shut."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from routes_of_page import Route, bare
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.api import gates
from studio.api.walls import Walls
from studio.settings import ROOT, Settings

DANGEROUS = {
    ("GET", "/gradio_api/proxy={:path}"),
    ("GET", "/gradio_api/file={:path}"),
    ("GET", "/gradio_api/file/{:path}"),
    ("POST", "/gradio_api/process_recording"),
    ("POST", "/gradio_api/api/{}"),
    ("POST", "/gradio_api/call/{}"),
    ("POST", "/gradio_api/component_server"),
    ("GET", "/gradio_api/token"),
    ("GET", "/monitoring"),
    ("GET", "/gradio_api/custom_component/{}/{}/{}/{}"),
    ("POST", "/gradio_api/vibe-edit"),
    ("POST", "/zh/login"),
}


@pytest.fixture(scope="module")
def routes(settings: Settings) -> dict[str, set[Route]]:
    script = Path(__file__).with_name("routes_of_page.py")
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    said = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(settings.home)],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    return {name: {(method, path) for method, path in rows} for name, rows in json.loads(said.stdout).items()}


@pytest.fixture(scope="module")
def every_route(routes: dict[str, set[Route]]) -> set[Route]:
    return routes["ours"] | routes["page"]


def reached(make: Any, routes: Iterable[Route]) -> set[Route]:
    """Those routes whose request gets through to the app that `make` stands around."""
    found: set[Route] = set()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found.add(asking)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(_: Message) -> None: ...

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    guarded: ASGIApp = make(app)
    for asking in routes:
        method, template = asking
        path = re.sub(r"\{[^}]*\}", "x", template)
        scope = {"type": "http", "method": method, "path": path, "headers": [(b"host", b"localhost")]}
        asyncio.run(guarded(scope, receive, send))  # type: ignore[arg-type]
    return found


def unnamed(routes: Iterable[Route]) -> set[Route]:
    """A broad row of gates.py may let a route through that it was not written for: names must be equal."""
    named = {(method, bare(gate.address)) for gate in gates.gates() for method in gate.methods}
    return set(routes) - named


def test_whatever_can_be_reached_is_named(settings: Settings, every_route: set[Route]) -> None:
    assert not unnamed(reached(lambda app: Walls(app, settings, None), every_route))


def test_without_the_wall_dozens_of_routes_are_open(every_route: set[Route]) -> None:
    assert len(unnamed(reached(lambda app: app, every_route))) > 60
    assert every_route >= DANGEROUS


def test_gradios_dangerous_routes_are_shut(settings: Settings) -> None:
    assert not reached(lambda app: Walls(app, settings, None), DANGEROUS)
    assert reached(lambda app: app, DANGEROUS) == DANGEROUS


def test_a_row_too_broad_is_found(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    broad = gates.make_gates([("open", "GET POST", "/{all:path}")])
    walls = Walls(_nothing, settings, None)
    monkeypatch.setattr(walls, "gates", broad)

    def around(app: ASGIApp) -> ASGIApp:
        walls.app = app
        return walls

    assert ("GET", "/gradio_api/file={:path}") in unnamed(reached(around, DANGEROUS))


def test_every_route_of_ours_has_a_row(settings: Settings, routes: dict[str, set[Route]]) -> None:
    """One without is dead: its author meets it here. Give it a row in studio/api/gates.py."""
    lost = routes["ours"] - reached(lambda app: Walls(app, settings, None), routes["ours"])
    assert not lost


def test_every_row_belongs_to_a_route(every_route: set[Route]) -> None:
    named = {(method, bare(gate.address)) for gate in gates.gates() for method in gate.methods}
    assert not named - every_route - {("GET", "/zh")}


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None: ...
