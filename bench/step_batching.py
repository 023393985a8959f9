"""Is batching by step faster than one pipeline call after another? Ours and diffusers in turn.

    python bench/step_batching.py [--model pocket] [--pictures 6] [--rounds 5] [--steps 20]

Each round runs A (our engine, all pictures submitted at once) and B (plain diffusers, one after another),
the next round the other way about, so that a busy machine slows both. Printed: median seconds of each, median
of the rounds' ratios A / B and their range. A first round warms up and is left out.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import diffusers
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

from studio.catalog import SCHEDULERS
from studio.engine import Engine
from studio.models import ModelRow, Models
from studio.schema import Done, Failed, ResolvedRequest
from studio.settings import Settings

MIX = (  # scheduler, share of the steps, guidance: what several people at work ask for
    ("pndm", 1.0, 5.0),
    ("euler-ancestral", 1.2, 7.5),
    ("dpmpp-2m-karras", 0.8, 4.0),
    ("ddim", 1.0, 9.0),
    ("unipc", 0.6, 6.0),
    ("euler", 1.0, 3.0),
)


def mixture(row: ModelRow, pictures: int, steps: int) -> list[ResolvedRequest]:
    requests = []
    for place in range(pictures):
        scheduler, share, guidance = MIX[place % len(MIX)]
        requests.append(
            ResolvedRequest(
                prompt=f"a red sneaker on a blue background, number {place}",
                negative_prompt="",
                model=row.name,
                width=row.size,
                height=row.size,
                steps=round(steps * share),
                guidance=guidance,
                scheduler=scheduler,
                seed=place,
            )
        )
    return requests


def ours(engine: Engine, requests: Sequence[ResolvedRequest]) -> None:
    for place, request in enumerate(requests):
        engine.submit(str(place), request, {})
    done = 0
    while done < len(requests):
        for _, event in engine.tick():
            if isinstance(event, Failed):
                raise RuntimeError(event.error)
            done += isinstance(event, Done)


def theirs(pipe: Any, pristine: Any, requests: Sequence[ResolvedRequest]) -> None:
    for request in requests:
        row = SCHEDULERS[request.scheduler]
        pipe.scheduler = getattr(diffusers, row.diffusers_class).from_config(pristine, **row.options)
        pipe(
            request.prompt,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance,
            width=request.width,
            height=request.height,
            generator=torch.Generator("cpu").manual_seed(request.seed),
        )


def plain(row: ModelRow) -> Any:
    sdxl = (row.folder / "text_encoder_2").is_dir()
    options: dict[str, Any] = {} if sdxl else {"safety_checker": None}
    kind: Any = StableDiffusionXLPipeline if sdxl else StableDiffusionPipeline
    pipe = kind.from_pretrained(row.folder, dtype=torch.float32, use_safetensors=True, **options)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def seconds(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def compare(name: str, a: Callable[[], None], b: Callable[[], None], rounds: int) -> None:
    pairs: list[tuple[float, float]] = []
    for place in range(rounds + 1):
        if place % 2:
            late = seconds(b)
            pairs.append((seconds(a), late))
        else:
            pairs.append((seconds(a), seconds(b)))
    pairs = pairs[1:]
    ratios = [ours_ / theirs_ for ours_, theirs_ in pairs]
    middle_a, middle_b = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(
        f"{name:28} ours {middle_a:7.3f} s   diffusers {middle_b:7.3f} s   "
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}, n={rounds})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--pictures", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    settings = Settings(model=options.model, rows=16, device="cpu")
    models = Models(settings)
    row = models.get(options.model)
    engine, pipe = Engine(settings, models), plain(row)
    pristine = pipe.scheduler.config
    engine.load(row.name)
    print(f"{row.name}, {row.size} px, {options.steps} steps, {torch.get_num_threads()} threads, float32")
    for name, count in (("1 picture", 1), (f"{options.pictures} mixed pictures", options.pictures)):
        requests = mixture(row, count, options.steps)
        compare(
            name,
            lambda r=requests: ours(engine, r),
            lambda r=requests: theirs(pipe, pristine, r),
            options.rounds,
        )
    engine.close()


if __name__ == "__main__":
    main()
