"""The chips of the size control: a preset's channels first, then the model's own formats."""

from __future__ import annotations

import math
from collections.abc import Sequence

from studio.catalog import FAMILIES
from studio.models import ModelRow
from studio.presets import Preset

Chip = tuple[str, str]  # (label, "WxH")
FORMATS = ((1, 1), (5, 4), (4, 3), (3, 2), (16, 9), (2, 1))


def sizes(row: ModelRow) -> list[Chip]:
    """Chips (ratio, "WxH") of the model's family, at the model's own native size."""
    family = FAMILIES[row.family]
    factor = row.size / family.size
    chips = []
    for width, height in family.sizes:
        pair = (round(width * factor / 8) * 8, round(height * factor / 8) * 8)
        chips.append((ratio(width, height), f"{pair[0]}x{pair[1]}"))
    return chips


def ratio(width: int, height: int) -> str:
    """The nearest of the formats that designers have names for."""
    long, short = max(width, height), min(width, height)
    a, b = min(FORMATS, key=lambda pair: abs(math.log(long / short * pair[1] / pair[0])))
    return f"{a}:{b}" if width >= height else f"{b}:{a}"


def with_channels(chips: Sequence[Chip], preset: Preset | None) -> list[Chip]:
    """`chips` of the model, before them those of the preset's channels; channels of one size share one."""
    named: dict[str, list[str]] = {}
    for channel, (width, height) in (preset.sizes if preset is not None else {}).items():
        named.setdefault(f"{width}x{height}", []).append(channel)
    own = [(" · ".join(channels), value) for value, channels in named.items()]
    return [*own, *(chip for chip in chips if chip[1] not in named)]


def first_size(preset: Preset | None) -> str | None:
    """Of the preset's first channel; None where it has none or says width or height itself."""
    if preset is None or not preset.sizes or preset.width is not None or preset.height is not None:
        return None
    width, height = next(iter(preset.sizes.values()))
    return f"{width}x{height}"


def shown(chips: Sequence[Chip], size: str) -> list[Chip]:
    """`chips`, and one more where none of them has `size`: a preset's own width and height."""
    return [*chips, *([] if size in dict(chips).values() else [(size.replace("x", " × "), size)])]
