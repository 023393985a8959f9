"""Paired timing: the variants run in turn, the next round in the opposite order, so a busy machine slows all.

A first round warms up and is left out. What counts is the median of the rounds' ratios to the first variant.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from studio.engine.memory import versions


@dataclass(frozen=True)
class Row:
    """`seconds`: median of each variant. `ratios`: median, lowest and highest of its time / the first's."""

    what: str
    rounds: int
    seconds: Mapping[str, float]
    ratios: Mapping[str, tuple[float, float, float]]


@dataclass
class Table:
    """Rows as they come, printed at once; `save` writes them with what they were measured on."""

    rows: list[Row] = field(default_factory=list)

    def add(self, what: str, variants: Mapping[str, Callable[[], object]], rounds: int) -> None:
        taken: dict[str, list[float]] = {name: [] for name in variants}
        for turn in range(rounds + 1):
            order = list(variants.items())
            for name, work in reversed(order) if turn % 2 else order:
                taken[name].append(seconds(work))
        kept = {name: times[1:] for name, times in taken.items()}
        first = next(iter(kept.values()))
        ratios = {
            name: [mine / base for mine, base in zip(times, first, strict=True)]
            for name, times in kept.items()
        }
        row = Row(
            what,
            rounds,
            {name: statistics.median(times) for name, times in kept.items()},
            {name: (statistics.median(all_), min(all_), max(all_)) for name, all_ in ratios.items()},
        )
        self.rows.append(row)
        for name, middle in row.seconds.items():
            ratio, low, high = row.ratios[name]
            print(
                f"{what:34} {name:28} {middle * 1000:10.1f} ms   {ratio:6.3f} ({low:.3f}-{high:.3f})",
                flush=True,
            )

    def save(self, file: Path) -> None:
        kept = {
            "machine": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "load": os.getloadavg(),
            "versions": dict(versions()),
            "rows": [asdict(row) for row in self.rows],
        }
        file.write_text(json.dumps(kept, indent=1), encoding="utf-8")


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
