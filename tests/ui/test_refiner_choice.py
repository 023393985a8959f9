"""The refiner on the page: nobody sees it who has none."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from conftest import Serve
from folders import make_model, write_safetensors
from playwright.sync_api import expect
from walk import Api, Visit, generate, slide, unfold


def make_xl(folder: Path) -> Path:
    """A base of SDXL's kind in headers alone."""
    return make_model(folder, context=2048, addition_embed_type="text_time")


def make_refiner(folder: Path) -> Path:
    """As SDXL's: the second text encoder alone. Of some size, so that a forecast shows it."""
    make_model(folder, context=1280, addition_embed_type="text_time", controls=False)
    write_safetensors(folder / "unet" / "diffusion_pytorch_model.safetensors", {"weight": (2048, 2048)})
    for part in ("text_encoder", "tokenizer"):
        (folder / part).rename(folder / f"{part}_2")
    return folder


def test_the_control_appears_with_a_model_that_can_be_refined_and_reaches_the_request(
    serve: Serve, visit: Visit, tmp_path: Path
) -> None:
    make_model(tmp_path / "models" / "pocket")
    make_xl(tmp_path / "models" / "large")
    make_refiner(tmp_path / "models" / "finisher")
    with serve(tmp_path, 0.01) as address, closing(Api(address)) as api:
        page = visit(at=address)
        unfold(page, "create-settings")
        control = page.locator("#create-refiner")
        expect(page.locator("#create-model")).to_be_visible()
        expect(control).to_have_count(0)

        page.click("#create-model input")
        page.get_by_role("option", name="large").click()
        expect(control).to_be_visible()
        alone = page.locator("#create-outlook p").inner_text()
        page.click("#create-refiner input")
        page.get_by_role("option", name="finisher").click()
        expect(page.locator("#create-outlook p")).not_to_have_text(alone)
        slide(page, "create-refiner-at", 0.7)
        refined = generate(page)
        request = api.newest_job()["request"]
        assert (request["model"], request["refiner"]) == ("large", {"model": "finisher", "at": 0.7})

        page.click("#create-model input")
        page.get_by_role("option", name="Pocket").click()
        expect(control).to_have_count(0)
        page.click("#create-size label >> nth=0")
        generate(page, "a green mug")
        assert api.newest_job()["request"]["refiner"] is None

        page.click(f"#create-strip [data-id='{refined}']")
        page.wait_for_selector(f"#create-stage .stage[data-image='{refined}']")
        page.click("#create-stage [data-act=reuse]")
        expect(control.locator("input")).to_have_value("finisher")
        expect(page.locator("#create-refiner-at input[type=number]")).to_have_value("0.7")
