"""The size control under a preset: its channels' sizes first, then the model's own."""

from __future__ import annotations

from collections.abc import Sequence

from studio.presets import Preset

Chip = tuple[str, str]  # (label, "WxH")


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
