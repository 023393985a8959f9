"""The room's page in a browser: without scripts, with the keyboard alone, on a narrow phone, and attacked."""

from __future__ import annotations

from urllib.parse import urlsplit

from playwright.sync_api import Browser, expect
from rooms import BRAND, Rooms, chosen

from studio.review.links import ShareRequest

EVIL = "<img src=x onerror=fetch('/canary')><script>fetch('/canary')</script>"


def test_looking_judging_and_writing_need_no_script(rooms: Rooms, browser: Browser) -> None:
    link = rooms.share(2, title="Plain")
    context = browser.new_context(java_script_enabled=False, viewport={"width": 360, "height": 740})
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.goto(link.url)
    page.fill("#name", "Ann")
    page.click("form.name button")
    first = page.locator("article").first
    expect(first.locator("button.pin")).to_be_hidden()
    first.locator(".verdict .no").click()
    expect(first.locator(".names.no")).to_contain_text("Ann")
    first.locator("textarea").fill("Not yet")
    first.locator("button.send").click()
    expect(first.locator(".comments .text")).to_have_text("Not yet")
    page.locator("article").nth(1).get_by_text("Compare versions").click()
    expect(page.locator(".compare img")).to_have_count(2)
    expect(page.locator(".compare img").nth(1)).to_be_visible()
    expect(page.locator(".compare input")).to_be_hidden()
    context.close()


def test_the_keyboard_alone_is_enough(rooms: Rooms, browser: Browser) -> None:
    link = rooms.share(2)
    page = browser.new_context(viewport={"width": 320, "height": 640}).new_page()
    page.set_default_timeout(30_000)
    page.goto(link.url)
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    page.keyboard.press("Tab")
    expect(page.locator("a.skip")).to_be_focused()
    page.locator("#name").focus()
    page.keyboard.type("Bo")
    page.keyboard.press("Enter")
    pin = page.locator("article").first.locator("button.pin")
    expect(pin).to_be_visible()  # its script has run
    pin.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.keyboard.type("Here")  # the pin put the writer into the comment
    page.keyboard.press("Tab")
    expect(pin).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("article").first.locator(".comments .number")).to_have_text("1")
    (comment,) = [line for line in rooms.review.trail(link.id) if line.kind == "comment"]
    assert (comment.x, comment.y, comment.text) == (0.52, 0.5, "Here")
    page.goto(f"{link.url}/compare")
    page.locator(".compare input").focus()
    page.keyboard.press("Home")
    cut = page.locator(".compare").evaluate("node => getComputedStyle(node).getPropertyValue('--cut')")
    assert cut.strip() == "0%"
    page.context.close()


def test_what_people_write_is_text_everywhere(rooms: Rooms, browser: Browser) -> None:
    brand = {**BRAND, "title": {"en": EVIL}}
    request = ShareRequest(images=("a" * 32,), title=EVIL[:120], note=EVIL)
    link = rooms.review.share(request, [chosen()], brand)
    page = browser.new_context().new_page()
    page.set_default_timeout(30_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(link.url)
    page.fill("#name", EVIL[:60])
    page.click("form.name button")
    page.locator("textarea").fill(EVIL)
    page.click("button.send")
    expect(page.locator(".comments .text")).to_have_text(EVIL)
    expect(page.locator(".note")).to_have_text(EVIL)
    assert not [url for url in asked if "canary" in url or url.endswith("/x")]
    hosts = {urlsplit(url).netloc for url in asked if not url.startswith("data:")}
    assert hosts == {urlsplit(link.url).netloc}
    page.context.close()
