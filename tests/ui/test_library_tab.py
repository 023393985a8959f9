"""Library and System: what was made, and what runs."""

from __future__ import annotations

from playwright.sync_api import expect
from walk import EVIL, Api, Visit, generate, open_tab


def test_pictures_are_found_shown_with_their_settings_deleted_and_brought_back(
    visit: Visit, api: Api
) -> None:
    page = visit()
    generate(page, "a plant that the search must leave out")
    image = generate(page, "a turquoise teapot on a pink background")
    open_tab(page, "library")
    thumbs = page.locator("#library-shelf .thumb")
    expect(thumbs.nth(1)).to_be_visible()
    page.fill("#library-search input", "turquoise pink")
    expect(thumbs).to_have_count(1)
    thumbs.first.click()
    settings = page.locator("#library-settings textarea")
    expect(settings).to_have_value(f"{settings.input_value()}")
    assert f"Seed: {api.image(image)['seed']}" in settings.input_value()
    page.click("#library-detail [data-act=delete]")
    page.wait_for_selector("#library-shelf .empty")
    assert api.image(image)["trashed"]
    page.click("#library-said [data-act=restore]")
    expect(thumbs).to_have_count(1)
    assert not api.image(image)["trashed"]


def test_the_trash_can_be_looked_into(visit: Visit) -> None:
    page = visit()
    image = generate(page, "an olive mooncake")
    open_tab(page, "library")
    page.click(f"#library-shelf [data-id='{image}']")
    page.click("#library-detail [data-act=delete]")
    page.wait_for_selector(f"#library-shelf:not(:has([data-id='{image}']))")
    page.click("#library-trash input")
    page.click(f"#library-shelf [data-id='{image}']")
    page.click("#library-detail [data-act=restore]")
    page.wait_for_selector(f"#library-shelf:not(:has([data-id='{image}']))")
    page.click("#library-trash input")
    page.wait_for_selector(f"#library-shelf [data-id='{image}']")


def test_a_prompt_is_never_markup(visit: Visit) -> None:
    """visit checks afterwards that nothing ran: a canary would be one request more."""
    page = visit()
    text = f"a mug {EVIL} ${{fetch('/canary')}} {{{{constructor}}}}"
    image = generate(page, text)
    open_tab(page, "library")
    page.click(f"#library-shelf [data-id='{image}']")
    settings = page.locator("#library-settings textarea")
    expect(settings).to_be_visible()
    assert text in settings.input_value()
    open_tab(page, "system")
    expect(page.locator("#system-view .line", has_text=EVIL).first).to_be_visible()
    assert page.locator("img[src='x']").count() == 0


def test_system_tells_models_memory_queue_and_versions(visit: Visit) -> None:
    page = visit()
    open_tab(page, "system")
    view = page.locator("#system-view")
    for words in ("Models in memory", "Memory in use", "0 waiting, 0 running", "diffusers", "gradio"):
        expect(view).to_contain_text(words)
