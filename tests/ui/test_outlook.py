"""What a run will take is said under Generate, before it is pressed."""

from __future__ import annotations

import re

from playwright.sync_api import expect
from walk import Visit


def test_memory_is_told_before_a_run_and_follows_the_form(visit: Visit) -> None:
    page = visit()
    line = page.locator("#create-outlook p")
    expect(line).to_have_text(re.compile(r"^About \d+ MiB of memory$"))
    before = line.inner_text()
    page.click("#create-count label:has-text('8')")
    expect(line).not_to_have_text(before)
    expect(line).to_have_text(re.compile(r"^About [\d.]+ [MG]iB of memory$"))


def test_memory_is_told_in_chinese_too(visit: Visit) -> None:
    expect(visit("/zh/").locator("#create-outlook p")).to_have_text(re.compile(r"^约需内存 \d+ MiB$"))
