"""A product and a ground on their way through the studio: request, run, receipt, replay, refusals."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pytest
from folders import make_model
from numpy.typing import NDArray
from PIL import Image

from studio.errors import BadRequest, NotFound, StudioError
from studio.library.marks import mark_of
from studio.people import Person, speaking
from studio.presets import Presets
from studio.schema import GenerationRequest, ImageRow, parse
from studio.settings import ROOT
from studio.studio import Studio

Pixels = NDArray[np.uint8]


def jar() -> Pixels:
    """(40, 30, 4): opaque, speckled, no transparency left inside."""
    pixels = np.random.default_rng(5).integers(0, 256, (40, 30, 4), np.uint8)
    pixels[..., 3] = 255
    canvas = np.zeros((60, 60, 4), np.uint8)
    canvas[10:50, 15:45] = pixels
    return canvas


def png(pixels: Pixels) -> bytes:
    out = BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def asked(**fields: Any) -> GenerationRequest:
    return parse(GenerationRequest, {"prompt": "a table by the sea", "steps": 2, "seed": 4, **fields})


def made(studio: Studio, **fields: Any) -> ImageRow:
    view = studio.wait(studio.submit(asked(**fields)).id, 60)
    assert view.state == "completed", view.error
    return view.images[0]


def pixels_of(studio: Studio, row: ImageRow) -> Pixels:
    return np.asarray(Image.open(BytesIO(studio.picture_bytes(row.id)[0])))


def refused(studio: Studio, **fields: Any) -> StudioError:
    before = len(studio.jobs_list())
    with pytest.raises(StudioError) as caught:
        studio.submit(asked(**fields))
    assert len(studio.jobs_list()) == before
    return caught.value


@pytest.fixture
def product(studio: Studio) -> str:
    return studio.upload(png(jar()))


def test_the_finished_picture_holds_the_product_s_own_pixels(studio: Studio, product: str) -> None:
    row = made(studio, product={"image": product, "edge": 1, "x": 0.5, "y": 0.75})
    picture = pixels_of(studio, row)
    left, top = 64 - 15, 96 - 40  # 30 x 40 px, its middle at half, its base at three quarters of 128
    core = slice(top + 3, top + 37), slice(left + 3, left + 27)
    assert np.array_equal(picture[core], jar()[13:47, 18:42, :3])
    assert row.notes == ("product_own_size",)  # half of 128 px was asked for
    assert row.request.product is not None and row.request.product.image == product


def test_a_picture_with_a_product_is_replayed_to_the_pixel(studio: Studio, product: str) -> None:
    row = made(studio, product={"image": product})
    assert studio.replay(row.id).verdict == "identical"
    found = studio.recover(studio.picture_bytes(row.id)[0])
    assert found.fields["product"]["image"] == product and "background" not in found.fields


def test_another_product_is_another_picture(studio: Studio, product: str) -> None:
    other = studio.upload(png(np.flipud(jar())))
    first = studio.submit(asked(product={"image": product}))
    studio.wait(first.id, 60)
    assert studio.submit(asked(product={"image": product})).cached
    assert not studio.submit(asked(product={"image": other})).cached
    assert not studio.submit(asked(product={"image": product, "x": 0.4})).cached
    assert studio.submit(asked(product={"image": studio.upload(png(jar()))})).cached
    assert not studio.submit(asked()).cached


def test_the_checks_see_the_finished_picture(studio: Studio, product: str) -> None:
    """A protected mark on a product, or on what stands behind it, is found where people will see it."""
    seen: list[bytes] = []
    plain = studio._checks.apply

    def note(file: bytes, *rest: Any) -> Any:
        seen.append(file)
        return plain(file, *rest)

    studio._checks.apply = note  # type: ignore[method-assign]
    row = made(studio, product={"image": product})
    assert np.array_equal(np.asarray(Image.open(BytesIO(seen[0]))), pixels_of(studio, row))


def test_a_product_on_a_colour_or_on_nothing_stands_there_alone(studio: Studio, product: str) -> None:
    plain = pixels_of(studio, made(studio, product={"image": product, "shadow": 0}, background="#2040a0"))
    assert {tuple(one) for one in plain[:40].reshape(-1, 3).tolist()} == {(0x20, 0x40, 0xA0)}
    clear = pixels_of(studio, made(studio, product={"image": product, "shadow": 0}, background="transparent"))
    assert clear.shape[2] == 4 and not clear[:40].any() and clear[80, 64, 3] == 255
    webp = made(studio, product={"image": product}, background="transparent", format="webp")
    assert pixels_of(studio, webp).shape[2] == 4


def test_copies_for_clients_stay_transparent(studio: Studio, product: str) -> None:
    row = made(studio, product={"image": product, "shadow": 0}, background="transparent")
    copy = np.asarray(Image.open(BytesIO(studio.client_copy(row.id)[0])))
    assert copy.shape[2] == 4 and np.array_equal(copy[..., 3], pixels_of(studio, row)[..., 3])
    assert studio.verify(studio.client_copy(row.id)[0]).verdict == "ours, unchanged"


def test_plain_is_the_brand_s_lightest_colour_from_then_on(studio: Studio) -> None:
    palette = Presets((ROOT / "presets",)).get("guochao").palette
    ground = studio.resolve(asked(background="plain", preset="guochao")).background
    light = [sum(int(colour[at : at + 2], 16) for at in (1, 3, 5)) for colour in palette.values()]
    assert ground.upper() == list(palette.values())[int(np.argmax(light))].upper()
    assert studio.resolve(asked(background="plain")).background == "#FFFFFF"
    assert studio.resolve(asked(background=" #f4f1ea ")).background == "#F4F1EA"


def test_a_product_s_outline_is_the_control_where_it_will_stand(studio: Studio, product: str) -> None:
    resolved = studio.resolve(asked(product={"image": product, "edges": True, "width": 0.2, "y": 1}))
    assert resolved.control is not None and resolved.control.image == product
    seen = np.asarray(Image.open(BytesIO(studio.inputs.of(resolved, {})[product])))
    edges = cv2.Canny(seen, resolved.control.low, resolved.control.high)
    assert seen.shape == (128, 128, 3) and not edges[:90].any() and edges[94:127, 51:77].any()
    assert studio.resolve(asked(**resolved.model_dump(include={"product", "control"}))).control
    assert not studio.inputs.of(studio.resolve(asked(product={"image": product})), {})


def test_what_cannot_be_done_is_refused_with_its_code_before_any_run(studio: Studio, product: str) -> None:
    busy = studio.upload(png(np.random.default_rng(1).integers(0, 256, (80, 80, 3), np.uint8)))
    make_model(studio.settings.home / "models" / "bare", controls=False)
    own = {"image": product}
    for fields, code, field in (
        ({"product": {"image": busy}}, "product_no_ground", "product.image"),
        ({"product": {"image": "0" * 32}}, "image_not_found", "product.image"),
        ({"product": own | {"edges": True}, "model": "bare"}, "control_not_available", "product.edges"),
        ({"background": "transparent", "format": "jpeg"}, "transparent_needs_png", "format"),
    ):
        error = refused(studio, **fields)
        assert (error.code, error.field) == (code, field), error.message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"product": {"image": "a", "x": 1.2}}, "product.x: a number from 0 to 1"),
        ({"product": {"image": "a", "width": 0}}, "product.width: a number from 0.05 to 1"),
        ({"product": {"image": "a", "edge": 99}}, "from 0 to 32"),
        ({"product": {"image": "a", "shade": 1}}, "product.shade"),
        ({"product": {}}, "product.image is required"),
        ({"background": "see-through"}, "none of scene, plain, transparent"),
        ({"background": "#12345"}, "a colour such as #F4F1EA"),
        ({"product": {"image": "a", "edges": True}, "control": {"image": "b"}}, "leave one out"),
    ],
)
def test_a_bad_place_or_ground_says_what_would_do(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        asked(**fields)
    assert words in caught.value.message


def test_somebody_else_s_product_does_not_exist(studio: Studio, product: str) -> None:
    with speaking(Person("mia", frozenset({"read", "generate"}))), pytest.raises(NotFound):
        studio.resolve(asked(product={"image": product}))


def test_a_picture_s_verdict_is_kept_and_its_file_read_once(studio: Studio, product: str) -> None:
    read: list[str] = []
    find = studio.products._find
    studio.products._find = lambda id: read.append(id) or find(id)  # type: ignore[method-assign,func-returns-value]
    for _ in range(3):
        studio.resolve(asked(product={"image": product}))
    assert read == [product]


def test_a_mark_made_before_products_were_known_still_names_its_picture(studio: Studio) -> None:
    plain = studio.resolve(asked()).model_dump()
    assert "product" not in plain and "background" not in plain
    other = studio.resolve(asked(background="transparent")).model_dump()
    assert mark_of(plain, 3) != mark_of(other, 3)
