"""Create, as a designer uses it."""

from __future__ import annotations

import re
from io import BytesIO

from PIL import Image
from playwright.sync_api import Page, expect
from walk import Api, Visit, choose_preset, generate, long_run, run, settled, shown, slide, unfold

from studio.presets import read_preset
from studio.settings import ROOT


def box(page: Page, selector: str) -> dict[str, float]:
    found = page.locator(selector).bounding_box()
    assert found is not None
    return dict(found)


def test_the_first_picture_needs_no_scrolling(visit: Visit) -> None:
    page = visit(size=(1280, 800))
    for selector in (
        "#preset",
        "#create-prompt",
        "#create-generate",
        "#create-stage .empty",
        "#create-strip",
    ):
        found = box(page, selector)
        assert found["y"] >= 0 and found["y"] + found["height"] <= 800, selector


def test_an_example_leads_to_a_picture_that_carries_its_settings(visit: Visit) -> None:
    page = visit()
    page.click("#create-stage .example >> nth=0")
    prompt = page.locator("#create-prompt textarea")
    expect(prompt).not_to_have_value("")
    image = run(page)
    address = page.locator("#create-stage a[download]").get_attribute("href")
    picture = Image.open(BytesIO(page.request.get(f"{page.url.rstrip('/')}{address}").body()))
    assert picture.size == (128, 128) and prompt.input_value() in picture.text["parameters"]
    expect(page.locator(f"#create-strip [data-id='{image}']")).to_have_count(1)


def test_ctrl_enter_generates_and_the_wait_shows_step_and_preview_in_a_box_that_stays(visit: Visit) -> None:
    page = visit()
    before = box(page, "#create-stage .empty")
    long_run(page)
    page.fill("#create-prompt textarea", "a green teapot")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#create-stage .caption:has-text('Step')")
    page.wait_for_selector("#create-stage img.preview")
    during = box(page, "#create-stage .mat")
    page.click("#create-cancel")
    page.wait_for_selector("#create-generate", state="visible")
    page.click("#create-count label:has-text('1')")
    generate(page, "a green teapot")
    after = box(page, "#create-stage .mat")
    assert before["height"] == during["height"] == after["height"]
    assert before["width"] == during["width"] == after["width"]


def test_esc_cancels_within_a_step(visit: Visit, api: Api) -> None:
    page = visit()
    page.fill("#create-prompt textarea", "a blue watch")
    long_run(page)
    page.click("#create-generate")
    page.wait_for_selector("#create-stage .caption:has-text('Step')")
    page.keyboard.press("Escape")
    page.wait_for_selector("#create-generate", state="visible")
    expect(page.locator("#create-stage")).to_contain_text("Stopped")
    assert api.newest_job()["state"] == "cancelled"


def test_several_pictures_stand_side_by_side_and_a_click_shows_one_large(visit: Visit) -> None:
    page = visit()
    page.click("#create-count label:has-text('4')")
    page.click("#create-size label:has-text('3:2')")
    expect(page.locator("#create-size")).to_contain_text("192 × 128 px")
    page.fill("#create-prompt textarea", "a yellow lamp")
    page.click("#create-generate")
    cells = page.locator("#create-stage .cell")
    expect(cells).to_have_count(4)
    cells.nth(2).click()
    image = shown(page)
    expect(page.locator("#create-strip [aria-current]")).to_have_attribute("data-id", image)


def test_vary_and_upscale_start_from_the_picture(visit: Visit, api: Api) -> None:
    page = visit()
    first = generate(page)
    page.click("#create-stage [data-act=upscale]")
    page.wait_for_selector("#create-stage .caption:has-text('256 × 256')")
    request = api.newest_job()["request"]
    assert request["upscale"] == 2.0 and request["seed"] == api.image(first)["seed"]
    larger = shown(page)
    page.click("#create-stage [data-act=vary]")
    shown(page, before=larger)
    request = api.newest_job()["request"]
    assert request["init_image"] == larger and request["upscale"] == 1.0


def test_ten_variants_are_one_click(visit: Visit, api: Api) -> None:
    page = visit()
    first = generate(page)
    page.click("#create-stage [data-act=variants]")
    cells = page.locator("#create-stage [data-act=focus]")
    expect(cells).to_have_count(10)
    page.wait_for_selector("#create-generate", state="visible")
    request = api.newest_job()["request"]
    assert request["init_image"] == first and request["count"] == 10
    cells.nth(9).click()
    shown(page)


