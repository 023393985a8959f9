"""A file dropped on the Library says whose it is, in a real browser."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from playwright.sync_api import expect
from test_drop_settings import drop
from walk import Api, Visit, generate, open_tab

KNOWN = {"/": "Made here, not changed since.", "/zh/": "由本工作室生成，此后未被改动。"}


@pytest.mark.parametrize("path", ["/", "/zh/"])
def test_a_dropped_client_copy_says_who_when_with_what(visit: Visit, api: Api, path: str) -> None:
    page = visit(path)
    image = generate(page, "a violet mug on a grey background")
    copy = api.http.get(f"/api/v1/images/{image}/file", params={"metadata": "client"}).content
    open_tab(page, "library")
    drop(page, copy, "#library-shelf")
    verified = page.locator("#library-verified")
    expect(verified).to_contain_text(KNOWN[path])
    expect(verified).to_contain_text("Brand Studio")
    expect(verified).to_contain_text("pocket")
    expect(verified.locator("img")).to_have_attribute("src", f"/api/v1/images/{image}/file")


def test_a_stripped_copy_is_known_by_its_mark_and_a_strangers_picture_is_not(visit: Visit, api: Api) -> None:
    page = visit()
    image = generate(page, "a violet teapot on a pink background")
    copy = api.http.get(f"/api/v1/images/{image}/file", params={"metadata": "client"}).content
    stripped, strange = io.BytesIO(), io.BytesIO()
    Image.open(io.BytesIO(copy)).convert("RGB").save(stripped, "JPEG", quality=80)
    Image.linear_gradient("L").convert("RGB").save(strange, "PNG")
    open_tab(page, "library")
    drop(page, stripped.getvalue(), "#library-shelf")
    verified = page.locator("#library-verified")
    expect(verified).to_contain_text("Made here, changed since.")
    expect(verified).to_contain_text("invisible mark in the pixels still names it")
    drop(page, strange.getvalue(), "#library-shelf")
    expect(verified).to_contain_text("Nothing is known of it")
    drop(page, b"no picture", "#library-shelf")
    expect(page.locator("#library-verify .picker-note")).to_contain_text("PNG")
