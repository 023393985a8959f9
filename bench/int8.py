"""8-bit weights beside bfloat16 on the pocket model: bytes, how far pictures move, seconds.

python -m bench.int8                16 prompts of 20 steps with each, 1 min on an idle machine
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from studio.engine import Engine
from studio.models import Models
from studio.schema import Failed, LoraRef, Rendered, ResolvedRequest
from studio.settings import Settings

THINGS = ("sneaker", "mug", "teapot", "lamp", "chair", "bottle", "backpack", "clock")
LOOKS = (("red", "blue", "glossy"), ("green", "cream", "matte"))


def requests(steps: int) -> list[ResolvedRequest]:
    """Two looks of each thing; a scheduler of three and every fourth with a LoRA."""
    pairs = [(thing, look) for look in LOOKS for thing in THINGS]
    return [
        ResolvedRequest.model_validate(
            {
                "prompt": f"a {colour} {thing} on a {ground} background, {finish}", "negative_prompt": "",
                "model": "pocket", "width": 128, "height": 128, "steps": steps, "guidance": 3.0,
                "scheduler": ("ddim", "dpmpp-2m", "euler")[place % 3], "seed": place,
                "loras": (LoraRef(name="guochao", weight=0.8),) if place % 4 == 3 else (),
            }
        )
        for place, (thing, (colour, ground, finish)) in enumerate(pairs)
    ]  # fmt: skip


def pictures(backend: str, home: Path, steps: int, **fields: object) -> tuple[list[np.ndarray], int, float]:
    """Pictures in the order of the requests, bytes of the weights, seconds. `fields`: of all requests."""
    settings = Settings(home=home, device="cpu", backend=backend)
    engine = Engine(settings, Models(settings))
    engine.load("pocket")
    held = dict(engine.status().resident)["pocket"]
    begun = time.perf_counter()
    for place, request in enumerate(requests(steps)):
        engine.submit(str(place), request.model_copy(update=fields), {})
    found = {}
    while not engine.idle():
        for name, event in engine.tick():
            if isinstance(event, Failed):
                raise SystemExit(str(event.error))
            if isinstance(event, Rendered):
                found[int(name)] = np.asarray(Image.open(io.BytesIO(event.data))).astype(float)
    took = time.perf_counter() - begun
    engine.close()
    return [found[place] for place in sorted(found)], held, took


def apart(some: list[np.ndarray], others: list[np.ndarray]) -> str:
    """How far pictures are from each other, as a sentence."""
    pairs = zip(some, others, strict=True)
    psnr = sorted(20 * np.log10(255 / max(1e-9, np.sqrt(np.square(a - b).mean()))) for a, b in pairs)
    return f"PSNR of {len(psnr)} pictures: least {psnr[0]:.1f}, median {statistics.median(psnr):.1f} dB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    steps = parser.parse_args().steps
    with tempfile.TemporaryDirectory() as place:
        plain, plain_bytes, plain_seconds = pictures("bfloat16", Path(place), steps)
        eight, eight_bytes, eight_seconds = pictures("int8", Path(place), steps)
    print(
        f"bytes {eight_bytes / 2**20:.1f} of {plain_bytes / 2**20:.1f} MiB: {eight_bytes / plain_bytes:.3f}"
    )
    print(apart(plain, eight))
    print(f"seconds {eight_seconds:.1f} of {plain_seconds:.1f}: {eight_seconds / plain_seconds:.2f}")


if __name__ == "__main__":
    main()
