"""All figures of a CPU in one run: `make bench`. Tables of ratios, JSON, charts and a trace in build/bench.

    python bench/cpu.py                # 20 min at most: parts for which the clock has no room are left out
    python bench/cpu.py --only growth,timeline

The pocket model throughout; the true size of SD 1.5: bench/cpu_speed.py --sd15, bench/residency.py.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import charts
import cpu_speed
import growth
import timeline
import torch
from paired import Table

from studio.settings import ROOT

SCRIPTS: dict[str, tuple[str, ...]] = {
    "step_batching": ("step_batching.py", "--rounds", "3"),
    "serving": ("serving.py", "--pictures", "10", "--rounds", "2"),
    "residency": ("residency.py", "--only", "switch,ready", "--model", "pocket"),
}


def script(name: str) -> None:
    file, *options = SCRIPTS[name]
    subprocess.run([sys.executable, str(ROOT / "bench" / file), *options], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="parts, commas between them")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    home = asked.out / "home"
    table, grown = Table(), list[dict[str, Any]]()
    row = cpu_speed.Row("pocket", "pocket", ROOT / "assets" / "models" / "pocket")

    def grow() -> None:
        grown.extend(growth.all_of(("rows", "size", "models", "loras"), "pocket", 128, 4, 2, 32, "float32"))
        (asked.out / "growth.json").write_text(json.dumps(grown, indent=1), encoding="utf-8")

    def trace() -> None:
        events, said = timeline.trace(6, 8, asked.out / "trace-home")
        print(f"{said}; {timeline.save(asked.out, events)} opens in https://ui.perfetto.dev", flush=True)

    parts: dict[str, Callable[[], None]] = {
        "picture": partial(cpu_speed.picture, table, asked.rounds, home),
        "unet": partial(cpu_speed.unet, table, asked.rounds, home, row, (32,)),
        "vae": partial(cpu_speed.vae, table, asked.rounds, home, row, 32),
        "lora": partial(cpu_speed.lora, table, asked.rounds, home),
        "six": partial(cpu_speed.six, table, asked.rounds, home),
        **{name: partial(script, name) for name in SCRIPTS},
        "growth": grow,
        "timeline": trace,
    }
    begun = time.monotonic()
    print(
        f"{torch.get_num_threads()} threads; time / the first line's: median (range), {asked.rounds} rounds"
    )
    for name in asked.only.split(",") if asked.only else parts:
        if time.monotonic() - begun > asked.minutes * 60 * 0.85:
            print(f"{name} is left out, the time is over", flush=True)
            continue
        started = time.monotonic()
        with torch.inference_mode():
            parts[name]()
        print(f"-- {name}: {time.monotonic() - started:.0f} s", flush=True)
        table.save(asked.out / "cpu.json")
        charts.all_of(asked.out, table.rows, grown)
    print(f"{(time.monotonic() - begun) / 60:.1f} min; tables and charts are in {asked.out}")


if __name__ == "__main__":
    main()
