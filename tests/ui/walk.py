"""What a designer does on the page, step by step."""

from __future__ import annotations

import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Page

EVIL = "<img src=x onerror=fetch('/canary')>"
Visit = Callable[..., Page]


class Api:
    """The studio's own word over its API."""

    def __init__(self, address: str) -> None:
        self.http = httpx.Client(base_url=address, timeout=30)

    def close(self) -> None:
        self.http.close()

    def newest_job(self) -> dict[str, Any]:
        return dict(self.http.get("/api/v1/jobs").json()[0])

    def image(self, id: str) -> dict[str, Any]:
        return dict(self.http.get(f"/api/v1/images/{id}").json())

    def run(self, request: dict[str, Any]) -> str:
        """The request's first picture, once it is there."""
        job = self.http.post("/api/v1/jobs", json=request).json()["id"]
        while True:
            view = self.http.get(f"/api/v1/jobs/{job}").json()
            if view["state"] not in ("queued", "running"):
                return str(view["images"][0]["id"])
            time.sleep(0.2)

    def pixels(self, id: str) -> Image.Image:
        return Image.open(BytesIO(self.http.get(f"/api/v1/images/{id}/file").content))


def settled(page: Page) -> None:
    """The form is there and the preset has filled it."""
    page.wait_for_selector("#create-prompt textarea", timeout=40_000)
    page.wait_for_selector("#preset-note .note", timeout=40_000)


def open_tab(page: Page, name: str) -> None:
    page.click(f"#tab-{name}-button")
    page.wait_for_selector(f"#tab-{name}", state="visible")


def unfold(page: Page, name: str) -> None:
    page.click(f"#{name} button.label-wrap")


def slide(page: Page, name: str, value: float) -> None:
    """Types a slider's value, as one who knows the number does.

    Gradio gives a control that was folded away its pending value just after it appears, milliseconds in
    which only a program types: what it types then is overwritten once, so it looks and types again.
    """
    field = page.locator(f"#{name} input[type=number]")
    for _ in range(5):
        field.fill(str(value))
        field.press("Tab")
        page.wait_for_timeout(250)
        if float(field.input_value()) == value:
            return
    raise AssertionError(f"{name} does not keep {value}: it says {field.input_value()}")


def choose_preset(page: Page, title: str) -> None:
    page.click("#preset input")
    page.get_by_role("option", name=title).click()
    page.wait_for_selector(f"#preset-note .note b:has-text('{title}')")


def generate(page: Page, prompt: str = "a red mug on a blue background") -> str:
    """Runs Create to its end; the id of the picture that is shown."""
    page.fill("#create-prompt textarea", prompt)
    return run(page)


def long_run(page: Page) -> None:
    """Settings that keep the executor busy for half a minute."""
    page.click("#create-count label:has-text('8')")
    unfold(page, "create-settings")
    slide(page, "create-steps", 150)


def run(page: Page, tab: str = "create") -> str:
    """Clicks the tab's button; the id of the picture that is shown in the end."""
    last = page.locator(f"#{tab}-stage .stage[data-image]")
    before = last.get_attribute("data-image") if last.count() else ""
    page.click(f"#{tab}-generate")
    return shown(page, tab, before or "")


def shown(page: Page, tab: str = "create", before: str = "") -> str:
    """The id of the picture on the tab's right side, once it is another one than `before`."""
    found = page.wait_for_selector(f"#{tab}-stage .stage[data-image]:not([data-image='{before}'])")
    page.wait_for_selector(f"#{tab}-generate", state="visible")
    assert found is not None
    return str(found.get_attribute("data-image"))


def photograph(name: str) -> Path:
    """A photograph that scikit-image carries in its wheel."""
    import skimage

    return Path(skimage.__file__).parent / "data" / name
