"""Stars and collections on the Library tab, and a Canny run that a reload does not lose."""

from __future__ import annotations

from playwright.sync_api import expect
from walk import Api, Visit, generate, open_tab, photograph


def test_starred_pictures_are_shown_alone(visit: Visit, api: Api) -> None:
    page = visit()
    generate(page, "a lamp without a star")
    image = generate(page, "a lamp with a star")
    open_tab(page, "library")
    page.click(f"#library-shelf [data-act=focus][data-id='{image}']")
    page.click("#library-detail [data-act=star]")
    expect(page.locator("#library-detail [data-act=unstar]")).to_be_visible()
    assert api.image(image)["star"]
    expect(page.locator("#library-shelf .starred")).to_have_count(1)
    page.click("#library-star input")
    expect(page.locator("#library-shelf .thumb")).to_have_count(1)
    page.click("#library-detail [data-act=unstar]")
    page.wait_for_selector("#library-shelf .empty")
    page.click("#library-star input")


def test_a_picture_goes_into_a_new_collection_by_its_name(visit: Visit) -> None:
    page = visit()
    generate(page, "a chair outside of it")
    image = generate(page, "a chair of the spring campaign")
    open_tab(page, "library")
    page.click(f"#library-shelf [data-act=focus][data-id='{image}']")
    belongs = page.locator("#library-belongs input")
    belongs.fill("Spring <b>2027</b>")
    belongs.press("Enter")
    choice = page.locator("#library-collection input")
    expect(choice).to_be_visible()
    choice.click()
    page.get_by_role("option", name="Spring <b>2027</b> (1)").click()
    expect(page.locator("#library-shelf .thumb")).to_have_count(1)
    page.wait_for_selector(f"#library-shelf [data-id='{image}']")


def test_a_canny_run_is_there_again_after_a_reload(visit: Visit) -> None:
    page = visit()
    open_tab(page, "canny")
    page.set_input_files("#canny-picture input[type=file]", photograph("coffee.png"))
    page.wait_for_selector("#canny-stage .caption:has-text('Edges')")
    page.fill("#canny-prompt textarea", "a red cup")
    kept = page.evaluate("localStorage.getItem('brand-studio')")
    page.click("#canny-generate")
    page.wait_for_selector("#canny-cancel:visible")
    # The browser keeps the run's id milliseconds after the button shows; nobody reloads as fast as a program.
    page.wait_for_function("(before) => localStorage.getItem('brand-studio') !== before", arg=kept)
    page.reload()
    open_tab(page, "canny")
    page.wait_for_selector("#canny-stage [data-image]", timeout=60_000)
    expect(page.locator("#canny-generate")).to_be_visible()
    page.reload()
    open_tab(page, "canny")
    page.wait_for_selector("#canny-stage [data-image]", timeout=60_000)
