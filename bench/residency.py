"""Models in memory: how long a switch takes, how long from disk to ready, and what 200 switches leave behind.

    python bench/residency.py                   # pocket and SD 1.5's true size: 5 GB disk, 8 GB memory, 8 min
    python bench/residency.py --only switch,ready --model pocket     # 1 min

switch  two models that are both in memory, in turn: what leasing the other one costs. Goal: 5 ms.
ready   a float16 model in bfloat16 from disk, a fresh process each time, files in the page cache: cast from
        the original, mapped from the copies beside it, and plainly read (the copies' and the text encoder's
        bytes). Goal: the copy at 1.3 times of plain reading. `call`: with the first UNet call of 256 px.
leaks   200 switches between three models of which one fits: bench/soak_leaks.py --only models. Goal: 5 %.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from models15 import save_random

from studio.models import Models
from studio.settings import ROOT, Settings

SWITCHES = 400
WAYS = ("read", "cast", "copy")
MIB = 2**20


def switch(home: Path) -> None:
    from soak_leaks import copy_changed

    from studio.engine import Engine

    copy_changed(ROOT / "assets" / "models" / "pocket", home / "models" / "second", 1)
    settings = Settings(home=home, device="cpu", backend="float32")
    engine = Engine(settings, Models(settings))
    names = ("pocket", "second")
    for name in names:
        engine.load(name)
    taken = []
    for number in range(SWITCHES):
        begun = time.perf_counter()
        engine.load(names[number % 2])
        taken.append((time.perf_counter() - begun) * 1000)
    engine.close()
    assert len(engine.status().resident) == 2
    slow = statistics.quantiles(taken, n=100)[98]
    print(
        f"resident switch: median {statistics.median(taken):.2f} ms, p99 {slow:.2f} ms (goal 5 ms)",
        flush=True,
    )


def ready(home: Path, model: str, rounds: int) -> None:
    """A first process writes the copies; then the ways in turn, the next round the other way about."""
    print(f"{model}: {json.dumps(asked(home, model, 'make'))}", flush=True)
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for turn in range(rounds + 1):
        for way in WAYS if turn % 2 == 0 else reversed(WAYS):
            found[way].append(asked(home, model, way))
    kept = {way: rows[1:] for way, rows in found.items()}
    for way, rows in kept.items():
        middle = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
        ratios = [row["ready"] / base["ready"] for row, base in zip(rows, kept["read"], strict=True)]
        told = ", ".join(f"{name} {size:.2f}" for name, size in middle.items())
        print(
            f"{model:8}{way:6} {told}; ready / plain reading {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}, n={rounds})",
            flush=True,
        )


def asked(home: Path, model: str, way: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--home", str(home), "--model", model, "--way", way]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    if said.returncode:
        raise SystemExit(said.stderr[-2000:])
    return dict(json.loads(said.stdout.splitlines()[-1]))


def one(home: Path, model: str, way: str) -> dict[str, float]:
    """In a process of its own: seconds, MiB."""
    import torch
    from cpu_speed import Row, call_of

    from studio.engine import weights
    from studio.engine.backends import Eager
    from studio.engine.copying import Copier

    models = Models(Settings(home=home))
    row = Row(model, "sd15", models.get(model).folder)
    texts = row.folder.glob("text_encoder*/*.safetensors")  # float32 in memory, and never copied
    files = [*(home / "cache" / "weights").glob("*.safetensors"), *texts]
    if way == "read":
        begun = time.perf_counter()
        held = [file.read_bytes() for file in files]
        return {"ready": time.perf_counter() - begun, "MiB": sum(map(len, held)) / MIB}
    copier = None if way == "cast" else Copier(models.copies, models.networks)
    if way == "make" and copier is not None:
        copier.start()
    begun = time.perf_counter()
    bundle = weights.load(row, torch.device("cpu"), torch.bfloat16, copier=copier)
    there = time.perf_counter() - begun
    if way == "make" and copier is not None:
        copier.finish()
        return {"copies written after": time.perf_counter() - begun}
    assert bool(bundle.mapped) == (way == "copy"), "the copies are not there"
    with torch.inference_mode():
        Eager(bundle).predict(call_of(bundle, 32))
    return {
        "ready": there, "call": time.perf_counter() - begun,
        "peak": psutil.Process().memory_info().rss / MIB,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="switch,ready,leaks")
    parser.add_argument("--model", choices=("pocket", "sd15"), help="of `ready`; left out: both")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--way", choices=("make", *WAYS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(one(options.home, options.model, options.way)))
        return
    parts = options.only.split(",")
    with tempfile.TemporaryDirectory(prefix="residency") as place:
        if "switch" in parts:
            switch(Path(place) / "switch")
        for model in (options.model,) if options.model else ("pocket", "sd15"):
            if "ready" in parts:
                home = Path(place) / model
                if model == "sd15":
                    save_random(home / "models" / "sd15")
                ready(home, model, options.rounds)
    if "leaks" in parts:
        subprocess.run(
            [sys.executable, str(ROOT / "bench" / "soak_leaks.py"), "--only", "models"], check=True
        )


if __name__ == "__main__":
    main()
