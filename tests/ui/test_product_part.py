"""The product on the page: given, placed, in the finished picture, and there again with its settings."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image
from playwright.sync_api import expect
from walk import Api, Visit, generate, slide, unfold


def tin() -> bytes:
    canvas = Image.new("RGBA", (60, 60))
    canvas.paste((200, 30, 40, 255), (10, 10, 50, 50))
    out = BytesIO()
    canvas.save(out, "PNG")
    return out.getvalue()


def test_a_product_is_given_placed_and_kept_with_the_picture(visit: Visit, api: Api) -> None:
    page = visit()
    unfold(page, "create-product-part")
    file = {"name": "tin.png", "mimeType": "image/png", "buffer": tin()}
    page.set_input_files("#create-product input[type=file]", file)
    expect(page.locator("#create-product .picker")).to_have_attribute("data-state", "full")
    slide(page, "create-product-x", 0.25)
    slide(page, "create-product-shadow", 0)
    expect(page.locator("#create-ground-colour")).to_have_count(0)
    image = generate(page, "a table by the sea")
    asked = api.image(image)["request"]["product"]
    assert (asked["x"], asked["y"], asked["shadow"]) == (0.25, 0.8, 0)
    picture = np.asarray(api.pixels(image).convert("RGB"))
    assert (picture[70:95, 15:48] == (200, 30, 40)).all() and not (picture[70:95, 80:] == (200, 30, 40)).all()
    page.click("#create-product [data-do=clear]")
    page.click("#create-ground label:has-text('Plain')")
    page.fill("#create-ground-colour input, #create-ground-colour textarea", "#f4f1ea")
    other = generate(page, "a mug")
    told = api.image(other)["request"]
    assert told["background"] == "#F4F1EA" and "product" not in told
