"""An OpenAI request as the studio's own."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from PIL import Image

from studio.api import pictures
from studio.api.openai.shapes import Edit, Generate
from studio.errors import BadRequest
from studio.models import ModelRow
from studio.schema import SCENE, TRANSPARENT, GenerationRequest, parse
from studio.studio import Studio
from studio.uploads import Upload

SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
THEIRS = re.compile(r"(?:dall-e|gpt-image|chatgpt-image)\b.*", re.IGNORECASE)
SAME = ("preset", "negative_prompt", "guidance", "scheduler", "seed", "loras")
EFFORT: Mapping[str | None, float] = {"low": 0.5, "high": 1.5, "hd": 1.5}  # times the model's own steps
QUALITIES = {"hd": "high", "low": "low", "high": "high"}
NUMBERS = (
    "n",
    "output_compression",
    "partial_images",
    "stream",
    "steps",
    "guidance",
    "seed",
    "strength",
    "loras",
)
FIDELITY = {"high": 0.5}  # strength where nothing is masked
REPAINT = 1.0  # strength where a mask says what is new


def fields_of(studio: Studio, wish: Generate) -> dict[str, Any]:
    """For a GenerationRequest; pictures apart. Raises BadRequest, NotFound."""
    fields: dict[str, Any] = {
        "prompt": wish.prompt,
        "count": wish.n or 1,
        "format": wish.output_format or "png",
        "background": TRANSPARENT if wish.background == TRANSPARENT else SCENE,
    }
    fields |= {name: value for name in SAME if (value := getattr(wish, name)) is not None}
    if wish.model and not THEIRS.fullmatch(wish.model):
        fields["model"] = studio.models.get(wish.model).name
    model = studio.models.get(fields.get("model", studio.models.default()))
    if wish.steps is not None:
        fields["steps"] = wish.steps
    elif wish.quality in EFFORT:
        fields["steps"] = max(1, round(model.steps * EFFORT[wish.quality]))
    if wish.size not in (None, "", "auto"):
        fields["width"], fields["height"] = size_of(str(wish.size))
    return fields


def size_of(text: str) -> tuple[int, int]:
    found = SIZE.fullmatch(text)
    if found is None:
        raise BadRequest(
            f"size {text!r} is not WIDTHxHEIGHT.", hint="Such as 1024x1024, or auto.", field="size"
        )
    return int(found[1]), int(found[2])


def request_of(studio: Studio, wish: Generate) -> GenerationRequest:
    return parse(GenerationRequest, fields_of(studio, wish))


def edit_of(form: Mapping[str, str]) -> Edit:
    """A form's texts as numbers where the field is one."""
    fields: dict[str, Any] = dict(form)
    for name in NUMBERS:
        if name in fields:
            try:
                fields[name] = json.loads(form[name])
            except (ValueError, RecursionError):
                raise BadRequest(f"{name}: {form[name][:40]!r} is not a value.", field=name) from None
    return parse(Edit, fields)


def edit_request(studio: Studio, wish: Edit, image: bytes, mask: bytes | None) -> GenerationRequest:
    """Checks everything, then keeps the pictures."""
    fields = fields_of(studio, wish)
    given = pictures.opened(studio.cleaned(image))
    if "width" not in fields:
        model = studio.models.get(fields.get("model", studio.models.default()))
        fields["width"], fields["height"] = own_size(given.size, model)
    parse(GenerationRequest, fields)
    size = fields["width"], fields["height"]
    hole = hole_of(given, None if mask is None else pictures.opened(studio.cleaned(mask)))
    start = pictures.fitted(pictures.opened(pictures.opaque(pictures.packed(given))).convert("RGB"), *size, 1)
    kept: dict[str, Upload] = {}
    if hole is not None:
        hole = pictures.fitted(hole, *size, 1)
        check_hole(hole)
        kept["mask"] = pictures.packed(hole)
        start = start if mask is not None else pictures.filled(start, hole)
    kept["init_image"] = pictures.packed(start)
    fields["strength"] = wish.strength
    if wish.strength is None:
        fields["strength"] = REPAINT if hole is not None else FIDELITY.get(wish.input_fidelity or "", 0.75)
    studio.resolve(parse(GenerationRequest, fields))  # names too, before anything is written
    return parse(GenerationRequest, fields | {name: studio.keep(picture) for name, picture in kept.items()})


def check_hole(hole: Image.Image) -> None:
    if hole.getextrema()[1] == 0:
        raise BadRequest(
            "The mask selects nothing.", hint="Its transparent parts are painted over.", field="mask",
            code="bad_mask",
        )  # fmt: skip


def hole_of(picture: Image.Image, mask: Image.Image | None) -> Image.Image | None:
    """White where something new is wanted: what is transparent in the mask, or in the picture itself.

    A mask without transparent parts says it by brightness. None: all of the picture.
    """
    for one in (mask, picture):
        if one is not None and one.has_transparency_data:
            alpha = one.convert("RGBA").getchannel("A")
            if alpha.getextrema() != (255, 255):
                return alpha.point([255 - tone for tone in range(256)]).resize(picture.size)
    return None if mask is None else mask.convert("L").resize(picture.size)


def own_size(size: tuple[int, int], model: ModelRow) -> tuple[int, int]:
    """The picture's shape, with as many px as the model likes, in eights."""
    scale = model.size / math.sqrt(size[0] * size[1])
    wide, high = (min(2048, max(64, round(side * scale / 8) * 8)) for side in size)
    return wide, high
