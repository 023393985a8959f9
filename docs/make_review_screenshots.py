"""Screenshots of the review room for docs/review.md: `python docs/make_review_screenshots.py`.

Starts `app.py` with its own model and an SSH server on loopback, draws pictures, shares them as a designer
does, and looks at the link as a client with a phone and as one at a desk, through the tunnel. Writes
docs/screenshots/review-*.png. Needs the `dev` extra and Chromium.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
from make_screenshots import PATIENCE, ROOT, running, save, visit
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(ROOT / "tests"))
from ssh_server import serving  # noqa: E402

WORKS = (
    ("a red mooncake on a yellow background, glossy", 3),
    ("a red mooncake on a yellow background, glossy", 8),
    ("a yellow lantern on a red background", 11),
)


def draw(address: str) -> list[str]:
    """Ids of the pictures, in the order they were asked for."""
    found: list[str] = []
    with httpx.Client(base_url=address, timeout=PATIENCE) as client:
        for prompt, seed in WORKS:
            asked = {"prompt": prompt, "seed": seed, "preset": "guochao"}
            answer = client.post("/generate", json=asked)
            if answer.status_code != 200:
                raise SystemExit(answer.text)
            job = client.get(f"/api/v1/jobs/{answer.json()['id']}").json()
            found.append(job["images"][0]["id"])
    return found


def share(page: Page, images: list[str]) -> str:
    """Chooses the pictures in the Library and shares them. The link's address in the tunnel."""
    page.click("#tab-library-button")
    for id in images:
        page.locator(f"#library-shelf .held:has([data-id='{id}'])").hover()
        page.click(f"#library-shelf .pick[data-id='{id}']")
        page.wait_for_selector(f"#library-shelf .pick[data-id='{id}'][aria-pressed=true]")
    save(page, "review-choose")
    page.click("#library-choosing [data-act=share]")
    page.fill("#review-title input", "Mid-Autumn gift box, round 1")
    page.fill("#review-note textarea", "Two mooncakes to choose from, and the lantern.")
    page.click("#review-more button.label-wrap")
    page.get_by_label("Internet, through your SSH server").check()
    page.wait_for_selector("#review-promise li:has-text('internet')")
    page.locator("#review-go").scroll_into_view_if_needed()
    save(page, "review-share")
    page.click("#review-go")
    page.wait_for_selector(".link-card .tunnel.open")
    return str(page.locator(".link-card .address").first.input_value())


def client(browser: Browser, url: str, size: tuple[int, int], name: str) -> Page:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, has_touch=size[0] < 500)
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    page.goto(url)
    save(page, f"review-room-{name}")
    return page


def answer(page: Page, who: str, words: str) -> None:
    """Gives a name, approves the first picture and pins a comment to the second."""
    page.fill("#name", who)
    page.click("form.name button")
    page.locator("article").nth(0).locator(".verdict .yes").click()
    page.wait_for_selector(".names.yes")
    second = page.locator("article").nth(1)
    second.locator("button.pin").click()
    for key in ("ArrowUp", "ArrowUp", "ArrowUp", "ArrowLeft", "ArrowLeft", "Enter"):
        second.locator(".sheet").press(key)
    second.locator("textarea").fill(words)
    second.locator("button.send").click()
    page.wait_for_selector("article .comments li")
    page.locator("article").nth(1).scroll_into_view_if_needed()


def walk(browser: Browser, address: str) -> None:
    images = draw(address)
    designer: Any = visit(browser, address)
    url = share(designer, images)
    phone = client(browser, url, (390, 844), "phone")
    answer(phone, "Ann", "The rim should be a little darker, as in the brand book.")
    save(phone, "review-answer-phone")
    desk = client(browser, f"{url}?language=zh", (1280, 800), "desk")
    answer(desk, "王伟", "图案再大一点会更好。")
    save(desk, "review-answer-desk")
    desk.click("text=对比版本")
    desk.wait_for_selector(".compare.sliding")
    desk.locator(".compare").scroll_into_view_if_needed()
    save(desk, "review-compare")
    designer.wait_for_selector("#review-detail .trail .words:has-text('图案')")
    designer.locator("#review-links").scroll_into_view_if_needed()
    save(designer, "review-heard")
    designer.click("#tab-library-button")
    designer.wait_for_selector("#library-shelf .verdict.approved")
    save(designer, "review-marks")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        os.environ |= {
            "STUDIO_REVIEW_SSH": f"client@127.0.0.1:{server.port}", "STUDIO_REVIEW_SSH_PORT": "0",
            "STUDIO_REVIEW_SSH_KEY": str(server.key), "STUDIO_REVIEW_KNOWN_HOSTS": str(server.known_hosts),
        }  # fmt: skip
        with (
            tempfile.TemporaryDirectory() as home,
            running(Path(home)) as address,
            sync_playwright() as playwright,
        ):
            path = shutil.which("chromium")
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            walk(browser, address)



if __name__ == "__main__":
    main()
