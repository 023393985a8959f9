"""The person's own product, and the ground they asked for, in finished pictures: read, placed, laid over."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
from PIL import Image

from studio.brand.colour import read_hex
from studio.brand.matte import PLAIN as PLAIN_SHARE
from studio.brand.matte import cut, grounded
from studio.brand.product_lock import (
    FITTED,
    OWN_SIZE,
    Cutout,
    Pixels,
    check_product,
    lock,
    place,
    read_product,
)
from studio.errors import BadRequest
from studio.schema import SCENE, TRANSPARENT, Product, Rendered, ResolvedRequest

KEPT = 2  # products that stay cut out: 9 megapixels of one are 63 MB
JUDGED = 4_096  # pictures whose verdict is remembered: a campaign asks for each row several times
GREYS = (235, 105)  # what an outline is found before: the one that the product differs from more
NOT_PLAIN = "ground_not_plain"  # note: the scene's ground was no plain one, the cut may be wrong
NO_SUBJECT = "no_subject"  # note: nothing stood out, and the picture is left as it was
NOTES = (OWN_SIZE, FITTED, NOT_PLAIN, NO_SUBJECT)  # all that people are told of


class Products:
    """`find`: a picture's file by its id; raises NotFound. Ids never get another picture."""

    def __init__(self, find: Callable[[str], bytes]) -> None:
        self._find = find
        self._cutout = lru_cache(KEPT)(self._read)
        self._refusal = lru_cache(JUDGED)(self._judge)

    def check(self, id: str) -> None:
        """Raises BadRequest (`product_empty`, `product_no_ground`), NotFound. Milliseconds, then none."""
        refusal = self._refusal(id)
        if refusal is not None:
            message, hint, code = refusal
            raise BadRequest(message, hint=hint, field="product.image", code=code)

    def placed(self, request: ResolvedRequest) -> bytes:
        """PNG of the product where it will stand, before plain grey: what a control or a start sees."""
        assert request.product is not None
        size = request.width, request.height
        standing = place(self._cutout(request.product.image), size, request.product)
        seen = standing.pixels[standing.alpha > 0.5]
        mean = float(seen.mean()) if len(seen) else 0.0
        grey = max(GREYS, key=lambda one: abs(one - mean))
        ground = np.full((size[1], size[0], 3), grey, np.uint8)
        return _png(lock(ground, standing, 0, 0))

    def finish(self, picture: Rendered, request: ResolvedRequest) -> Rendered:
        """As the request wants it: on another ground, with the product; unchanged without either.

        What could not be done as asked is in its notes. Raises what reading the product raises.
        """
        if request.product is None and request.background == SCENE:
            return picture
        scene = np.asarray(Image.open(io.BytesIO(picture.data)).convert("RGB"))
        notes: tuple[str, ...] = ()
        if request.background != SCENE:
            scene, notes = _on_ground(scene, request.background, request.product)
        if request.product is not None:
            size = scene.shape[1], scene.shape[0]
            standing = place(self._cutout(request.product.image), size, request.product)
            scene = lock(scene, standing, request.product.edge, request.product.shadow)
            notes += standing.notes
        return replace(picture, data=_png(scene), notes=(*picture.notes, *notes))

    def _read(self, id: str) -> Cutout:
        return read_product(self._find(id))

    def _judge(self, id: str) -> tuple[str, str, str] | None:
        try:
            check_product(self._find(id))
        except BadRequest as error:
            return error.message, error.hint, error.code
        return None


def _on_ground(scene: Pixels, background: str, product: Product | None) -> tuple[Pixels, tuple[str, ...]]:
    """(picture, notes): the scene's subject, or nothing where a product is to stand there alone."""
    colour = None if background == TRANSPARENT else read_hex(background)
    height, width = scene.shape[:2]
    if product is not None:
        return np.full((height, width, 4 if colour is None else 3), colour or 0, np.uint8), ()
    matte = cut(scene)
    if matte.empty:
        return scene, (NO_SUBJECT,)
    notes = (NOT_PLAIN,) if matte.plain < PLAIN_SHARE else ()
    return grounded(scene, matte, colour), notes


def _png(pixels: Pixels) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()
