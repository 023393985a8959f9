"""Screenshots of a brand's way through the studio for docs/brand.md: `python docs/make_brand_screenshots.py`.

Starts `app.py` with its own model and an empty home and does on the page what a brand team does: trains a
style from 60 pictures (ten minutes on two idle cores), writes a brand that wears it, runs a campaign of 100
rows, keeps what fits the palette and shares the best. Writes docs/screenshots/brand-*.png. Needs the `dev`
extra and Chromium.
"""

from __future__ import annotations

import csv
import shutil
import sys
import tempfile
import time
from pathlib import Path

from make_screenshots import ROOT, running, save, visit
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(ROOT))
from bench.lora_training import TRIGGER, write_set  # noqa: E402

BRAND = """version: 1
name: sticker
title: {{en: Sticker club, zh: 贴纸俱乐部}}
# kraft paper first, then our two colours
prompt: "{{prompt}}, {trigger}"
loras: [{{name: sticker, weight: 1.0}}]
palette: {{kraft: '#CDAA7D', rim: '#FCFCFA', red: '#C62828', teal: '#00897B'}}
banned: [cigarette]
locked: [loras]
"""
PRODUCTS = ("sneaker", "mug", "bottle", "lamp", "handbag", "lantern", "dress", "plant", "watch", "teapot")
COLOURS = ("red", "teal", "yellow", "purple", "orange", "pink", "green", "blue", "brown", "white")


def train(page: Page, pictures: Path) -> float:
    """Minutes from the click to the finished style."""
    page.click("#tab-loras-button")
    page.click("#train button.label-wrap")
    page.set_input_files("#train-files input[type=file]", sorted(map(str, pictures.iterdir())))
    page.wait_for_selector("#train-checks [data-used]")
    page.fill("#train-name textarea, #train-name input", "sticker")
    page.fill("#train-trigger textarea, #train-trigger input", TRIGGER)
    page.fill("#train-licence textarea, #train-licence input", "ours")
    page.locator("#train-checks").scroll_into_view_if_needed()
    save(page, "brand-train")
    page.click("#train-go")
    begun = time.monotonic()
    page.wait_for_selector("#train-view [data-state=completed]")
    minutes = (time.monotonic() - begun) / 60
    page.locator("#train-view").scroll_into_view_if_needed()
    save(page, "brand-trained")
    return minutes


def write_brand(page: Page) -> None:
    page.click("#tab-brands-button")
    page.wait_for_selector("#brands-text .cm-content:has-text('name: plain')")
    page.click("#brands-text .cm-content")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(BRAND.format(trigger=TRIGGER))
    page.fill("#brands-name textarea, #brands-name input", "sticker")
    page.click("#brands-save")
    page.wait_for_selector("#brands-said:has-text('sticker is saved')")
    save(page, "brand-file")
    page.click("#preset input")
    page.get_by_role("option", name="Sticker club").click()
    page.wait_for_selector("#preset-note .note b:has-text('Sticker club')")


def run_campaign(page: Page, sheet: Path) -> float:
    """Minutes for 100 rows."""
    with sheet.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("sku", "product", "colour", "preset", "seed"))
        pairs = ((product, colour) for product in PRODUCTS for colour in COLOURS)
        for number, (product, colour) in enumerate(pairs):
            rows.writerow((f"ST-{number:03d}", product, colour, "sticker", number))
    page.click("#tab-campaign-button")
    page.set_input_files("input[type=file][accept*=xlsx]", [str(sheet)])
    page.wait_for_selector("#campaign-said:has-text('100 pictures')")
    page.click("#campaign-generate")
    begun = time.monotonic()
    page.wait_for_selector("#campaign-stage [data-campaign-state=done]")
    minutes = (time.monotonic() - begun) / 60
    save(page, "brand-campaign")
    return minutes


def keep_the_best(page: Page) -> None:
    page.click("#tab-library-button")
    page.click("#library-palette input")
    page.get_by_role("option", name="Best palette score first").click()
    page.click("#library-shelf .thumb >> nth=0")
    page.wait_for_selector("#library-detail .palette-card")
    page.click("#library-detail .palette-card summary >> nth=0")
    save(page, "brand-palette")
    for place in range(3):
        page.locator("#library-shelf .held").nth(place).hover()
        page.locator("#library-shelf .held .pick").nth(place).click()
    page.click("#library-choosing [data-act=share]")
    page.fill("#review-title input", "Sticker club, first hundred")
    page.click("#review-go")
    page.wait_for_selector(".link-card .address")
    save(page, "brand-share")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        write_set(Path(folder) / "pictures", 60, 7)
        with running(Path(folder) / "home") as address:
            path = shutil.which("chromium")
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            page = visit(browser, address)
            page.set_default_timeout(3600 * 1000)
            trained = train(page, Path(folder) / "pictures")
            write_brand(page)
            drawn = run_campaign(page, Path(folder) / "spring.csv")
            keep_the_best(page)
    sys.stdout.write(f"trained in {trained:.1f} min, 100 rows in {drawn:.1f} min\n")


if __name__ == "__main__":
    main()
