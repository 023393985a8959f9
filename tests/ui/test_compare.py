"""Schedulers and LoRA styles: one prompt and one seed, several ways."""

from __future__ import annotations

from pathlib import Path

from folders import write_safetensors
from playwright.sync_api import expect
from walk import EVIL, Api, Visit, choose_preset, open_tab, unfold

from studio.catalog import SCHEDULERS


def test_schedulers_run_together_with_one_seed_and_say_their_seconds(visit: Visit, api: Api) -> None:
    page = visit()
    open_tab(page, "schedulers")
    for name in ("PNDM", "Euler a", "DPM++ 2M"):
        page.locator("#schedulers-names label", has=page.get_by_text(name, exact=True)).click()
    page.click("#schedulers-steps label:has-text('5') >> nth=0")
    go = page.locator("#schedulers-generate")
    expect(go).to_have_text("Compare 6")
    page.click("#schedulers-stage .example >> nth=0")
    expect(page.locator("#schedulers-prompt textarea")).not_to_have_value("")
    go.click()
    tiles = page.locator("#schedulers-stage figure")
    expect(tiles).to_have_count(6)
    expect(page.locator("#schedulers-stage figure img")).to_have_count(6)
    expect(go).to_be_visible()
    texts = tiles.all_inner_texts()
    assert (
        all(text.rstrip().endswith(" s") for text in texts) and sum("20 steps" in text for text in texts) == 3
    )
    jobs = api.http.get("/api/v1/jobs?limit=6").json()
    assert len({job["request"]["seed"] for job in jobs}) == 1
    assert {job["request"]["scheduler"] for job in jobs} == {"ddim", "unipc", "euler"}


def test_nothing_picked_is_said_on_the_button(visit: Visit) -> None:
    page = visit()
    open_tab(page, "schedulers")
    page.click("#schedulers-steps label:has-text('20')")
    expect(page.locator("#schedulers-generate")).to_have_text("Pick a scheduler and a step count")
    expect(page.locator("#schedulers-generate")).to_be_disabled()


def test_the_guide_tells_of_every_scheduler_in_both_languages(visit: Visit) -> None:
    for path, row in (("/", 0), ("/zh/", 1)):
        page = visit(path, locale=("en-US", "zh-CN")[row])
        open_tab(page, "schedulers")
        words = page.locator("#schedulers-guide tbody tr").all_inner_texts()
        assert len(words) == len(SCHEDULERS)
        for text, kind in zip(words, SCHEDULERS.values(), strict=True):
            assert kind.label in text and (kind.advice, kind.advice_zh)[row] in text


def test_styles_stack_with_weights_words_and_a_budget(visit: Visit, api: Api) -> None:
    page = visit()
    open_tab(page, "loras")
    page.fill("#loras-prompt textarea", "a red lantern")
    for name in ("guochao", "neon"):
        page.select_option("#loras-loras select", name)
    budget = page.locator("#loras-loras .budget")
    expect(budget).to_have_attribute("data-over", "true")
    weight = page.locator("#loras-loras .stack-row >> nth=1").locator("input[type=number]")
    weight.fill("0.3")
    expect(budget).to_contain_text("Strength 1.10 of 1.5")
    expect(budget).to_have_attribute("data-over", "false")
    page.click("#loras-loras .word:has-text('neon style')")
    expect(page.locator("#loras-prompt textarea")).to_have_value("a red lantern, neon style")
    page.click("#loras-generate")
    page.wait_for_selector("#loras-stage .compare")
    expect(page.locator("#loras-stage figure[data-trial]")).to_have_count(4)
    stacks = [job["request"]["loras"] for job in reversed(api.http.get("/api/v1/jobs?limit=4").json())]
    one, two = {"name": "guochao", "weight": 0.8}, {"name": "neon", "weight": 0.3}
    assert stacks == [[], [one], [two], [one, two]]


def test_a_preset_that_locks_its_styles_still_lets_them_be_compared(visit: Visit, api: Api) -> None:
    page = visit()
    choose_preset(page, "Guochao")
    unfold(page, "create-styles")
    expect(page.locator("#create-loras select")).to_be_disabled()
    open_tab(page, "loras")
    page.fill("#loras-prompt textarea", "a red lantern")
    page.click("#loras-generate")
    page.wait_for_selector("#loras-stage .compare")
    on, off = api.http.get("/api/v1/jobs?limit=2").json()
    assert off["request"]["loras"] == [] and [lora["name"] for lora in on["request"]["loras"]] == ["guochao"]
    assert on["request"]["prompt"] == off["request"]["prompt"]


def test_a_style_for_another_base_says_why_and_cannot_be_picked(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    open_tab(page, "loras")
    card = page.locator("#loras-shelf li", has_text="Poster")
    expect(card).to_contain_text("made for Stable Diffusion XL")
    assert page.locator("#loras-loras option[value=poster]").is_disabled()
    broken = write_safetensors(tmp_path / "nothing.safetensors", {"weight": (2, 2)})
    page.set_input_files("#loras-add ~ input[type=file], input[type=file][accept*=safetensors]", broken)
    expect(page.locator("#loras-said [role=alert]")).to_contain_text("That did not work")


def test_what_a_file_says_of_itself_is_shown_as_text(visit: Visit) -> None:
    """visit checks afterwards that nothing ran: a canary would be one request more."""
    page = visit()
    open_tab(page, "loras")
    expect(page.locator("#loras-shelf li", has_text=EVIL).first).to_be_visible()
    page.select_option("#loras-loras select", "evil")
    expect(page.locator("#loras-loras .stack-head b")).to_contain_text("</script>${fetch('/canary')}")
    page.click("#loras-loras .word")
    expect(page.locator("#loras-prompt textarea")).to_have_value(EVIL)
    assert page.locator("img[src='x']").count() == 0
