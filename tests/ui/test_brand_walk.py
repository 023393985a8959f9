"""What docs/brand.md walks through, in small and for real: own model, real worker, few steps, four rows."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import pytest
from conftest import Serve
from playwright.sync_api import expect
from test_train_tab import pictures
from walk import Visit

from studio.settings import ROOT

sys.path.insert(0, str(ROOT / "docs"))

import brand_walk as brand  # noqa: E402


@pytest.mark.timeout(900)  # 50 s on two idle cores
def test_a_brand_goes_from_pictures_to_a_link_for_its_client(
    serve: Serve, visit: Visit, tmp_path: Path
) -> None:
    pictures(tmp_path / "pictures")
    with serve(tmp_path / "home", 0) as address:
        page = visit(at=address)
        page.set_default_timeout(120_000)
        lesson = brand.Lesson(tmp_path / "pictures", "sticker style", epochs=1, repeats=1)
        brand.train(page, lesson, nothing)
        brand.trained(page, nothing)
        expect(page.locator("#train-view [data-lora=sticker]")).to_have_count(1)
        brand.write_brand(page, lesson.trigger, nothing)
        expect(page.locator("#create-size label")).to_contain_text(["Shop", "Banner"])
        rows = brand.write_sheet(tmp_path / "spring.csv", ("mug", "lamp"), ("red", "teal"), steps=4)
        brand.start_campaign(page, tmp_path / "spring.csv", rows)
        brand.campaign_done(page, nothing)
        link = brand.keep_the_best(page, 2, nothing)
        with httpx.Client(base_url=address) as api:
            campaign = api.get("/api/v1/campaigns").json()[0]["id"]
            made = api.get(f"/api/v1/campaigns/{campaign}/rows").json()
            best = api.get("/api/v1/palette", params={"preset": "sticker"}).json()
            images = [api.get(f"/api/v1/images/{row['id']}").json() for row in best]
        assert [row["state"] for row in made] == ["done"] * 4
        assert {(image["width"], image["height"]) for image in images} == {(128, 128), (192, 128)}
        assert all(image["request"]["loras"] == [{"name": "sticker", "weight": 1.0}] for image in images)
        assert all(image["request"]["prompt"].endswith(", sticker style") for image in images)
        assert httpx.get(link).text.count("data-picture=") == 2


def nothing(page: object, name: str) -> None:
    """Where the documentation takes a screenshot."""
