"""Product and background in a form: the customer's own product put into the scene, the scene's ground."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from studio.schema import HEX, PLAIN, SCENE, TRANSPARENT, GenerationRequest, Product, ResolvedRequest
from studio.ui.html import element
from studio.ui.parts import picker
from studio.ui.run import AT_ONCE
from studio.ui.text import Text

USUAL: Mapping[str, Any] = {
    name: row.default for name, row in Product.model_fields.items() if not row.is_required()
}
GROUNDS = (SCENE, PLAIN, TRANSPARENT)


def fields(t: Text, prefix: str, outline: bool = True) -> dict[str, Any]:
    """Components by field name, folded away. `outline`: whether the product's edges may guide the scene."""
    with gr.Accordion(t("product_title"), open=False, elem_id=f"{prefix}-product-part"):
        gr.HTML(element("p", t("product_info"), class_="caption"), apply_default_css=False)
        found: dict[str, Any] = {"product_image": picker(t, f"{prefix}-product")}
        for name, low, high, step in (
            ("x", 0, 1, 0.01), ("y", 0.05, 1, 0.01), ("width", 0.05, 1, 0.01), ("edge", 0, 32, 0.5),
            ("shadow", 0, 1, 0.05),
        ):  # fmt: skip
            found[f"product_{name}"] = gr.Slider(
                low, high, value=USUAL[name], step=step, label=t(f"product_{name}"),
                elem_id=f"{prefix}-product-{name}",
            )  # fmt: skip
        if outline:
            found["product_edges"] = gr.Checkbox(
                False, label=t("product_edges"), elem_id=f"{prefix}-product-edges", container=False
            )
        found["background"] = gr.Radio(
            [(t(f"ground_{name}"), name) for name in GROUNDS],
            value=SCENE,
            label=t("ground"),
            info=t("ground_info"),
            elem_id=f"{prefix}-ground",
            elem_classes=["chips"],
        )
        found["ground_colour"] = gr.Textbox(
            label=t("ground_colour"), placeholder="#F4F1EA", max_length=7, visible=False,
            elem_id=f"{prefix}-ground-colour",
        )  # fmt: skip
    found["background"].change(
        lambda ground: gr.update(visible=ground == PLAIN),
        found["background"],
        found["ground_colour"],
        **AT_ONCE,
    )
    return found


def read(asked: dict[str, Any]) -> dict[str, Any]:
    """Takes this part's values out of the form's; the request's fields for them."""
    mine = {name: asked.pop(f"product_{name}", None) for name in ("image", *USUAL)}
    ground, colour = asked.pop("background", None) or SCENE, asked.pop("ground_colour", None)
    found: dict[str, Any] = {"background": colour.strip() if ground == PLAIN and colour else ground}
    if mine["image"]:
        numbers = {
            name: value if name in ("image", "edges") else float(value)
            for name, value in mine.items()
            if value is not None
        }
        found["product"] = numbers
    return found


def asked_by(request: GenerationRequest | ResolvedRequest) -> dict[str, Any]:
    """A request's product and ground as form values."""
    product = {"image": ""} | dict(USUAL)
    if request.product is not None:
        product = request.product.model_dump()
    coloured = HEX.fullmatch(request.background.lower()) is not None
    return {f"product_{name}": value for name, value in product.items()} | {
        "background": PLAIN if coloured else request.background,
        "ground_colour": request.background if coloured else "",
    }
