"""A picture dropped on Create fills the form, in a real browser."""

from __future__ import annotations

import base64
import io

from PIL import Image, PngImagePlugin
from playwright.sync_api import Page, expect
from walk import EVIL, Visit, generate, settled, unfold

FOREIGN = (
    f"a yellow lamp\nNegative prompt: {EVIL}\n"
    "Steps: 12, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 4242, Size: 256x192, "
    f'Model: dreamshaper, Clip skip: 2, Note: "{EVIL}"'
)


def png(text: str) -> bytes:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("parameters", text)
    out = io.BytesIO()
    Image.new("RGB", (16, 16)).save(out, "PNG", pnginfo=notes)
    return out.getvalue()


def drop(page: Page, data: bytes, selector: str = "#create-stage") -> None:
    """As a hand would, anywhere on the tab."""
    files = page.evaluate_handle(
        """text => { const files = new DataTransfer();
        const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
        files.items.add(new File([bytes], 'x.png', { type: 'image/png' })); return files; }""",
        base64.b64encode(data).decode(),
    )
    for kind in ("dragover", "drop"):
        page.dispatch_event(selector, kind, {"dataTransfer": files})


def test_a_foreign_picture_fills_the_form_and_the_rest_is_listed(visit: Visit) -> None:
    page = visit()
    drop(page, png(FOREIGN))
    expect(page.locator("#create-taken")).to_contain_text("A1111 picture")
    expect(page.locator("#create-prompt textarea")).to_have_value("a yellow lamp")
    expect(page.locator("#create-negative textarea")).to_have_value(EVIL)
    unfold(page, "create-settings")
    expect(page.locator("#create-seed input")).to_have_value("4242")
    expect(page.locator("#create-steps input[type=number]")).to_have_value("12")
    expect(page.locator("#create-guidance input[type=number]")).to_have_value("6.5")
    expect(page.locator("#create-scheduler input")).to_have_value("DPM++ 2M Karras")
    expect(page.locator("#create-size input:checked")).to_have_value("256x192")
    lines = page.locator("#create-taken li")
    assert lines.all_inner_texts() == ["Clip skip: 2", f"Note: {EVIL}", "Model: dreamshaper"]


def test_what_was_dropped_can_be_generated(visit: Visit) -> None:
    page = visit()
    drop(page, png(FOREIGN))
    expect(page.locator("#create-size input:checked")).to_have_value("256x192")
    generate(page, "a yellow lamp")
    picture = page.locator("#create-stage a[download]").get_attribute("href")
    data = page.request.get(f"{page.url.rstrip('/')}{picture}").body()
    made = Image.open(io.BytesIO(data))
    assert made.size == (256, 192) and "Seed: 4242," in made.info["parameters"]
    drop(page, data)
    expect(page.locator("#create-taken")).to_contain_text("Brand Studio")


def test_a_picture_without_settings_says_so_and_leaves_the_form(visit: Visit) -> None:
    page = visit()
    page.fill("#create-prompt textarea", "mine")
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG")
    drop(page, out.getvalue())
    expect(page.locator("#create-drop .picker-note")).to_contain_text("no settings")
    expect(page.locator("#create-prompt textarea")).to_have_value("mine")


def test_it_can_be_chosen_with_the_keyboard_and_speaks_chinese(visit: Visit) -> None:
    page = visit("/zh/", locale="zh-CN")
    settled(page)
    page.set_input_files(
        "#create-drop input[type=file]", {"name": "x.png", "mimeType": "image/png", "buffer": png(FOREIGN)}
    )
    expect(page.locator("#create-taken")).to_contain_text("已读取 A1111 图片的参数")