def test_copy_reuse_and_send_to_canny(visit: Visit, api: Api) -> None:
    page = visit()
    image = api.image(generate(page, "a red cap on a white background"))
    page.click("#create-stage [data-copy]")
    expect(page.locator("#create-stage [data-copy]")).to_have_text("Copied")
    assert f"Seed: {image['seed']}" in page.evaluate("navigator.clipboard.readText()")
    page.fill("#create-prompt textarea", "something else")
    page.click("#create-stage [data-act=reuse]")
    expect(page.locator("#create-prompt textarea")).to_have_value("a red cap on a white background")
    unfold(page, "create-settings")
    expect(page.locator("#create-seed input")).to_have_value(str(image["seed"]))
    expect(page.locator("#create-keep input")).to_be_checked()
    page.click("#create-stage [data-act=canny]")
    page.wait_for_selector("#canny-stage .caption:has-text('Edges')")
    assert image["id"] in str(page.locator("#canny-picture img").get_attribute("src"))


def test_a_seed_is_new_each_time_unless_kept(visit: Visit, api: Api) -> None:
    page = visit()
    seeds = [api.image(generate(page))["seed"] for _ in range(2)]
    assert seeds[0] != seeds[1]
    unfold(page, "create-settings")
    page.click("#create-dice")
    expect(page.locator("#create-keep input")).to_be_checked()
    kept = page.locator("#create-seed input").input_value()
    assert api.image(generate(page))["seed"] == int(kept)


def test_the_form_counts_tokens_and_gives_advice(visit: Visit) -> None:
    page = visit()
    page.fill("#create-prompt textarea", "mug " * 40)
    expect(page.locator("#create-tokens")).to_have_text(re.compile(r"120 / 150 tokens, read in 2 parts"))
    unfold(page, "create-settings")
    guidance = page.locator("#create-guidance")
    slide(page, "create-guidance", 9)
    expect(guidance).to_contain_text("7–15 follows the prompt")
    slide(page, "create-guidance", 24)
    expect(guidance).to_contain_text("Above 20 colours burn")
    page.click("#create-scheduler input")
    page.get_by_role("option", name="UniPC").click()
    expect(page.locator("#create-steps")).to_contain_text("8–20 suit this scheduler")


def test_a_preset_fills_the_form_says_so_and_locks(visit: Visit, api: Api) -> None:
    page = visit()
    choose_preset(page, "Guochao")
    asked = read_preset((ROOT / "presets" / "guochao.yaml").read_bytes(), "guochao")
    note = page.locator("#preset-note")
    expect(note).to_contain_text(f"{asked.steps} steps")
    expect(note.locator(".swatch")).to_have_count(len(asked.palette))
    unfold(page, "create-settings")
    expect(page.locator("#create-steps input[type=number]")).to_have_value(str(asked.steps))
    locked = page.locator("#create-negative textarea")
    expect(locked).to_be_disabled()
    expect(page.locator("#create-negative")).to_contain_text("Locked by Guochao")
    request = api.image(generate(page, "a red lantern"))["request"]
    assert request["preset"] == "guochao" and request["prompt"].endswith("guochao style")
    assert [lora["name"] for lora in request["loras"]] == ["guochao"]
    choose_preset(page, "Plain")
    expect(locked).to_be_enabled()


def test_a_reload_keeps_the_run_and_then_the_picture(visit: Visit) -> None:
    page = visit()
    page.fill("#create-prompt textarea", "a purple gift box")
    long_run(page)
    page.click("#create-generate")
    page.wait_for_selector("#create-stage .caption:has-text('Step')")
    page.reload()
    settled(page)
    page.wait_for_selector("#create-stage .caption:has-text('Step')")
    expect(page.locator("#create-cancel")).to_be_visible()
    expect(page.locator("#create-prompt textarea")).to_have_value("a purple gift box")
    page.click("#create-cancel")
    page.wait_for_selector("#create-generate", state="visible")
    expect(page.locator("#create-count input:checked")).to_have_value("8")
    page.click("#create-count label:has-text('1')")
    image = generate(page, "a purple gift box")
    page.reload()
    settled(page)
    assert shown(page) == image


def test_a_refusal_is_said_with_what_to_do_and_generate_comes_back(visit: Visit) -> None:
    page = visit()
    page.fill("#create-prompt textarea", "a mug (red:nan)")
    page.click("#create-generate")
    alert = page.locator("#create-stage [role=alert]")
    expect(alert).to_contain_text("That did not work")
    expect(page.locator("#create-generate")).to_be_visible()
