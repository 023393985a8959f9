"""Screenshots for README and docs from the running app with its own model: `python docs/make_screenshots.py`.

Starts `app.py` on a free port with an empty home, walks through the tabs as a designer would, and writes
docs/screenshots/*.png, each below 200 KB. Needs the `dev` extra and Chromium; Inter and Noto Sans CJK,
where they are installed, make the type look as it does on most desks.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "screenshots"
KILOBYTES = 200
PATIENCE = 600  # seconds for any one wait; seconds are enough on an idle machine
PROMPTS = (
    "a yellow lamp on a grey background, glossy",
    "a white teapot on a green background",
    "a gold watch on a black background, glossy",
    "a red lantern on a beige background",
    "a green plant on a pink background, flat",
    "a red sneaker on a blue background, glossy",
)


@contextmanager
def running(home: Path) -> Iterator[str]:
    """The address of the studio, ready to draw."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = os.environ | {"STUDIO_HOME": str(home), "PORT": str(port), "HOST": "127.0.0.1"}
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen([sys.executable, str(ROOT / "app.py")], env=env) as process:
        try:
            wait_ready(address, process)
            yield address
        finally:
            process.terminate()


def wait_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(f"{address}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.3)
    raise SystemExit("The studio did not become ready.")


def draw(address: str) -> None:
    """Some pictures for the strip and the library, before anybody looks."""
    with httpx.Client(base_url=address, timeout=60) as client:
        asked = [{"prompt": prompt, "seed": 20, "preset": "plain"} for prompt in PROMPTS[:-1]]
        jobs = [client.post("/api/v1/jobs", json=one).json()["id"] for one in asked]
        while any(client.get(f"/api/v1/jobs/{job}").json()["state"] in ("queued", "running") for job in jobs):
            time.sleep(0.5)


def visit(browser: Browser, address: str, size: tuple[int, int] = (1280, 800), **options: Any) -> Page:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    page.goto(address)
    page.wait_for_selector("#preset-note .note")
    page.wait_for_selector("#ready[data-ready=true]")
    return page


def save(page: Page, name: str) -> None:
    """As it is where that is small enough, else with fewer colours."""
    page.wait_for_timeout(500)
    shot = Image.open(BytesIO(page.screenshot())).convert("RGB")
    tries = [shot, *(shot.quantize(colours, method=Image.Quantize.MEDIANCUT) for colours in (256, 128, 64))]
    for picture in tries:
        out = BytesIO()
        picture.save(out, "PNG", optimize=True)
        if out.tell() <= KILOBYTES * 1000:
            break
    (OUT / f"{name}.png").write_bytes(out.getvalue())


def create(page: Page, name: str, prompt: str = PROMPTS[-1]) -> None:
    page.fill("#create-prompt textarea", prompt)
    page.click("#create-generate")
    page.wait_for_selector("#create-stage .stage[data-image]")
    page.mouse.move(0, 0)
    save(page, name)


def walk(page: Page) -> None:
    create(page, "create")
    page.click("#create-stage [data-act=canny]")
    page.wait_for_selector("#canny-stage .caption:has-text('Edges')")
    page.fill("#canny-prompt textarea", "a yellow sneaker on a purple background, glossy")
    page.click("#canny-generate")
    page.wait_for_selector("#canny-stage .compare")
    save(page, "canny")
    page.click("#tab-schedulers-button")
    page.fill("#schedulers-prompt textarea", PROMPTS[1])
    page.click("#schedulers-generate")
    page.wait_for_function("document.querySelectorAll('#schedulers-stage figure img').length === 6")
    save(page, "schedulers")
    page.click("#tab-loras-button")
    page.fill("#loras-prompt textarea", PROMPTS[3])
    for style in ("guochao", "neon"):
        page.select_option("#loras-loras select", style)
    page.click("#loras-generate")
    page.wait_for_selector("#loras-stage .compare")
    save(page, "loras")
    page.click("#tab-library-button")
    page.click("#library-shelf .thumb >> nth=0")
    page.wait_for_selector("#library-detail .stage")
    save(page, "library")
    page.click("#tab-system-button")
    page.wait_for_selector("#system-view .fact-card")
    save(page, "system")


def rules(page: Page) -> None:
    """A brand's lights opened under Generate, beside the sheet of a prompt matrix."""
    page.fill("#create-prompt textarea", "a red mug | on a table | glossy | on a blue background")
    page.click("#create-grid button.label-wrap")
    page.check("#create-matrix input")
    page.click("#create-generate")
    page.wait_for_selector("#create-stage [data-grid] img.sheet")
    page.click("#create-grid button.label-wrap")
    page.click("#preset input")
    page.get_by_role("option", name="Guochao").click()
    page.wait_for_selector("#create-rules .rules[data-worst=amber]")
    page.click("#create-rules summary")
    page.mouse.move(0, 0)
    save(page, "rules")


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    home = tempfile.TemporaryDirectory()
    with home, running(Path(home.name)) as address, sync_playwright() as playwright:
        draw(address)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        walk(visit(browser, address))
        create(visit(browser, address, (1440, 900), color_scheme="dark"), "dark")
        create(visit(browser, f"{address}/zh/", locale="zh-CN"), "chinese")
        create(visit(browser, address, (390, 844)), "phone")
        rules(visit(browser, address, (1280, 900)))


if __name__ == "__main__":
    main()
