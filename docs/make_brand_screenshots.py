"""Screenshots of a brand's way through the studio for docs/brand.md: `python docs/make_brand_screenshots.py`.

Starts `app.py` with its own model and an empty home and does on the page what a brand team does: trains a
style from 60 pictures (ten minutes on two idle cores), writes a brand that wears it, runs a campaign of 100
rows, keeps what fits the palette and shares the best. Writes docs/screenshots/brand-*.png. Needs the `dev`
extra and Chromium.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import brand_walk as walk
from make_screenshots import ROOT, running, save, visit
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(ROOT))
from bench.lora_training import TRIGGER, write_set  # noqa: E402

PRODUCTS = ("sneaker", "mug", "bottle", "lamp", "handbag", "lantern", "dress", "plant", "watch", "teapot")
COLOURS = ("red", "teal", "yellow", "purple", "orange", "pink", "green", "blue", "brown", "white")


def main() -> None:
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        write_set(folder / "pictures", 60, 7)
        with running(folder / "home") as address:
            path = shutil.which("chromium")
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            page = visit(browser, address)
            page.set_default_timeout(3600 * 1000)
            walk.train(page, walk.Lesson(folder / "pictures", TRIGGER), save)
            begun = time.monotonic()
            walk.trained(page, save)
            trained = (time.monotonic() - begun) / 60
            walk.write_brand(page, TRIGGER, save)
            rows = walk.write_sheet(folder / "spring.csv", PRODUCTS, COLOURS)
            walk.start_campaign(page, folder / "spring.csv", rows)
            begun = time.monotonic()
            walk.campaign_done(page, save)
            drawn = (time.monotonic() - begun) / 60
            walk.keep_the_best(page, 3, save)
    sys.stdout.write(f"trained in {trained:.1f} min, {rows} rows in {drawn:.1f} min\n")


if __name__ == "__main__":
    main()
