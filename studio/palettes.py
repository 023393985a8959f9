"""Palette scores of the library's pictures: their dominant colours are found once and remembered."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from studio.brand.palette import PaletteScore, dominant, read_pixels, recolour, score_colours
from studio.errors import NotFound
from studio.library import Library
from studio.schema import ImageRow

Colours = tuple[NDArray[np.float64], NDArray[np.float64]]  # (K, 3) sRGB, (K,) shares
KEPT = 20_000  # pictures whose colours are remembered: 10 MB


class Palettes:
    """A picture's colours do not depend on the palette, so another palette costs next to nothing."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._known: OrderedDict[str, Colours] = OrderedDict()
        self._lock = threading.Lock()

    def score(self, row: ImageRow, palette: Mapping[str, str]) -> PaletteScore:
        """Raises NotFound where the picture's file is gone."""
        return score_colours(*self._colours(row.id), palette)

    def ranked(
        self, rows: Sequence[ImageRow], palette: Mapping[str, str], at_least: float = 0.0
    ) -> list[tuple[ImageRow, PaletteScore]]:
        """Best first, those below `at_least` (0 to 100) left out; equal ones stay in their order."""
        found: list[tuple[ImageRow, PaletteScore]] = []
        for row in rows:
            try:
                score = self.score(row, palette)
            except NotFound:  # taken away by hand
                continue
            if score.score >= at_least:
                found.append((row, score))
        return sorted(found, key=lambda pair: -pair[1].score)

    def recoloured(self, row: ImageRow, palette: Mapping[str, str], strength: float) -> bytes:
        """A PNG of the same size, its hues nearer to the palette; it carries no settings. Raises NotFound."""
        picture = Image.open(io.BytesIO(self._library.picture_bytes(row.id)[0]))
        out = io.BytesIO()
        made = Image.fromarray(recolour(np.asarray(picture.convert("RGB")), palette, strength))
        if picture.has_transparency_data:
            made.putalpha(picture.convert("RGBA").getchannel("A"))
        made.save(out, "PNG", compress_level=1)
        return out.getvalue()

    def _colours(self, id: str) -> Colours:
        with self._lock:
            known = self._known.get(id)
            if known is not None:
                self._known.move_to_end(id)
                return known
        found = dominant(read_pixels(self._library.picture_bytes(id)[0]))
        with self._lock:
            self._known[id] = found
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return found
