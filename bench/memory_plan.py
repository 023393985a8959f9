"""Forecast beside measured peak memory of the worker, one fresh process for each case.

    python -m bench.memory_plan                 pocket and a random SD 1.5 of true size: 8 GB, 4 min
    python -m bench.memory_plan --only pocket   pocket alone, 2 min

A case: model, type of numbers, px, rows of a call, how pictures are drawn. Two steps, then the picture.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from studio.models import Models
from studio.models.forecast import Policy
from studio.schema import Control, Failed, ResolvedRequest
from studio.settings import Settings

STEPS = 2


@dataclass(frozen=True)
class Case:
    model: str
    dtype: str
    px: int
    rows: int
    beside: bool = True
    tile: int = 0
    control: bool = False


def cases(only: str) -> Iterator[Case]:
    if only in ("", "pocket"):
        for dtype in ("float32", "bfloat16"):
            for rows in (1, 2, 4, 8):
                yield Case("pocket", dtype, 128, rows)
        yield Case("pocket", "float32", 512, 2)
        yield Case("pocket", "float32", 512, 8)
        yield Case("pocket", "float32", 512, 2, beside=False)
        yield Case("pocket", "float32", 512, 2, beside=False, tile=32)
        yield Case("pocket", "float32", 512, 2, control=True)
        yield Case("pocket", "bfloat16", 768, 2)
    if only in ("", "sd15"):
        yield Case("sd15", "float32", 128, 1)
        yield Case("sd15", "float32", 256, 2)
        yield Case("sd15", "float32", 512, 2)
        for px in (128, 256, 512):
            yield Case("sd15", "bfloat16", px, 2)
        yield Case("sd15", "bfloat16", 512, 2, beside=False)
        yield Case("sd15", "bfloat16", 512, 2, beside=False, tile=32)


def run(case: Case, home: Path) -> dict[str, Any]:
    """In a process of its own: bytes at the start, at the worst of loading, and at the worst of the run."""
    import io

    import numpy as np
    from PIL import Image

    from studio.engine import Engine, memory

    settings = Settings(home=home, device="cpu", backend=case.dtype, rows=case.rows, model=case.model)
    models = Models(settings)
    engine = Engine(settings, models)
    policy = Policy(case.rows, case.beside, case.tile)
    engine.planner.ladder, process = (policy,), engine.planner.process
    engine.load(case.model)
    loading, resident = peak(), memory.used(engine.device)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (case.px, case.px, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, "PNG")
    request = ResolvedRequest.model_validate(
        {
            "prompt": "a red mug on a table", "negative_prompt": "blurry", "model": case.model,
            "width": case.px, "height": case.px, "steps": STEPS, "scheduler": "ddim", "seed": 7,
            "guidance": 5.0 if case.rows > 1 else 1.0, "count": max(2, case.rows),
            "control": Control(image="p") if case.control else None,
        }
    )  # fmt: skip
    engine.submit("a", request, {"p": stream.getvalue()} if case.control else {})
    while not engine.idle():
        for _, event in engine.tick():
            if isinstance(event, Failed):
                raise SystemExit(str(event.error))
    engine.close()
    shapes = models.shapes(case.model)
    told = shapes.forecast(case.dtype, shapes.run(request), policy, process)
    return {
        "process": process, "loading": loading, "resident": resident, "peak": max(peak(), loading),
        "forecast": told.peak, "weights": told.weights, "call": told.call, "draw": told.draw,
        "running": peak(),
    }  # fmt: skip


def peak() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", choices=("pocket", "sd15"), default="")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--case")
    parser.add_argument("--home", type=Path)
    asked = parser.parse_args()
    if asked.case:
        print(json.dumps(run(Case(**json.loads(asked.case)), asked.home)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as place:
        home = Path(place) / "home"
        if asked.only != "pocket":
            from bench.true_size import write_folder

            write_folder("sd15", home / "models" / "sd15")
        print(f"{'case':58}{'process':>9}{'loading':>9}{'resident':>9}{'peak':>9}{'forecast':>9}  ratio")
        for case in cases(asked.only):
            command = [sys.executable, "-m", "bench.memory_plan", "--home", str(home)]
            said = subprocess.run(
                [*command, "--case", json.dumps(asdict(case))], capture_output=True, text=True, check=False
            )
            if said.returncode:
                raise SystemExit(said.stderr[-2000:])
            found = json.loads(said.stdout.splitlines()[-1])
            rows.append(asdict(case) | found)
            words = (
                f"{case.model} {case.dtype} {case.px} px, {Policy(case.rows, case.beside, case.tile).name}"
            )
            words += ", canny" * case.control
            sizes = "".join(
                f"{found[name] / 2**20:9.0f}"
                for name in ("process", "loading", "resident", "peak", "forecast")
            )
            print(f"{words:58}{sizes}  {found['forecast'] / found['peak']:.3f}", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
