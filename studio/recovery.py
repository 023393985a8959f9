"""Settings that were found in a picture file, made to fit what this studio has; what does not is listed."""

from __future__ import annotations

from collections.abc import Callable

from studio import infotext
from studio.errors import NotFound
from studio.infotext import Found
from studio.jobs.receipts import Weights
from studio.models import Models
from studio.presets import Presets

PICTURES = ("init_image", "mask")  # fields that name one


class Recovery:
    """`picture_bytes`: (file, mime type) of a picture that somebody may see; raises NotFound."""

    def __init__(
        self, models: Models, presets: Presets, weights: Weights,
        picture_bytes: Callable[[str], tuple[bytes, str]],
    ) -> None:  # fmt: skip
        self._models, self._presets, self._weights = models, presets, weights
        self._picture_bytes = picture_bytes

    def match(self, found: Found) -> Found:
        """The same one, changed."""
        loras = {name.casefold(): row.name for row in self._models.loras() for name in (row.title, row.name)}
        stock = infotext.Stock(
            [row.name for row in self._models.list()], loras, [row.name for row in self._presets.list()],
            lambda name: self._models.get(name).hash or self._weights.model_hash(name),
            self._weights.lora_hash,
        )  # fmt: skip
        infotext.match(found, stock)
        inside = [(name, (found.fields.get(name) or {}).get("image")) for name in ("control", "product")]
        for name, id in (*inside, *((name, found.fields.get(name)) for name in PICTURES)):
            try:
                if id is not None:
                    self._picture_bytes(id)
            except NotFound:
                found.miss(name, "its picture is not in this library")
                del found.fields[name]
        if "init_image" not in found.fields:
            found.fields.pop("mask", None)
        return found
