"""Figures of a bench as PNG: lines over what grows, bars of ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

if TYPE_CHECKING:
    from paired import Row

matplotlib.use("Agg")
INK, FIRST, SECOND = "#1d1d1f", "#0a66c2", "#c2410c"


def _axes(title: str, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=size, dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def growth(
    file: Path, title: str, over: str, counts: Sequence[float], left: tuple[str, Sequence[float]],
    right: tuple[str, Sequence[float]],
) -> None:  # fmt: skip
    """Two lines with an axis of their own each, both from zero."""
    figure, axes = _axes(title, (7, 3.6))
    other = axes.twinx()
    for one, (label, values), colour in ((axes, left, FIRST), (other, right, SECOND)):
        one.plot(counts, values, "o-", color=colour)
        one.set_ylabel(label, color=colour)
        one.set_ylim(0, max(values) * 1.15 or 1)
    axes.set_xlabel(over)
    axes.set_xticks(list(counts))
    figure.savefig(file)


def ratios(file: Path, rows: Sequence[Row]) -> None:
    """A bar a variant: how many times the first one's speed, with the range of its rounds."""
    bars: list[tuple[str, float, float, float]] = []
    for row in rows:
        for name, (middle, low, high) in list(row.ratios.items())[1:]:
            bars.append((f"{row.what}: {name}", 1 / middle, 1 / high, 1 / low))
    if not bars:
        return
    figure, axes = _axes("times the speed of the first line of each row", (9, 0.9 + 0.3 * len(bars)))
    places = range(len(bars))
    middles = [bar[1] for bar in bars]
    spread = [[bar[1] - bar[2] for bar in bars], [bar[3] - bar[1] for bar in bars]]
    axes.barh(places, middles, xerr=spread, color=FIRST, ecolor=INK)
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.set_yticks(list(places), [bar[0] for bar in bars], fontsize=7)
    axes.invert_yaxis()
    figure.savefig(file)


def all_of(folder: Path, rows: Sequence[Row], grown: Sequence[Mapping[str, Any]]) -> None:
    """`grown`: as bench/growth.py makes them."""
    ratios(folder / "ratios.png", rows)
    for one in grown:
        title = f"{one['what']}: {one['reason']}"
        growth(
            folder / f"growth-{one['name']}.png", title if len(title) < 110 else one["what"], one["over"],
            one["counts"], ("pictures/s", one["rate"]), ("MiB", one["memory"]),
        )  # fmt: skip


def stages(file: Path, figures: Sequence[Mapping[str, Any]]) -> None:
    """Bars of bench/gpu.py: times plain diffusers' speed, by stage and number of pictures."""
    known = [one for one in figures if one["speed"]]
    figure, axes = _axes("times the speed of plain diffusers", (9, 0.9 + 0.22 * len(known)))
    names = [f"{one['kind']}: {one['stage']}, {one['pictures']}" for one in known]
    axes.barh(range(len(known)), [one["speed"] for one in known], color=FIRST)
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(known)), names, fontsize=7)
    axes.invert_yaxis()
    figure.savefig(file)
