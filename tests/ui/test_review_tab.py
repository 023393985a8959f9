"""Review: a designer shares pictures, a client answers on a phone, the designer hears of it."""

from __future__ import annotations

import httpx
from playwright.sync_api import Browser, expect
from walk import Api, Visit, generate, open_tab


def test_a_designer_shares_and_hears_what_the_client_says(
    visit: Visit, browser: Browser, api: Api
) -> None:
    page = visit()
    first = generate(page, "a violet lantern on a grey background")
    second = generate(page, "a violet teapot on a grey background")
    open_tab(page, "library")
    for id in (first, second):
        page.locator(f"#library-shelf .held:has([data-id='{id}'])").hover()
        page.click(f"#library-shelf .pick[data-id='{id}']")
        held = page.locator(f"#library-shelf .pick[data-id='{id}']")
        expect(held).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#library-choosing")).to_contain_text("Chosen: 2")
    page.click("#library-choosing [data-act=share]")
    expect(page.locator("#review-tray .held")).to_have_count(2)
    expect(page.locator("#review-promise")).to_contain_text("sees 2 pictures")
    expect(page.locator("#review-promise")).to_contain_text("Not to be seen: prompts")
    page.fill("#review-title input", "Lantern round")
    page.click("#review-go")
    card = page.locator("#review-links .link-card").first
    expect(card).to_contain_text("Lantern round", timeout=60_000)
    expect(page.locator("#review-tray .held")).to_have_count(0)
    expect(page.locator("#review-detail .code img")).to_be_visible()
    url = card.locator(".address").input_value()

    phone = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    client = phone.new_page()
    client.goto(url)
    expect(client.locator("h1")).to_have_text("Lantern round")
    client.fill("#name", "Client Ann")
    client.click("form.name button")
    client.locator("article").first.locator(".verdict .yes").click()
    expect(client.locator("article").first.locator(".names.yes")).to_contain_text("Client Ann")

    expect(page.locator("#review-detail .trail")).to_contain_text("Client Ann approved")
    expect(page.locator(".news")).to_contain_text("Client Ann")
    open_tab(page, "library")
    expect(page.locator(f"#library-shelf .held:has([data-id='{first}']) .verdict.approved")).to_be_visible()
    page.click("#library-filter input")
    page.get_by_role("option", name="approved").click()
    expect(page.locator("#library-shelf .thumb")).to_have_count(1)
    page.click("#library-filter input")
    page.get_by_role("option", name="all").click()
    open_tab(page, "review")
    page.locator(".link-card:has-text('Lantern round') [data-act=revoke]").click()
    expect(page.locator("#review-links details")).to_contain_text("Lantern round")
    assert httpx.get(url).status_code == 404
    phone.close()
