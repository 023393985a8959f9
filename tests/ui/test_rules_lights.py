"""A brand's lights on the page: under Generate as one types, with a picture in the Library; prompt matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from folders import make_model
from playwright.sync_api import expect
from walk import Api, Visit, choose_preset, generate, open_tab, unfold

Serve = Callable[[Path, float], AbstractContextManager[str]]
RULED = """version: 1
name: ruled
title: {en: Ruled, zh: 守则}
palette: {ground: '#FFFFFF'}
sizes: {web: 128x128, wide: 256x128}
banned: [gin]
"""


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory, serve: Serve) -> Iterator[str]:
    """A studio of its own: the page lists the brands that are there when it is built."""
    home = tmp_path_factory.mktemp("ruled")
    make_model(home / "models" / "pocket")
    for name in ("presets", "wildcards"):
        (home / name).mkdir()
    (home / "presets" / "ruled.yaml").write_text(RULED, encoding="utf-8")
    (home / "wildcards" / "colours.txt").write_text("red\nblue\ngreen\n")
    with serve(home, 0.01) as address:
        yield address


def test_lights_follow_the_form_and_say_why(visit: Visit, ruled: str) -> None:
    page = visit(at=ruled)
    choose_preset(page, "Ruled")
    rules = page.locator("#create-rules .rules")
    page.fill("#create-prompt textarea", "a red mug")
    expect(rules).to_have_attribute("data-worst", "green")
    expect(rules.locator("summary")).to_contain_text("✓ 2 kept")
    page.fill("#create-prompt textarea", "a bottle of gin")
    expect(rules).to_have_attribute("data-worst", "red")
    expect(rules.locator("summary")).to_contain_text("✕ 1 broken")
    rules.locator("summary").click()
    words = rules.locator("[data-rule=words]")
    expect(words).to_contain_text("Says “gin”, which is banned.")
    expect(words.get_by_role("img", name="broken")).to_be_visible()
    page.click("#create-size label:has-text('3:2')")
    expect(rules.locator("[data-rule=size]")).to_have_attribute("data-light", "red")


def test_a_picture_of_the_library_shows_what_its_brand_says_of_it(visit: Visit, ruled: str) -> None:
    api = Api(ruled)
    image = api.run(
        {"prompt": "lantern under rules", "steps": 2, "preset": "ruled", "width": 256, "height": 128}
    )
    said = {row["rule"]: row for row in api.http.get(f"/api/v1/images/{image}/rules").json()["rulings"]}
    api.close()
    page = visit("/zh/", at=ruled)
    open_tab(page, "library")
    page.fill("#library-search input", "lantern under rules")
    page.locator("#library-shelf .thumb").first.click()
    rules = page.locator("#library-detail .rules")
    rules.locator("summary").click()
    for name, row in said.items():
        line = rules.locator(f"[data-rule={name}]")
        expect(line).to_have_attribute("data-light", row["light"])
        expect(line).to_contain_text(row["reason"]["zh"])


def test_what_a_prompt_draws_is_shown_before_it_runs(visit: Visit, ruled: str) -> None:
    page = visit(at=ruled)
    draws = page.locator("#create-draws")
    page.fill("#create-prompt textarea", "a {shiny|matt} __colours__ mug")
    expect(draws).to_contain_text("Each picture draws its own")
    expect(draws).to_contain_text("__colours__")
    page.fill("#create-prompt textarea", "a __colour__ mug")
    expect(draws.locator(".bad")).to_contain_text("No wildcard file 'colour'")
    page.fill("#create-prompt textarea", "a {red} mug")
    expect(draws).to_have_text("")
    generate(page, "a {shiny|matt} __colours__ mug")


def test_a_prompt_matrix_ends_as_one_labelled_sheet(visit: Visit, ruled: str) -> None:
    page = visit(at=ruled)
    page.fill("#create-prompt textarea", "a red mug | on a table | at night")
    unfold(page, "create-grid")
    page.check("#create-matrix input")
    page.click("#create-generate")
    sheet = page.locator("#create-stage [data-grid] img.sheet")
    expect(sheet).to_be_visible()
    page.wait_for_function("(image) => image.naturalWidth > 400", arg=sheet.element_handle())
    expect(page.locator("#create-stage .caption")).to_contain_text("4 combinations")
    expect(page.locator("#create-generate")).to_be_visible()


def test_a_grid_of_two_axes_ends_as_one_labelled_sheet(visit: Visit, ruled: str) -> None:
    page = visit(at=ruled)
    page.fill("#create-prompt textarea", "a red mug")
    unfold(page, "create-grid")
    for name, field, values in (("x", "Steps", "1, 2"), ("y", "Scheduler", "ddim, nope")):
        page.click(f"#create-axis-{name} input")
        page.fill(f"#create-axis-{name} input", field)
        page.keyboard.press("Enter")
        page.fill(f"#create-values-{name} textarea", values)
    page.click("#create-generate")
    expect(page.locator("#create-stage")).to_contain_text("nope")
    page.fill("#create-values-y textarea", "ddim, euler, pndm")
    page.click("#create-generate")
    sheet = page.locator("#create-stage [data-grid] img.sheet")
    expect(sheet).to_be_visible()
    expect(page.locator("#create-stage .caption")).to_contain_text("6 combinations")
