"""What travels beside a request to whoever runs it: the pictures that it names, as the engine wants them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio import uploads
from studio.errors import NotFound
from studio.jobs.receipts import Weights
from studio.library import Library
from studio.models import Models
from studio.products import Products
from studio.schema import ResolvedRequest


class Inputs:
    def __init__(self, models: Models, weights: Weights, library: Library, products: Products) -> None:
        self._models, self._weights, self._library, self._products = models, weights, library, products

    def of(self, request: ResolvedRequest, snapshot: Mapping[str, Any]) -> Mapping[str, bytes]:
        """Encoded pictures by id. Asked when its turn has come; `snapshot`: the weights it was asked with.

        Raises NotFound: `image_not_found`, and `lora_missing` for a file that went while the job waited;
        Conflict: `weights_changed` for one that was replaced meanwhile.
        """
        there = {lora.name for lora in self._models.loras()} if request.loras else set()
        for lora in request.loras:
            if lora.name not in there:
                raise NotFound(
                    f"The file of LoRA {lora.name} is gone.", hint="Add it again.", code="lora_missing"
                )
        self._weights.check(request, snapshot)
        self._weights.warm(request)
        control, product = (None if one is None else one.image for one in (request.control, request.product))
        found: dict[str, bytes] = {}
        for id in pictures_of(request):
            data = self._library.picture_bytes(id)[0]
            if id == request.mask:
                found[id] = data
            elif id != product:
                found[id] = uploads.flat(data)
            elif id in (control, request.init_image):  # the product's own picture: as it will stand
                found[id] = self._products.placed(request)
        return found


def pictures_of(request: ResolvedRequest) -> list[str]:
    """Ids of the pictures that a request names."""
    control, product = (None if one is None else one.image for one in (request.control, request.product))
    return [id for id in (control, request.init_image, request.mask, product) if id is not None]
