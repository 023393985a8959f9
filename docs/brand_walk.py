"""A brand's way through the page, step by step: docs/brand.md shows it, tests/ui/test_brand_walk.py does it.

A style from pictures, a brand that wears it, a campaign, what fits the palette best, a link for the client.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page

Shot = Callable[[Page, str], None]  # takes a screenshot of that name, or nothing
BRAND = """version: 1
name: sticker
title: {{en: Sticker club, zh: 贴纸俱乐部}}
# kraft paper first, then our two colours
prompt: "{{prompt}}, {trigger}"
loras: [{{name: sticker, weight: 1.0}}]
palette:
  kraft: {{hex: '#CDAA7D', role: background}}
  rim: {{hex: '#FCFCFA', role: neutral}}
  red: {{hex: '#C62828', role: primary}}
  teal: {{hex: '#00897B', role: secondary}}
fonts: {{heading: Bricolage Grotesque, body: Inter}}
sizes: {{Shop: 128x128, Banner: 192x128}}
banned: [cigarette]
locked: [loras]
"""
HEADINGS = ("sku", "product", "colour", "preset", "channel", "seed", "steps")


@dataclass(frozen=True)
class Lesson:
    """`epochs`, `repeats`: None = as the page proposes."""

    pictures: Path
    trigger: str
    epochs: int | None = None
    repeats: int | None = None


def field(page: Page, name: str, text: str) -> None:
    page.fill(f"#{name} textarea, #{name} input", text)


def train(page: Page, lesson: Lesson, shot: Shot) -> None:
    """Up to the click; `trained` waits for the end."""
    page.click("#tab-loras-button")
    page.click("#train button.label-wrap >> nth=0")
    page.set_input_files("#train-files input[type=file]", sorted(map(str, lesson.pictures.iterdir())))
    page.wait_for_selector("#train-checks [data-used]")
    field(page, "train-name", "sticker")
    field(page, "train-trigger", lesson.trigger)
    field(page, "train-licence", "ours")
    if lesson.epochs is not None:
        page.fill("#train-epochs input[type=number]", str(lesson.epochs))
        page.press("#train-epochs input[type=number]", "Tab")
    if lesson.repeats is not None:
        page.click("#train-more button.label-wrap")
        page.fill("#train-repeats input", str(lesson.repeats))
        page.press("#train-repeats input", "Tab")
    page.locator("#train-checks").scroll_into_view_if_needed()
    shot(page, "brand-train")
    page.click("#train-go")


def trained(page: Page, shot: Shot) -> None:
    page.wait_for_selector("#train-view [data-state=completed]")
    page.locator("#train-view").scroll_into_view_if_needed()
    shot(page, "brand-trained")


def write_brand(page: Page, trigger: str, shot: Shot) -> None:
    page.click("#tab-brands-button")
    page.wait_for_selector("#brands-text .cm-content:has-text('name: plain')")
    page.click("#brands-text .cm-content")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(BRAND.format(trigger=trigger))
    field(page, "brands-name", "sticker")
    page.click("#brands-save")
    page.wait_for_selector("#brands-said:has-text('sticker is saved')")
    shot(page, "brand-file")
    page.click("#preset input")
    page.get_by_role("option", name="Sticker club").click()
    page.wait_for_selector("#preset-note .note b:has-text('Sticker club')", state="attached")


def write_sheet(
    sheet: Path, products: Sequence[str], colours: Sequence[str], steps: int | None = None
) -> int:
    """Every product in every colour, in turn for shop and banner. Returns how many rows."""
    pairs = [(product, colour) for product in products for colour in colours]
    with sheet.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(HEADINGS)
        for number, (product, colour) in enumerate(pairs):
            channel = ("Shop", "Banner")[number % 2]
            sku, many = f"ST-{number:03d}", "" if steps is None else steps
            rows.writerow((sku, product, colour, "sticker", channel, number, many))
    return len(pairs)


def start_campaign(page: Page, sheet: Path, rows: int) -> None:
    page.click("#tab-campaign-button")
    page.set_input_files("input[type=file][accept*=xlsx]", [str(sheet)])
    page.wait_for_selector(f"#campaign-said:has-text('{rows} pictures')")
    page.click("#campaign-generate")


def campaign_done(page: Page, shot: Shot) -> None:
    page.wait_for_selector("#campaign-stage [data-campaign-state=done]")
    shot(page, "brand-campaign")


def keep_the_best(page: Page, count: int, shot: Shot) -> str:
    """Picks the `count` pictures that fit the palette best and shares them; the address for the client."""
    page.click("#tab-library-button")
    page.click("#library-palette input")
    page.get_by_role("option", name="Best palette score first").click()
    page.click("#library-shelf .thumb >> nth=0")
    page.wait_for_selector("#library-detail .palette-card")
    page.click("#library-detail .palette-card summary >> nth=0")
    shot(page, "brand-palette")
    for place in range(count):
        page.locator("#library-shelf .held").nth(place).hover()
        page.locator("#library-shelf .held .pick").nth(place).click()
    page.click("#library-choosing [data-act=share]")
    page.fill("#review-title input", "Sticker club, first pictures")
    page.click("#review-go")
    page.wait_for_selector(".link-card .address")
    shot(page, "brand-share")
    return page.locator(".link-card .address").first.input_value()
