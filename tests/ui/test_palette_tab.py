"""Library: a picture's palette score with its swatches, and the shelf in its order."""

from __future__ import annotations

from playwright.sync_api import expect
from walk import Api, Visit, open_tab


def test_a_picture_shows_its_score_and_the_shelf_is_sorted_by_it(visit: Visit, api: Api) -> None:
    for seed in (1, 2, 3):
        api.run({"prompt": f"palette mug {seed}", "steps": 2, "seed": seed, "preset": "nordic"})
    page = visit()
    open_tab(page, "library")
    page.fill("#library-search input", "palette mug")
    thumbs = page.locator("#library-shelf .thumb")
    expect(thumbs).to_have_count(3)
    thumbs.first.click()
    card = page.locator("#library-detail .palette-card")
    expect(card).to_contain_text("Palette score · Nordic")
    id = page.locator("#library-detail .stage").get_attribute("data-image")
    said = api.http.get(f"/api/v1/palette/{id}").json()
    assert float(card.get_attribute("data-score") or -1) == said["score"]
    card.locator("summary").first.click()
    expect(card.locator("li")).to_have_count(len(said["swatches"]))
    card.locator(".nearer summary").click()
    after = card.locator(".compare img:not(.over)")
    page.wait_for_function("(image) => image.naturalWidth > 0", arg=after.element_handle())
    page.click("#preset input")
    page.get_by_role("option", name="Nordic").click()
    page.click("#library-palette input")
    page.get_by_role("option", name="Best palette score first").click()
    ranked = api.http.get("/api/v1/palette", params={"preset": "nordic", "search": "palette mug"}).json()
    expect(thumbs.first).to_have_attribute("data-id", ranked[0]["id"])
    expect(thumbs.nth(2)).to_have_attribute("data-id", ranked[2]["id"])
