"""The models on the System tab: fetched, chosen, deleted with a second click, in both languages."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import STEP, served
from folders import make_model, write_json, write_safetensors
from hub_server import Hub, serve
from playwright.sync_api import expect
from walk import EVIL, Visit, open_tab


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    place = tmp_path_factory.mktemp("hub")
    with serve({"brand/tiny": make_model(place / "tiny")}) as running:
        yield running


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, hub: Hub) -> Iterator[str]:
    home = tmp_path_factory.mktemp("shop")
    make_model(home / "models" / "pocket")
    make_model(home / "models" / "Photo Lightning", context=768, sample_size=64, blocks=4)
    (home / "models" / "Photo Lightning" / "studio.json").write_text(json.dumps({"source": EVIL}))
    (make_model(home / "models" / "broken") / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    shelf = home / "controls" / "edges"
    write_json(shelf / "studio.json", {"control": "canny", "source": EVIL})
    write_safetensors(shelf / "controlnet-canny" / "diffusion_pytorch_model.safetensors", {"weight": (4, 4)})
    write_json(home / "models" / "Photo Lightning" / "controlnet-canny" / "studio.json", {"control": "edges"})
    before = os.environ.get("HF_ENDPOINT")
    os.environ["HF_ENDPOINT"] = hub.url
    try:
        with served(home, STEP) as address:
            yield address
    finally:
        os.environ.pop("HF_ENDPOINT")
        if before is not None:
            os.environ["HF_ENDPOINT"] = before


def test_a_model_is_fetched_made_default_and_deleted(visit: Visit, shop: str, tmp_path: Path) -> None:
    page = visit(at=shop)
    open_tab(page, "system")
    lightning = page.locator("#models-shelf li[data-model='Photo Lightning']")
    expect(lightning).to_contain_text("Lightning")
    expect(lightning).to_contain_text("512 px")
    expect(lightning).to_contain_text(EVIL)  # as text; visit checks that nothing was asked of /canary
    expect(page.locator("#models-shelf li.refused")).to_contain_text("vae holds no .safetensors file")
    edges = page.locator("#models-shelf li[data-model=edges]")
    expect(edges).to_contain_text("ControlNet Canny edges")
    expect(edges).to_contain_text("used by Photo Lightning")
    expect(edges).to_contain_text(EVIL)
    edges.locator("[data-act=delete]").click()
    edges.locator("[data-act=really]").click()
    expect(edges).to_have_count(0)
    page.fill("#models-id textarea, #models-id input", "brand/tiny")
    page.click("#models-get")
    tiny = page.locator("#models-shelf li[data-model=tiny]")
    expect(tiny).to_contain_text("brand/tiny @0123456")
    expect(page.locator("#models-pulls [data-pull=completed]")).to_have_count(1)
    tiny.locator("[data-act=default]").click()
    expect(tiny.locator(".mark")).to_have_text("default")
    expect(tiny.locator("[data-act=delete]")).to_have_count(0)
    lightning.locator("[data-act=delete]").click()
    lightning.locator("[data-act=keep]").click()
    lightning.locator("[data-act=delete]").click()
    lightning.locator("[data-act=really]").click()
    expect(lightning).to_have_count(0)
    expect(page.locator("#models-said")).to_contain_text("Photo Lightning is deleted")
    page.screenshot(path=os.environ.get("STUDIO_SHOT", str(tmp_path)) + "/models.png", full_page=True)


def test_a_refusal_of_the_hub_is_told_where_it_was_asked(visit: Visit, shop: str, tmp_path: Path) -> None:
    page = visit("/zh/", at=shop, locale="zh-CN")
    open_tab(page, "system")
    expect(page.locator("#models-shelf")).to_contain_text("约需内存")
    page.fill("#models-id textarea, #models-id input", "brand/none")
    page.click("#models-get")
    expect(page.locator("#models-said [role=alert]")).to_contain_text("The hub has no model brand/none")
    page.click("#models-guide summary")
    expect(page.locator("#models-guide table")).to_contain_text("Stable Diffusion XL")
    expect(page.locator("#models-guide table")).to_contain_text("GiB")
    page.screenshot(path=os.environ.get("STUDIO_SHOT", str(tmp_path)) + "/models-zh.png", full_page=True)
