"""What a sheet's cells say: sizes, numbers, styles, pictures. Each raises BadRequest with its column."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any

from studio.errors import BadRequest

SIZE = re.compile(r"(\d{1,5})(?:\s*[xX×*]\s*(\d{1,5}))?")
NUMBERS: Mapping[str, Callable[[str], Any]] = {
    "width": int, "height": int, "steps": int, "guidance": float, "seed": int, "count": int,
    "strength": float, "upscale": float, "control_low": int, "control_high": int, "control_scale": float,
    "product_x": float, "product_y": float, "product_width": float, "product_edge": float,
    "product_shadow": float,
}  # fmt: skip
CONTROL = {"control_image": "image", "control_low": "low", "control_high": "high", "control_scale": "scale"}
PRODUCT = {f"product_{key}": key for key in ("image", "x", "y", "width", "edge", "shadow", "edges")}
YES, NO = ("yes", "true", "1", "x", "是"), ("no", "false", "0", "否")


def read_size(cells: Mapping[str, str]) -> dict[str, int]:
    found: dict[str, int] = {}
    if cells.get("size"):
        size = SIZE.fullmatch(cells["size"].removesuffix("px").strip())
        if size is None:
            raise BadRequest(
                f"{cells['size'][:40]!r} is no size.", field="size", hint="Write 128x128: width x height, px."
            )
        found = {"width": int(size[1]), "height": int(size[2] or size[1])}
    return found | {name: read_number(name, cells[name]) for name in ("width", "height") if cells.get(name)}


def read_number(name: str, cell: str) -> Any:
    kind = NUMBERS[name]
    try:
        if kind is int and "." in cell and cell.rstrip("0").endswith("."):
            return int(cell.rstrip("0").rstrip("."))  # 20.0, as some spreadsheets write 20
        return kind(cell)
    except ValueError:
        word = "a whole number" if kind is int else "a number"
        raise BadRequest(f"{cell[:40]!r} is not {word}.", field=name) from None


def read_lora(text: str) -> dict[str, Any]:
    name, colon, weight = text.strip().rpartition(":")
    if not colon:
        return {"name": text.strip()}
    try:
        return {"name": name.strip(), "weight": float(weight)}
    except ValueError:
        raise BadRequest(
            f"{text.strip()[:40]!r}: the weight is not a number.", field="loras", hint="Write NAME:0.8."
        ) from None


def read_control(
    found: Mapping[str, str], cells: Mapping[str, str], pictures: Mapping[str, str]
) -> dict[str, Any]:
    if "image" not in found:
        raise BadRequest("Edge settings without a control image.", field="control.image")
    control: dict[str, Any] = {"type": "canny"}
    control["image"] = read_picture("control_image", found["image"], pictures)
    numbers = ("control_low", "control_high", "control_scale")
    return control | {CONTROL[name]: read_number(name, cells[name]) for name in numbers if cells.get(name)}


def read_product(
    found: Mapping[str, str], usual: Mapping[str, Any], pictures: Mapping[str, str]
) -> dict[str, Any]:
    """`usual`: the campaign's own, for what the row leaves out."""
    if "image" not in found and not usual.get("image"):
        raise BadRequest("A product's place without a product image.", field="product.image")
    product: dict[str, Any] = dict(usual)
    for key, cell in found.items():
        if key == "image":
            product[key] = read_picture("product_image", cell, pictures)
        else:
            product[key] = read_flag(cell) if key == "edges" else read_number(f"product_{key}", cell)
    return product


def read_flag(cell: str) -> bool:
    word = cell.casefold()
    if word not in (*YES, *NO):
        raise BadRequest(f"{cell[:40]!r} is neither yes nor no.", field="product.edges")
    return word in YES


def read_picture(column: str, cell: str, pictures: Mapping[str, str]) -> str:
    """Id of the picture that the cell names: a file that came with the sheet, or an id itself.

    `pictures`: id by file name, folded.
    """
    known = pictures.get(cell.casefold().replace("\\", "/").removeprefix("./"))
    if known is not None:
        return known
    if re.fullmatch(r"[0-9a-f]{32}", cell):
        return cell
    close = difflib.get_close_matches(cell.casefold(), list(pictures), n=1)
    hint = f"Did you mean {close[0]}?" if close else "Send the picture along with the sheet."
    raise BadRequest(f"No picture {cell[:80]!r}.", field=column, hint=hint)
