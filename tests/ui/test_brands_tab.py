"""Brands: written on the page with mistakes told at once, saved, used, exported and deleted."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect
from walk import Visit, open_tab


def write(page: Page, text: str) -> None:
    page.click("#brands-text .cm-content")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(text)


def test_a_brand_is_written_saved_used_and_deleted(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    open_tab(page, "brands")
    expect(page.locator("#brands-text .cm-content")).to_contain_text("name: plain")
    write(page, "version: 1\nname: plain\nprompt: '{prompt}, <b>warm</b>'\npalette: {red: #C8102E}")
    verdict = page.locator("#brands-verdict")
    expect(verdict).to_contain_text("Line 4")
    write(page, "version: 1\nname: plain\nprompt: '{prompt}, <b>warm</b>'\npalette: {red: '#C8102E'}")
    expect(verdict.locator("[data-valid=yes]")).to_contain_text("<b>warm</b>")
    page.fill("#brands-name textarea, #brands-name input", "warm")
    page.click("#brands-save")
    expect(page.locator("#brands-said")).to_contain_text("warm is saved")
    page.click("#preset input")
    page.get_by_role("option", name="warm", exact=True).click()
    with page.expect_download() as kit:
        page.click("#brands-acts a")
    assert kit.value.suggested_filename == "warm.brandkit"
    kit.value.save_as(tmp_path / "warm.brandkit")
    page.click("#brands-acts [data-act=delete]")
    page.click("#brands-acts [data-act=really]")
    expect(page.locator("#brands-said")).to_contain_text("warm is deleted")
    with page.expect_file_chooser() as chooser:
        page.click("#brands-import")
    chooser.value.set_files(tmp_path / "warm.brandkit")
    expect(page.locator("#brands-said")).to_contain_text("signed by this studio")
    expect(page.locator("#brands-text .cm-content")).to_contain_text("name: warm")
    page.click("#brands-acts [data-act=delete]")
    page.click("#brands-acts [data-act=really]")
    expect(page.locator("#brands-said")).to_contain_text("warm is deleted")


KIT = """version: 1
name: plain
palette: {red: {hex: '#C8102E', role: primary}, ink: '#1C1B1F'}
fonts: {heading: Noto Serif SC}
sizes: {Shop: 96x64, <b>Banner</b>: 192x128}
policies: {metadata: client}
# ours"""


def test_a_kit_shows_its_fonts_sizes_and_samples_and_its_sizes_can_be_picked(
    visit: Visit, tmp_path: Path
) -> None:
    page = visit()
    open_tab(page, "brands")
    expect(page.locator("#brands-text .cm-content")).to_contain_text("name: plain")
    write(page, KIT.replace("96x64", "96x63"))
    verdict = page.locator("#brands-verdict")
    expect(verdict).to_contain_text("Line 5, column 15")
    write(page, KIT)
    good = verdict.locator("[data-valid=yes]")
    for words in (
        "red #C8102E · primary",
        "heading Noto Serif SC",
        "Shop 96 × 64",
        "<b>Banner</b> 192 × 128",
    ):
        expect(good).to_contain_text(words)
    expect(good).to_contain_text("downloads hold no settings")
    sample = tmp_path / "Spring shop.png"
    Image.new("RGB", (60, 40), "red").save(sample)
    with page.expect_file_chooser() as chooser:
        page.click("#brands-samples")
    chooser.value.set_files(sample)
    expect(page.locator("#brands-text .cm-content")).to_contain_text("samples: [spring-shop.png]")
    expect(page.locator("#brands-text .cm-content")).to_contain_text("# ours")  # no comment is lost
    shown = good.locator(".brand-samples img")
    page.wait_for_function("(image) => image.naturalWidth === 60", arg=shown.element_handle())
    page.fill("#brands-name textarea, #brands-name input", "channels")
    page.click("#brands-save")
    expect(page.locator("#brands-said")).to_contain_text("channels is saved")
    page.click("#preset input")
    page.get_by_role("option", name="channels", exact=True).click()
    open_tab(page, "create")
    chips = page.locator("#create-size label")
    expect(chips.nth(0)).to_contain_text("Shop")
    expect(chips.nth(1)).to_contain_text("<b>Banner</b>")
    expect(page.locator("#create-size input:checked")).to_have_value("96x64")
    page.click("#preset input")
    page.get_by_role("option", name="Plain", exact=True).click()
    expect(chips.nth(0)).to_contain_text("1:1")
    expect(page.locator("#create-size input:checked")).to_have_value("128x128")
