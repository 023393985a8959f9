"""Canny: a picture in, its edges at once, a new picture along them."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect
from walk import Api, Visit, generate, open_tab, photograph, run, slide, unfold

from studio.edges import canny, cover


def edge_map(page: Page) -> np.ndarray:
    """The edges that the page shows, as uint8 (H, W)."""
    source = str(page.locator("#canny-stage .frames img").get_attribute("src"))
    return np.asarray(Image.open(BytesIO(base64.b64decode(source.partition(",")[2]))).convert("L"))


def give(page: Page, name: str) -> np.ndarray:
    """Uploads a photograph; its pixels as RGB uint8."""
    file = photograph(name)
    page.set_input_files("#canny-picture input[type=file]", file)
    page.wait_for_selector("#canny-stage .caption:has-text('Edges')")
    return np.asarray(Image.open(file).convert("RGB"))


def test_the_edge_map_is_opencvs_at_the_result_s_size_and_follows_the_sliders(visit: Visit) -> None:
    page = visit()
    open_tab(page, "canny")
    photo = give(page, "coffee.png")
    first = edge_map(page)
    height, width = first.shape
    assert abs(width / height - photo.shape[1] / photo.shape[0]) < 0.1  # pixel-perfect: the photo's own shape
    assert np.array_equal(first, canny(cover(photo, width, height), 100, 200)[:, :, 0])
    before = page.locator("#canny-stage .frames img").get_attribute("src")
    slide(page, "canny-low", 20)
    expect(page.locator("#canny-stage .frames img")).not_to_have_attribute("src", str(before))
    more = edge_map(page)
    assert np.array_equal(more, canny(cover(photo, width, height), 20, 200)[:, :, 0])
    assert more.sum() > first.sum()


def test_without_pixel_perfect_the_picked_size_counts(visit: Visit) -> None:
    page = visit()
    open_tab(page, "canny")
    give(page, "coffee.png")
    unfold(page, "canny-settings")
    page.click("#canny-perfect input")
    page.wait_for_selector("#canny-stage .caption:has-text('128 × 128')")
    page.click("#canny-size label:has-text('2:3')")
    page.wait_for_selector("#canny-stage .caption:has-text('128 × 192')")


def test_the_result_stands_beside_its_edges_under_one_handle(visit: Visit, api: Api) -> None:
    page = visit()
    open_tab(page, "canny")
    give(page, "camera.png")
    slide(page, "canny-scale", 0.8)
    page.fill("#canny-prompt textarea", "a white chair on a green background")
    request = api.image(run(page, "canny"))["request"]
    control = request["control"]
    assert (control["low"], control["high"], control["scale"]) == (100, 200, 0.8)
    assert (control["start"], control["end"]) == (0.0, 1.0)
    handle = page.locator("#canny-stage .compare input")
    handle.focus()
    handle.press("ArrowRight")
    assert page.locator("#canny-stage .compare").evaluate("n => n.style.getPropertyValue('--cut')") == "51%"


def test_a_webcam_and_the_clipboard_bring_pictures_too(visit: Visit) -> None:
    page = visit()
    open_tab(page, "canny")
    page.click("#canny-picture [data-do=camera]")
    page.wait_for_function("document.querySelector('#canny-picture video').videoWidth > 0")
    page.click("#canny-picture [data-do=shoot]")
    page.wait_for_selector("#canny-stage .caption:has-text('Edges')")
    page.click("#canny-picture [data-do=clear]")
    page.wait_for_selector("#canny-stage .empty")
    data = base64.b64encode(photograph("coins.png").read_bytes()).decode()
    page.evaluate(
        """async (data) => {
          const blob = await (await fetch('data:image/png;base64,' + data)).blob();
          await navigator.clipboard.write([new ClipboardItem({'image/png': blob})]);
        }""",
        data,
    )
    page.keyboard.press("Control+V")
    page.wait_for_selector("#canny-stage .caption:has-text('Edges')")


def test_a_file_that_is_no_picture_is_refused_in_words(visit: Visit) -> None:
    page = visit()
    open_tab(page, "canny")
    svg = {"name": "x.png", "mimeType": "image/png", "buffer": b"<svg onload=fetch('/canary')></svg>"}
    page.set_input_files("#canny-picture input[type=file]", svg)
    expect(page.locator("#canny-picture .picker-note.bad")).to_contain_text("PNG")
    low, high = 220, 120
    give(page, "coffee.png")
    slide(page, "canny-low", low)
    slide(page, "canny-high", high)
    expect(page.locator("#canny-stage [role=alert]")).to_contain_text("must be below")


def test_a_picture_of_one_s_own_can_be_the_start(visit: Visit) -> None:
    page = visit()
    image = generate(page, "a black cap")
    open_tab(page, "canny")
    page.click(f"#canny-stage [data-id='{image}']")
    page.wait_for_selector("#canny-stage .caption:has-text('Edges · 128 × 128')")
