from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import expect
from walk import Api, Visit, open_tab


def pictures(folder: Path, count: int = 10) -> list[str]:
    """Pictures of blocks, sharp and no two alike, with a caption each; one more is a copy."""
    folder.mkdir()
    files = []
    for number in [*range(count), 0]:
        blocks = np.random.default_rng(number).integers(0, 255, (8, 8, 3)).astype(np.uint8)
        file = folder / f"{len(files)}.png"
        Image.fromarray(blocks).resize((96, 96), Image.Resampling.NEAREST).save(file)
        files.append(file)
    for file in files[:count]:
        file.with_suffix(".txt").write_text("blocks", encoding="utf-8")
    return [str(file) for file in sorted(folder.iterdir())]


def test_dropped_pictures_are_judged_and_a_style_is_trained(visit: Visit, api: Api, tmp_path: Path) -> None:
    page = visit()
    open_tab(page, "loras")
    page.click("#train button.label-wrap")
    expect(page.locator("#train-go")).to_be_disabled()
    page.set_input_files("#train-files input[type=file]", pictures(tmp_path / "blocks"))
    checks = page.locator("#train-checks")
    expect(checks).to_contain_text("9 pictures to train on, 1 held out to judge")
    expect(checks).to_contain_text("1 left out")
    expect(checks).to_contain_text("the same picture")
    frame = page.locator("#train-frames figure").first
    expect(frame.locator("img")).to_have_count(2)
    expect(frame).to_contain_text("96 × 96 → 128 × 128")
    cell = page.locator("#train-captions [data-row='0'][data-col='1']").first
    expect(cell).to_contain_text("blocks")
    cell.dblclick()
    typed = page.locator("#train-captions textarea:visible, #train-captions input[type=text]:visible").last
    typed.fill("<b>red</b> blocks")
    typed.press("Enter")
    page.click("#train-more button.label-wrap")
    page.fill("#train-hold-out input[type=number]", "0.3")
    page.press("#train-hold-out input[type=number]", "Tab")
    expect(checks).to_contain_text("7 pictures to train on, 3 held out to judge")
    page.fill("#train-licence textarea, #train-licence input", "ours")
    page.fill("#train-name textarea, #train-name input", "blocks")
    page.fill("#train-trigger textarea, #train-trigger input", "blocks style")
    page.click("#train-go")
    expect(page.locator("#train-pause")).to_be_visible()
    expect(page.locator("#train-view [data-state=completed]")).to_contain_text("blocks · done")
    expect(page.locator("#train-go")).to_be_visible()
    training = api.http.get("/api/v1/trainings").json()[0]["training"]
    dataset = api.http.get(f"/api/v1/datasets/{training['dataset']}").json()
    assert dataset["licence"] == "ours" and dataset["held_out"] == 3
    assert "<b>red</b> blocks" in [row["caption"] for row in dataset["rows"]]


def test_the_training_speaks_chinese(visit: Visit) -> None:
    page = visit("/zh/", locale="zh-CN")
    open_tab(page, "loras")
    page.click("#train button.label-wrap")
    expect(page.locator("#train-checks")).to_contain_text("拖入 20–60 张")
