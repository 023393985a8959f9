"""Pictures/s and memory against what grows: rows of a call, size, models in memory, LoRAs in the bank.

    python bench/growth.py                      # the pocket model, 4 min on an idle machine
    python bench/growth.py --model sd15 --only rows,size --most 8 --px 512    # true size, random weights

Each row of figures is followed by a line of reasoning: a straight line fitted to seconds (a + b * n), or the
power of the size that time follows. Memory: peak of the process in that run, above what it held before.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from models15 import save_random
from safetensors.torch import load_file, save_file
from soak_leaks import copy_changed

from studio.engine import Engine, memory
from studio.models import Models
from studio.schema import Failed, LoraRef, ResolvedRequest
from studio.settings import ROOT, Settings

MIB = 2**20
ROWS = (1, 2, 4, 8, 16, 32)
LORAS = (0, 1, 2, 4, 8, 16)
POCKET = ROOT / "assets" / "models" / "pocket"


@dataclass(frozen=True)
class Growth:
    """`rate`: pictures a second. `memory`: MiB."""

    name: str
    what: str
    over: str
    counts: tuple[int, ...]
    rate: tuple[float, ...]
    memory: tuple[float, ...]
    reason: str


def opened(home: Path, model: str, backend: str, rows: int = 32) -> Engine:
    settings = Settings(home=home, device="cpu", backend=backend, rows=rows, model=model)
    engine = Engine(settings, Models(settings))
    engine.load(model)
    return engine


def request(model: str, px: int, steps: int, **fields: Any) -> ResolvedRequest:
    asked: dict[str, Any] = {
        "prompt": "a red mug on a blue background", "negative_prompt": "", "model": model, "width": px,
        "height": px, "steps": steps, "guidance": 1.0, "scheduler": "ddim", "seed": 1,
    }  # fmt: skip
    return ResolvedRequest.model_validate(asked | fields)


def made(engine: Engine, asked: ResolvedRequest) -> None:
    engine.submit("a", asked, {})
    while not engine.idle():
        for _, event in engine.tick():
            if isinstance(event, Failed):
                raise SystemExit(str(event.error))


def measured(work: Callable[[], None], rounds: int) -> tuple[float, float]:
    """(median seconds after a warm-up, MiB at the peak above what is held before)."""
    work()
    memory.trim()
    before = memory.used(torch.device("cpu"))
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5", encoding="ascii")  # the high-water mark begins anew
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken), max(0, peak() - before) / MIB


def peak() -> int:
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii")) if status.is_file() else None
    return int(found[1]) * 1024 if found else memory.used(torch.device("cpu"))


def line(counts: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """a and b of a + b * n by least squares."""
    slope, start = np.polyfit(counts, seconds, 1)
    return float(start), float(slope)


def rows(engine: Engine, model: str, px: int, steps: int, rounds: int, most: int) -> Growth:
    counts = tuple(count for count in ROWS if count <= most)
    found = [
        measured(lambda c=count: made(engine, request(model, px, steps, count=c)), rounds) for count in counts
    ]
    fixed, each = line(counts, [seconds for seconds, _ in found])
    reason = (
        f"{fixed * 1000:.0f} ms of a run are the same for any rows, {each * 1000:.0f} ms come with each: "
        f"beyond {max(1, math.ceil(9 * max(fixed, 0) / each))} rows less than a tenth is left to gain"
    )
    return grown("rows", "rows of one UNet call", "rows", counts, counts, found, reason)


def sizes(engine: Engine, model: str, steps: int, rounds: int, native: int, most: int) -> Growth:
    counts = tuple(px for px in (native // 2, native, native * 2, native * 4, native * 8) if px <= most)
    found = [measured(lambda p=px: made(engine, request(model, p, steps)), rounds) for px in counts]
    power = np.polyfit(np.log(counts), np.log([seconds for seconds, _ in found]), 1)[0]
    reason = (
        f"time follows the side to the power of {power:.1f}: 2 is convolutions, 4 would be attention over "
        "all pixels, below 2 the fixed cost of a call still shows"
    )
    return grown("size", "side of the picture", "px", counts, [1] * len(counts), found, reason)


def models(home: Path, backend: str, rounds: int) -> Growth:
    """What 1 to 5 models in memory cost a picture made from each in turn."""
    names = ["pocket", *(f"other{number}" for number in range(1, 5))]
    for number, name in enumerate(names[1:], start=1):
        copy_changed(POCKET, home / "models" / name, number)
    engine = opened(home, "pocket", backend)
    found, held = [], []
    for count in range(1, len(names) + 1):
        engine.load(names[count - 1])
        there = [bundle.name for bundle in engine._residency.bundles()]
        assert len(there) == count, there

        def each(count: int = count) -> None:
            for name in names[:count]:
                made(engine, request(name, 128, 4))

        found.append((measured(each, rounds)[0], 0.0))
        held.append(engine._residency.bytes / MIB)
    engine.close()
    start, slope = line(range(1, 6), held)
    reason = (
        f"each model holds {slope:.0f} MiB (UNet, VAE; the text encoder is one for all, {start:.0f} MiB), "
        "and a picture takes what it took with one: a switch is a look into a table"
    )
    counts = tuple(range(1, 6))
    return grown(
        "models",
        "models in memory",
        "models",
        counts,
        counts,
        list(zip((s for s, _ in found), held, strict=True)),
        reason,
    )


def loras(home: Path, backend: str, rounds: int) -> Growth:
    """One LoRA is used, the others only lie in the bank."""
    source = load_file(ROOT / "assets" / "loras" / "neon.safetensors")
    names = [f"style{number}" for number in range(max(LORAS))]
    (home / "loras").mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        changed = {key: tensor * (1 + number / 100) for key, tensor in source.items()}
        save_file(changed, home / "loras" / f"{name}.safetensors", metadata={"format": "pt"})
    engine = opened(home, "pocket", backend)
    bundle = engine._residency.bundles()[0]
    found = []
    for count in LORAS:
        stack = [LoraRef(name=name, weight=0.01).model_dump() for name in names[:count]]
        if count:
            made(engine, request("pocket", 128, 1, loras=stack))  # brings them in
        used = stack[:1]
        seconds, _ = measured(
            lambda u=used: made(engine, request("pocket", 128, 4, count=4, loras=u)), rounds
        )
        found.append((seconds, sum(bank.bytes for bank in bundle.banks.values()) / MIB))
    engine.close()
    with_one = [seconds for seconds, _ in found[1:]]
    _, slope = line(LORAS[1:], with_one)
    reason = (
        f"the first costs {found[1][0] / found[0][0] - 1:.0%}, each further one {slope / with_one[0]:.1%}: "
        "only columns in use are multiplied; memory doubles with the bank's size, "
        f"{bundle.banks['unet'].size} columns here"
    )
    return grown("loras", "LoRAs in the bank, one in use", "LoRAs", LORAS, [4] * len(LORAS), found, reason)


def grown(
    name: str, what: str, over: str, counts: Sequence[int], pictures: Sequence[int],
    found: Sequence[tuple[float, float]], reason: str,
) -> Growth:  # fmt: skip
    rates = tuple(round(one / seconds, 4) for one, (seconds, _) in zip(pictures, found, strict=True))
    held = tuple(round(size, 1) for _, size in found)
    for count, rate, size in zip(counts, rates, held, strict=True):
        print(f"{what:32}{count:6} {over:8}{rate:9.3f} pictures/s{size:10.1f} MiB", flush=True)
    print(f"  {reason}", flush=True)
    return Growth(name, what, over, tuple(counts), rates, held, reason)


def all_of(
    only: Sequence[str], model: str, px: int, steps: int, rounds: int, most: int, backend: str
) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="growth") as place:
        home = Path(place)
        if model == "sd15":
            save_random(home / "models" / "sd15")
        found: list[Growth] = []
        if {"rows", "size"} & set(only):
            engine = opened(home, model, backend, rows=max(most, 2))
            if "rows" in only:
                found.append(rows(engine, model, px, steps, rounds, most))
            if "size" in only:
                found.append(sizes(engine, model, steps, rounds, px, 8 * px if model == "pocket" else 2 * px))
            engine.close()
        if "models" in only:
            found.append(models(home / "models-home", backend, rounds))
        if "loras" in only:
            found.append(loras(home / "loras-home", backend, rounds))
    return [asdict(one) for one in found]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="rows,size,models,loras")
    parser.add_argument("--model", choices=("pocket", "sd15"), default="pocket")
    parser.add_argument("--px", type=int, default=128)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, default=32, help="rows")
    parser.add_argument("--backend", default="float32")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found = all_of(
        asked.only.split(","), asked.model, asked.px, asked.steps, asked.rounds, asked.most, asked.backend
    )
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
