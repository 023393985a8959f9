"""The real page in a real browser: Debian's Chromium over Playwright, the real server in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gradio_client
import httpx
import pytest
from folders import make_lora, make_model
from playwright.sync_api import Browser, Page, expect
from walk import EVIL, Api, Visit, settled

from studio.settings import ROOT

Serve = Callable[[Path, float], AbstractContextManager[str]]

STEP = 0.03  # seconds; a run of 20 steps can be watched
expect.set_options(timeout=30_000)  # a busy machine is no fault of the page


@contextmanager
def served(home: Path, step: float) -> Iterator[str]:
    """The address at which the whole app answers, page included."""
    command = [sys.executable, str(Path(__file__).with_name("serve.py")), str(home), str(step)]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            until = time.monotonic() + 240  # importing torch takes minutes on a machine that is busy
            while httpx.get(f"{address}/readyz").status_code != 200:
                assert process.poll() is None and time.monotonic() < until
                time.sleep(0.1)
            yield address
        finally:
            process.terminate()


def generated(address: str, folder: Path, headers: dict[str, str] | None = None, **asked: Any) -> Any:
    """What gradio_client gets, its files in `folder`."""
    client = gradio_client.Client(
        address, download_files=folder, verbose=False, headers=headers, analytics_enabled=False
    )
    with closing(client):
        return client.predict(api_name="/generate", **asked)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    make_model(home / "models" / "pocket")
    for name in ("guochao", "nordic", "neon"):
        notes = {"modelspec.title": name.title(), "modelspec.trigger_phrase": f"{name} style"}
        make_lora(home / "loras" / f"{name}.safetensors", notes=notes)
    evil = {"modelspec.title": f"{EVIL}</script>${{fetch('/canary')}}", "modelspec.trigger_phrase": EVIL}
    make_lora(home / "loras" / "evil.safetensors", notes=evil)
    make_lora(home / "loras" / "poster.safetensors", context=2048, notes={"modelspec.title": "Poster"})
    return home


@pytest.fixture(scope="session")
def serve() -> Serve:
    """For tests that want a home of their own."""
    return served


@pytest.fixture(scope="session")
def address(home: Path) -> Iterator[str]:
    with served(home, STEP) as address:
        yield address


@pytest.fixture(scope="session")
def api(address: str) -> Iterator[Api]:
    """What the studio itself says, beside what the page shows."""
    with closing(Api(address)) as api:
        yield api


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    """Opens the page as a new visitor. Afterwards: no script error, no request to another machine."""
    opened: list[Any] = []
    faults: list[str] = []
    hosts: set[str] = set()

    def note(url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob"):
            hosts.add(f"{parts.hostname}{parts.path if 'canary' in parts.path else ''}")

    def go(
        path: str = "/", *, at: str = address, size: tuple[int, int] = (1280, 800), **options: Any
    ) -> Page:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            **{"locale": "en-US", "permissions": ["clipboard-read", "clipboard-write", "camera"], **options},
        )
        opened.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("request", lambda request: note(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(at + path)
        settled(page)
        return page

    yield go
    for context in opened:
        context.close()
    assert not faults
    assert hosts == {"127.0.0.1"}
