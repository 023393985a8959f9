"""Sheets with product pictures and grounds: columns to requests, files beside the sheet to pictures."""

from __future__ import annotations

import time
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from studio.brand.sheet import Defaults, Plan, make_plan, read_sheet
from studio.campaigns import Options
from studio.studio import Studio

ID = "0123456789abcdef0123456789abcdef"


def plan(text: str, **defaults: object) -> Plan:
    return make_plan(read_sheet(text.encode()), Defaults(**defaults))  # type: ignore[arg-type]


def test_a_row_says_where_its_product_stands() -> None:
    found = plan(
        "product,product image,product x,product y,product width,product edge,shadow,outline\n"
        f"jar,{ID},0.3,0.9,0.25,2.5,0,yes\n"
    )
    found.check()
    product = found.shots[0].request.product
    assert product is not None and product.image == ID and product.edges
    assert (product.x, product.y, product.width, product.edge, product.shadow) == (0.3, 0.9, 0.25, 2.5, 0)


def test_what_a_row_leaves_out_comes_from_the_campaign() -> None:
    fields = {"product": {"image": ID, "width": 0.3}}
    found = plan("sku,product,product x\n1,jar,0.2\n2,jar,\n", fields=fields)
    placed = [shot.request.product for shot in found.shots]
    assert [(one.image, one.x, one.width) for one in placed if one] == [(ID, 0.2, 0.3), (ID, 0.5, 0.3)]


def test_a_folder_of_product_pictures_makes_one_picture_each() -> None:
    pictures = {"shots/a.png": "a" * 32, "shots/b.png": "b" * 32}
    found = plan("product,产品图\njar,shots/\n", pictures=pictures)
    assert [shot.request.product.image for shot in found.shots if shot.request.product] == [
        "a" * 32,
        "b" * 32,
    ]


def test_the_background_s_cell_is_a_word_of_the_prompt_or_a_cut_out() -> None:
    found = plan("product,background\nred mug,blue | plain | transparent | #F4F1EA | 透明\n")
    assert [shot.request.background for shot in found.shots] == [
        "scene", "plain", "transparent", "#F4F1EA", "transparent",
    ]  # fmt: skip
    prompts = [shot.request.prompt for shot in found.shots]
    assert prompts[:2] == ["a red mug on a blue background", "a red mug on a plain background"]
    assert set(prompts[1:]) == {prompts[1]}
    named = plan("product,prompt,background\nmug,{product} before {background},transparent\n")
    assert named.shots[0].request.prompt == "mug before plain"


@pytest.mark.parametrize(
    ("heading", "cell", "words"),
    [
        ("product x", "middle", "not a number"),
        ("product width", "4", "from 0.05 to 1"),
        ("product edges", "perhaps", "neither yes nor no"),
        ("product image", "jra.png", "No picture"),
    ],
)
def test_a_bad_cell_is_named_by_its_place(heading: str, cell: str, words: str) -> None:
    head = ["product", "product image"] + ([heading] if heading != "product image" else [])
    row = ["jar", ID, cell] if heading != "product image" else ["jar", cell]
    problems = plan(f"{','.join(head)}\n{','.join(row)}\n").problems
    assert words in problems[0].message and problems[0].cell == ("C2" if len(row) == 3 else "B2")


def test_a_place_without_a_picture_is_told() -> None:
    problems = plan("product,product x\njar,0.3\n").problems
    assert "without a product image" in problems[0].message


def test_a_campaign_s_pictures_hold_their_row_s_product(studio: Studio) -> None:
    colours = {"jar.png": (200, 30, 40, 255), "pot.png": (20, 160, 90, 255)}
    pictures = {}
    for name, colour in colours.items():
        canvas = Image.new("RGBA", (60, 60))
        canvas.paste(colour, (10, 10, 50, 50))
        out = BytesIO()
        canvas.save(out, "PNG")
        pictures[name] = studio.upload(out.getvalue())
    sheet = "sku,product,steps,product image,background\n1,jar,2,jar.png,\n2,pot,2,pot.png,transparent\n"
    view = studio.campaigns.create(read_sheet(sheet.encode()), Options(pictures=pictures), "spring")
    until = time.monotonic() + 60
    while studio.campaigns.get(view.id).state == "running":
        assert time.monotonic() < until
        time.sleep(0.05)
    shown = [np.asarray(Image.open(one.image.file)) for one in studio.campaigns.pictures(view.id)]
    assert [picture[85, 64].tolist()[:3] for picture in shown] == [[200, 30, 40], [20, 160, 90]]
    assert [picture.shape[2] for picture in shown] == [3, 4]
