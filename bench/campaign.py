"""A campaign of 100 rows of the pocket model against the bare engine: `python bench/campaign.py`.

Both ways run in a process of their own with the same weights, requests and threads. Bare: every request is
given to the executor at once, nothing is stored. Campaign: sheet, queue, library, SQLite with fsync.
Bar: >= 0.9x.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

BAR = 0.9
PRODUCTS = ("sneaker", "mug", "lamp", "teapot", "chair", "cap", "watch", "plant", "dress", "bottle")
COLOURS = ("red", "green", "blue", "yellow", "white", "purple", "teal", "orange", "pink", "navy")


def sheet(rows: int, steps: int) -> bytes:
    lines = [
        f"SKU-{row},{PRODUCTS[row % 10]},{COLOURS[row // 10 % 10]},grey,{row},{steps}" for row in range(rows)
    ]
    return "\n".join(["sku,product,colour,background,seed,steps", *lines]).encode()


def campaign(rows: int, steps: int) -> float:
    """Pictures a second, from the first row's start to the last row's end."""
    from studio.brand.sheet import read_sheet
    from studio.campaigns import Options
    from studio.settings import Settings
    from studio.studio import Studio

    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), executor="inline")
        with closing(Studio.open(settings)) as studio:
            warm(studio)
            studio.campaigns.start()
            begun = time.perf_counter()
            id = studio.campaigns.create(read_sheet(sheet(rows, steps)), Options(), "bench").id
            while studio.campaigns.get(id).state == "running":
                time.sleep(0.1)
            took = time.perf_counter() - begun
            assert dict(studio.campaigns.get(id).counts) == {"done": rows}
    return rows / took


def bare(rows: int, steps: int) -> float:
    import queue
    import threading

    from studio.brand.sheet import Defaults, make_plan, read_sheet
    from studio.settings import Settings
    from studio.studio import Studio

    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), executor="inline")
        with closing(Studio.open(settings)) as studio:
            plan = make_plan(read_sheet(sheet(rows, steps)), Defaults(), studio.resolve)
            warm(studio)
            waiting: queue.Queue[object] = queue.Queue()
            for shot in plan.shots:
                waiting.put(shot.resolved)

            def work() -> None:
                while True:
                    try:
                        request = waiting.get_nowait()
                    except queue.Empty:
                        return
                    for _ in studio.executor.run(request, {}):  # type: ignore[arg-type]
                        pass

            threads = [threading.Thread(target=work) for _ in range(settings.rows)]
            begun = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return rows / (time.perf_counter() - begun)


def warm(studio: object) -> None:
    """Weights are read and kernels chosen before the clock starts."""
    from studio.schema import GenerationRequest

    studio.start()  # type: ignore[attr-defined]
    job = studio.submit(GenerationRequest(prompt="a mug", steps=2))  # type: ignore[attr-defined]
    studio.wait(job.id, 600)  # type: ignore[attr-defined]


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--rows", type=int, default=100)
    options.add_argument("--steps", type=int, default=20)
    options.add_argument("--only", choices=("bare", "campaign"))
    wanted = options.parse_args()
    if wanted.only:
        print(f"{(bare if wanted.only == 'bare' else campaign)(wanted.rows, wanted.steps):.4f}")
        return
    found = {}
    for name in ("bare", "campaign"):
        command = [
            sys.executable,
            __file__,
            "--only",
            name,
            "--rows",
            str(wanted.rows),
            "--steps",
            str(wanted.steps),
        ]
        said = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
        found[name] = float(said.stdout.split()[-1])
        print(f"{name:9} {found[name]:.3f} pictures/s")
    share = found["campaign"] / found["bare"]
    print(f"{wanted.rows} rows, {wanted.steps} steps: campaign / bare engine {share:.3f} (bar {BAR})")
    raise SystemExit(0 if share >= BAR else 1)


if __name__ == "__main__":
    main()
