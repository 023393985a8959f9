"""The page as a whole: languages, light and dark, phone, keyboard."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from walk import Visit, open_tab, unfold

from studio.ui import TABS

IDS = [row.id for row in TABS]


def test_a_chinese_browser_gets_chinese_and_may_change(visit: Visit) -> None:
    page = visit(locale="zh-CN")
    page.wait_for_url("**/zh/")
    tabs = page.get_by_role("tab").all_inner_texts()
    wanted = ["创作", "线稿控制", "采样器对比", "LoRA 风格", "品牌", "批量活动", "作品库", "客户审阅", "系统"]
    assert tabs == wanted
    expect(page.locator("#create-generate")).to_have_text("生成")
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    page.click("[data-language=en]")
    expect(page.locator("#create-generate")).to_have_text("Generate")
    page.goto(page.url)  # the choice is kept, against the browser's own language
    expect(page.locator("#create-generate")).to_have_text("Generate")


def test_a_chinese_address_stays_chinese_for_an_english_browser(visit: Visit) -> None:
    expect(visit("/zh/", locale="en-US").locator("#create-generate")).to_have_text("生成")


def test_no_english_label_is_left_in_chinese(visit: Visit) -> None:
    page = visit("/zh/", locale="zh-CN")
    unfold(page, "create-settings")
    for label in page.locator("#tab-create [data-testid=block-info]").all_inner_texts():
        assert any("一" <= letter <= "鿿" for letter in label), label


def test_light_and_dark_follow_the_system_until_one_is_chosen(visit: Visit) -> None:
    page = visit(color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.click("[data-theme-switch]")
    assert page.evaluate(ground) != dark
    page.reload()
    page.wait_for_selector("#preset-note .note")
    assert page.evaluate(ground) != dark


@pytest.mark.parametrize("path", ["/", "/zh/"])
def test_nothing_scrolls_sideways_on_a_phone(visit: Visit, path: str) -> None:
    page = visit(path, size=(390, 844), locale="zh-CN" if "zh" in path else "en-US")
    unfold(page, "create-styles")
    unfold(page, "create-settings")
    for id in IDS:
        open_tab(page, id)
        page.wait_for_timeout(150)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, id
    rows: dict[float, float] = {}  # a row's height on the page: where its first tab stands
    for tab in page.get_by_role("tab").all():
        box = tab.bounding_box()
        assert box is not None
        rows.setdefault(box["y"], box["x"])
    assert len(rows) > 1 and len(set(rows.values())) == 1


def test_the_keyboard_reaches_everything_and_shows_where_it_is(visit: Visit) -> None:
    page = visit()
    page.locator("#create-prompt textarea").focus()
    where = "[document.activeElement].map((node) => node.id || node.name || node.textContent)[0]"
    seen = []
    for _ in range(16):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(where))
    assert "create-generate" in seen
    go = page.locator("#create-generate")
    go.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_every_field_has_a_name_for_those_who_cannot_see_it(visit: Visit) -> None:
    page = visit()
    unfold(page, "create-styles")
    unfold(page, "create-settings")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('input, textarea, select, button')]
          .filter((node) => node.offsetParent && !node.closest('[aria-hidden=true]'))
          .filter((node) => !(node.labels?.length || node.getAttribute('aria-label') || node.title
            || node.textContent.trim() || node.closest('label')))
          .map((node) => node.outerHTML.slice(0, 120))"""
    )
    assert nameless == []
