"""The rules of a picture's brand, held against a request before its run and against the picture after it."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from PIL import Image

from studio import edges, uploads
from studio.brand.rules import Edges, Report, Spot, Subject, Words, edges_of, report
from studio.errors import BadRequest, NotFound
from studio.library import Library
from studio.logos import Logos
from studio.palettes import Palettes
from studio.presets import Preset, Presets
from studio.requests import Requests, plain
from studio.safety.rules import Rules
from studio.schema import TRANSPARENT, GenerationRequest, ImageRow, ResolvedRequest
from studio.settings import Settings
from studio.wildcards import Wildcards

KEPT = 20_000  # pictures whose gravest light is remembered: a table of 2,000 is asked for again and again
TRIALS = 32  # prompts that are drawn on trial where the seed is open: seeds 0 to 31, so that lights stay


class Reports:
    def __init__(
        self,
        settings: Settings,
        presets: Presets,
        library: Library,
        requests: Requests,
        wildcards: Wildcards,
        logos: Logos,
        palettes: Palettes,
    ) -> None:
        self._settings, self._presets, self._library = settings, presets, library
        self._requests, self._wildcards = requests, wildcards
        self._logos, self._palettes = logos, palettes
        self._known: OrderedDict[str, tuple[Preset | None, str]] = OrderedDict()
        self._lock = threading.Lock()

    def before(self, request: GenerationRequest) -> Report:
        """Raises what resolving it raises; banned and missing words are lights here, not errors."""
        resolved = self._requests.resolve(request, ruled=False)
        size = round(resolved.width * resolved.upscale), round(resolved.height * resolved.upscale)
        spot, missing = self._spot(resolved.preset, size, None)
        subject = Subject(
            *size, self._words(resolved, request.seed in (None, -1)), self._brand_sizes(resolved.preset),
            spot, missing, self._guide(resolved), transparent=resolved.background == TRANSPARENT,
        )  # fmt: skip
        return report("before", subject)

    def line(self, row: ImageRow) -> str:
        """The gravest light of a picture with its reason, remembered; '' where nothing was judged."""
        brand = self._brand(row)
        with self._lock:
            known = self._known.get(row.id)
        if known is not None and known[0] == brand:
            return known[1]
        try:
            found = self.after(row, self._library.receipt(row.id).get("checks", ()))
        except NotFound:  # taken away by hand
            return ""
        worst = found.worst
        told = "" if worst.light == "off" else f"{worst.light}: {worst.title[0]}. {worst.reason[0]}"
        with self._lock:
            self._known[row.id] = brand, told
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return told

    def after(self, row: ImageRow, checks: Sequence[Mapping[str, Any]]) -> Report:
        """Raises NotFound where the picture's file is gone. A brand that is gone has no rules."""
        flat = uploads.flat(self._library.picture_bytes(row.id)[0])
        picture, size = Image.open(io.BytesIO(flat)).convert("RGB"), (row.width, row.height)
        brand = self._brand(row)
        name = brand.name if brand else None
        spot, missing = self._spot(name, size, picture)
        palette = self._palettes.score(row, brand.palette).score if brand and brand.palette else None
        request = row.request.model_copy(update={"preset": name})
        subject = Subject(
            *size, self._words(request, open_seed=False), brand.sizes if brand else {}, spot, missing,
            edges_of(np.asarray(picture)), palette, checks, self._mark(size, brand),
            row.request.background == TRANSPARENT,
        )  # fmt: skip
        return report("after", subject)

    def _brand(self, row: ImageRow) -> Preset | None:
        return next((one for one in self._presets.list() if one.name == row.request.preset), None)

    def _brand_sizes(self, preset: str | None) -> Mapping[str, tuple[int, int]]:
        return {} if preset is None else self._presets.get(preset).sizes

    def _words(self, request: ResolvedRequest, open_seed: bool) -> Words:
        rules = self._requests.rules_of(request.preset)
        texts: Sequence[str] = request.prompts or (request.prompt,)
        open_seed = open_seed and request.template is not None
        if open_seed and request.template is not None:
            texts = self._wildcards.draw(request.template, 0, TRIALS)
        banned, missing, refused = [], [], 0
        for text in map(plain, texts):
            said = [word for word in (rule.banned_in(text) for rule in rules) if word]
            lacks = [word for rule in rules for word in rule.missing_in(text)]
            refused += bool(said or lacks)
            banned += said
            missing += lacks
        return Words(
            len(texts), refused, tuple(dict.fromkeys(banned)), tuple(dict.fromkeys(missing)), open_seed,
            sum(map(_count, rules)),
        )  # fmt: skip

    def _spot(
        self, preset: str | None, size: tuple[int, int], picture: Image.Image | None
    ) -> tuple[Spot | None, bool]:
        try:
            return self._logos.spot(preset, size, picture), False
        except BadRequest:
            return None, True

    def _guide(self, request: ResolvedRequest) -> Edges | None:
        """Edges of what will be where, as far as a control or a start picture says it.

        A product's picture says it of the product alone, and where that stands is asked for.
        """
        if request.product is not None:
            return None
        id = request.control.image if request.control is not None else request.init_image
        if id is None:
            return None
        picture = Image.open(io.BytesIO(uploads.flat(self._library.picture_bytes(id)[0]))).convert("RGB")
        return edges_of(edges.cover(np.asarray(picture), request.width, request.height))

    def _mark(self, size: tuple[int, int], brand: Preset | None) -> Literal["on", "small", "off", "no_mark"]:
        from studio.safety.mark import SMALLEST  # OpenCV's part of it takes its time to import

        wanted = None if brand is None else brand.policies.mark
        if wanted is False:
            return "no_mark"
        if not (self._settings.mark if wanted is None else wanted):
            return "off"
        return "on" if min(size) >= SMALLEST else "small"


def _count(rules: Rules) -> int:
    return len(rules.banned) + len(rules.required)
