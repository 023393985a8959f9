"""The offline package: opened from the disk in a browser without any server, feedback saved and taken in."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from rooms import SECRET, Rooms

from studio.errors import BadRequest, Conflict, TooLarge


def unpacked(rooms: Rooms, id: str, folder: Path, language: str = "en") -> Path:
    with zipfile.ZipFile(io.BytesIO(rooms.review.package(id, language))) as archive:
        archive.extractall(folder)
    return folder / "review.html"


def opened(browser: Browser, file: Path) -> tuple[Page, list[str]]:
    context = browser.new_context(viewport={"width": 390, "height": 844}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(30_000)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    page.on("request", lambda asked: faults.append(asked.url) if outside(asked.url) else None)
    page.goto(file.as_uri())
    return page, faults


def outside(url: str) -> bool:
    return not url.startswith(("file:", "data:", "blob:"))


def saved(page: Page, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.click("button.save")
    file = folder / waiting.value.suggested_filename
    waiting.value.save_as(file)
    return file


def test_feedback_given_offline_comes_back_into_the_studio(
    rooms: Rooms, browser: Browser, tmp_path: Path
) -> None:
    link = rooms.share(2, title="On the plane")
    page, faults = opened(browser, unpacked(rooms, link.id, tmp_path))
    expect(page.locator("h1")).to_have_text("On the plane")
    assert page.locator("article img").first.evaluate("node => node.naturalWidth") == 160
    first, second = page.locator("article").nth(0), page.locator("article").nth(1)
    first.locator(".verdict .yes").click()  # no name yet: the page asks for it first
    expect(page.locator("#name")).to_be_focused()
    page.fill("#name", "Bo 波")
    page.click("form.name button")
    first.locator(".verdict .yes").click()
    second.locator(".verdict .no").click()
    first.locator("button.pin").click()
    first.locator(".sheet").press("ArrowUp")
    first.locator(".sheet").press("Enter")
    first.locator("textarea").fill("<img src=x onerror=alert(1)> closer")
    first.locator("button.send").click()
    expect(first.locator(".comments .text")).to_have_text("<img src=x onerror=alert(1)> closer")
    expect(first.locator(".verdict .yes")).to_have_attribute("aria-pressed", "true")
    page.reload()  # it is kept in the browser
    expect(first.locator(".comments .text")).to_have_count(1)
    file = saved(page, tmp_path)
    page.context.close()
    assert not faults
    assert rooms.review.take_in(file.read_bytes()) == 3
    assert rooms.review.take_in(file.read_bytes()) == 0  # the same file again adds nothing
    view = rooms.review.get(link.id)
    assert (view.approved, view.rejected, view.comments) == (1, 1, 1)
    (comment,) = [line for line in rooms.review.trail(link.id) if line.kind == "comment"]
    assert (comment.name, comment.x, comment.y, comment.source) == ("Bo 波", 0.5, 0.48, link.images[0])
    assert [line.kind for line in rooms.review.trail(link.id)][-1] == "imported"


def test_the_package_holds_the_page_and_nothing_of_the_studio(rooms: Rooms, tmp_path: Path) -> None:
    link = rooms.share(download="copy")
    page = unpacked(rooms, link.id, tmp_path, "zh").read_text()
    assert "请您审阅" in page and (tmp_path / "picture-1-2.png").exists()
    for secret in (SECRET, link.url.rsplit("/", 1)[1], *link.images, "designer"):
        assert secret not in page
    policy = re.search(r'content-security-policy" content="([^"]+)"', page)
    assert policy and "default-src &#39;none&#39;" in policy[1] and "unsafe" not in policy[1]
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def feedback(rooms: Rooms, id: str, **change: Any) -> bytes:
    (copy, *_) = rooms.review.links.store.copies(id)
    entry = {"id": "0" * 32, "picture": copy.id, "kind": "comment", "text": "x", "x": None, "y": None}
    whole: dict[str, Any] = {
        "format": "review-feedback-1", "link": id, "seal": rooms.review.links.seal(id), "name": "Bo",
        "entries": [{**entry, **change.pop("entry", {})}],
    }  # fmt: skip
    return json.dumps(whole | change).encode()


@pytest.mark.parametrize(
    "change",
    [
        {"seal": "x" * 32}, {"link": "0" * 16}, {"format": "other"}, {"name": ""}, {"more": 1},
        {"entry": {"picture": "0" * 24}}, {"entry": {"kind": "revoked"}}, {"entry": {"text": " "}},
        {"entry": {"x": 2.0, "y": 0.5}}, {"entry": {"id": "short"}}, {"entry": {"text": "x" * 9_000}},
    ],
)  # fmt: skip
def test_a_file_that_is_not_from_this_package_is_refused(rooms: Rooms, change: dict[str, Any]) -> None:
    link = rooms.share()
    assert rooms.review.take_in(feedback(rooms, link.id, entry={"id": link.id * 2})) == 1
    with pytest.raises(BadRequest):
        rooms.review.take_in(feedback(rooms, link.id, **change))
    assert rooms.review.get(link.id).comments == 1


def test_too_large_a_file_and_an_ended_link_are_told(rooms: Rooms) -> None:
    link = rooms.share()
    with pytest.raises(TooLarge):
        rooms.review.take_in(b" " * (2 * 2**20 + 1))
    rooms.review.revoke(link.id)
    with pytest.raises(Conflict):
        rooms.review.package(link.id)
