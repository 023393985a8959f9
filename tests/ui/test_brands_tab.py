"""Brands: written on the page with mistakes told at once, saved, used, exported and deleted."""

from __future__ import annotations

from pathlib import Path

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
