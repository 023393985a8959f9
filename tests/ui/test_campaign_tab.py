"""Campaign: a sheet in the page's table, its bad cells, its runs, and what is downloaded."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from walk import EVIL, Api, Visit, open_tab


def arrive(page: Page) -> Page:
    open_tab(page, "campaign")
    page.wait_for_selector("#campaign-stage .runs-list li")
    return page


def finish(page: Page) -> str:
    """Id of the campaign that is shown, once it has ended."""
    page.wait_for_selector("#campaign-stage [data-campaign-state=done]")
    expect(page.locator("#campaign-generate")).to_be_visible()
    return str(page.locator("#campaign-stage .stage").get_attribute("data-campaign"))


def type_cell(page: Page, row: int, column: int, text: str) -> None:
    """As with a mouse: a double click, the text, Enter."""
    cell = page.locator(f"#campaign-table [data-row='{row}'][data-col='{column}']").first
    cell.dblclick()
    field = page.locator("#campaign-table textarea:visible, #campaign-table input[type=text]:visible").last
    field.fill(text)
    field.press("Enter")


def upload(page: Page, file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    page.set_input_files("input[type=file][accept*=xlsx]", [str(file)])


def test_a_campaign_is_edited_run_and_downloaded(visit: Visit, api: Api) -> None:
    page = arrive(visit())
    expect(page.locator("#campaign-said")).to_contain_text("5 pictures from 3 rows")
    page.click("#campaign-generate")
    id = finish(page)
    expect(page.locator("#campaign-stage figure[data-state=done] img")).to_have_count(5)
    type_cell(page, 0, 1, "teapot")
    expect(page.locator("#campaign-changed")).to_be_visible()
    page.click("#campaign-changed")
    page.wait_for_selector("#campaign-changed", state="hidden")
    assert finish(page) == id
    rows = api.http.get(f"/api/v1/campaigns/{id}/rows").json()
    assert [row["attempt"] for row in rows] == [1, 1, 0, 0, 0]
    assert "teapot" in rows[0]["prompt"]
    with page.expect_download() as saved:
        page.click("#campaign-stage a:has-text('ZIP of all')")
    with zipfile.ZipFile(saved.value.path()) as archive:
        assert len(archive.namelist()) == 7
        table = archive.read("results.csv").decode("utf-8-sig")
    assert len(list(csv.DictReader(io.StringIO(table)))) == 5


def test_a_sheet_is_uploaded_and_its_bad_cells_are_named(visit: Visit, tmp_path: Path) -> None:
    page = arrive(visit())
    upload(page, tmp_path / "spring.csv", "sku,prompt,seed,steps\nA-1,a mug,x,2\nA-2,a cup,2,0\n")
    said = page.locator("#campaign-said")
    expect(said).to_contain_text("C2 seed")
    expect(said).to_contain_text("D3 steps")
    type_cell(page, 0, 2, "7")
    type_cell(page, 1, 3, "2")
    expect(said).to_contain_text("2 pictures from 2 rows")
    assert page.input_value("#campaign-name input, #campaign-name textarea") == "spring"


def test_what_stands_in_a_sheet_is_never_markup(visit: Visit, tmp_path: Path) -> None:
    """visit checks afterwards that nothing ran."""
    page = arrive(visit())
    upload(page, tmp_path / "evil.csv", f'sku,prompt,steps\n"{EVIL}",a mug {EVIL},2\n')
    expect(page.locator("#campaign-stage .runs-list")).to_contain_text(EVIL)
    page.click("#campaign-generate")
    finish(page)
    assert page.locator("img[src='x']").count() == 0


def test_a_campaign_that_runs_is_found_again_and_cancelled(visit: Visit, api: Api) -> None:
    rows = [{"sku": f"L-{number}", "prompt": "a mug", "seed": number, "steps": 150} for number in range(60)]
    api.http.post("/api/v1/campaigns", json={"rows": rows, "name": "long"})
    page = arrive(visit())
    page.locator("#campaign-recent [data-act=open]", has_text="long").first.click()
    page.wait_for_selector("#campaign-stage [data-campaign-state=running]")
    page.click("#campaign-cancel")
    page.wait_for_selector("#campaign-stage [data-campaign-state=cancelled]")
    expect(page.locator("#campaign-retry")).to_be_visible()
    assert api.http.get("/api/v1/campaigns").json()[0]["state"] == "cancelled"


@pytest.mark.parametrize("path", ["/", "/zh/"])
def test_the_tab_fits_a_phone_in_both_languages(visit: Visit, path: str) -> None:
    page = visit(path, size=(390, 844))
    open_tab(page, "campaign")
    page.wait_for_selector("#campaign-stage .runs-list li")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
