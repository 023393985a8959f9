"""Pictures for several people at once: our engine, one pipeline behind a lock, and batches of whole requests.

    python -m bench.serving                              3 rounds of 16 pictures, 4 min on an idle machine
    python -m bench.serving --pictures 6 --rounds 1      a look

Requests come as a Poisson process, the same to all three: 3 schedulers, 10 to 30 steps, 4 stacks of LoRAs,
half with canny. `lock`: diffusers, one request after the other, LoRAs by set_adapters. `batch`: diffusers,
waiting requests of equal scheduler, steps, stack and control in one call. All in float32. The three in turn,
the next round the other way about. Printed for each round: pictures/s, and seconds from arrival to picture.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, StableDiffusionPipeline
from PIL import Image

from studio.catalog import SCHEDULERS
from studio.edges import canny
from studio.engine import Engine
from studio.models import Models
from studio.schema import Control, Failed, LoraRef, Rendered, ResolvedRequest
from studio.settings import Settings

STACKS = ((), (("guochao", 0.8),), (("nordic", 0.7),), (("neon", 0.6), ("nordic", 0.4)))
KINDS = ("ddim", "dpmpp-2m", "euler-ancestral")
SHORT = 12  # steps up to which a job counts as short
TOGETHER = 4  # requests of one call: 8 rows, as many as ours
Times = list[float]


@dataclass(frozen=True)
class Arrival:
    at: float
    request: ResolvedRequest


def arrivals(pictures: int, rate: float, seed: int) -> list[Arrival]:
    random = np.random.default_rng(seed)
    times = np.cumsum(random.exponential(1 / rate, pictures))
    found = []
    for place, at in enumerate(times):
        steps = int(random.choice((10, 20, 30)))
        stack = STACKS[int(random.integers(len(STACKS)))]
        request = ResolvedRequest.model_validate(
            {
                "prompt": f"a red sneaker on a blue background, number {place}", "negative_prompt": "blurry",
                "model": "pocket", "width": 128, "height": 128, "steps": steps, "guidance": 3.0,
                "scheduler": str(random.choice(KINDS)), "seed": place,
                "loras": [LoraRef(name=name, weight=weight) for name, weight in stack],
                "control": Control(image="p", scale=0.8) if random.random() < 0.5 else None,
            }
        )  # fmt: skip
        found.append(Arrival(float(at), request))
    return found


def ours(engine: Engine, picture: bytes, coming: Sequence[Arrival]) -> Times:
    begun, next_, taken = time.perf_counter(), 0, [0.0] * len(coming)
    left = len(coming)
    while left:
        now = time.perf_counter() - begun
        while next_ < len(coming) and coming[next_].at <= now:
            engine.submit(str(next_), coming[next_].request, {"p": picture})
            next_ += 1
        if engine.idle():
            time.sleep(max(0.0, coming[next_].at - now))
            continue
        for name, event in engine.tick():
            if isinstance(event, Failed):
                raise SystemExit(str(event.error))
            if isinstance(event, Rendered):
                taken[int(name)] = time.perf_counter() - begun - coming[int(name)].at
                left -= 1
    return taken


class Pipelines:
    """Diffusers with the same weights, with and without the ControlNet."""

    def __init__(self, models: Models, edges: Image.Image) -> None:
        folder = models.get("pocket").folder
        options: dict[str, Any] = {"dtype": torch.float32, "use_safetensors": True, "safety_checker": None}
        self.plain: Any = StableDiffusionPipeline.from_pretrained(folder, **options)
        for name in {name for stack in STACKS for name, _ in stack}:
            file = models.lora(name).file
            self.plain.load_lora_weights(file.parent, weight_name=file.name, adapter_name=name)
        network = ControlNetModel.from_pretrained(folder / "controlnet-canny", dtype=torch.float32)
        self.steered: Any = StableDiffusionControlNetPipeline(**self.plain.components, controlnet=network)
        self.edges, self.pristine = edges, self.plain.scheduler.config
        for pipe in (self.plain, self.steered):
            pipe.set_progress_bar_config(disable=True)

    def call(self, requests: Sequence[ResolvedRequest]) -> None:
        """Requests of equal scheduler, steps, stack and control."""
        first = requests[0]
        pipe = self.plain if first.control is None else self.steered
        if first.loras:
            pipe.enable_lora()
            pipe.set_adapters([lora.name for lora in first.loras], [lora.weight for lora in first.loras])
        else:
            pipe.disable_lora()
        row = SCHEDULERS[first.scheduler]
        pipe.scheduler = getattr(diffusers, row.diffusers_class).from_config(self.pristine, **row.options)
        extra: dict[str, Any] = {}
        if first.control is not None:
            extra = {"image": [self.edges] * len(requests), "controlnet_conditioning_scale": 0.8}
        pipe(
            [request.prompt for request in requests],
            negative_prompt=[request.negative_prompt for request in requests],
            num_inference_steps=first.steps, guidance_scale=first.guidance, width=first.width,
            height=first.height, generator=[torch.Generator().manual_seed(one.seed) for one in requests],
            **extra,
        )  # fmt: skip


def theirs(pipelines: Pipelines, together: int, coming: Sequence[Arrival]) -> Times:
    """First come, first served; up to `together` that are alike in one call."""
    begun, waiting = time.perf_counter(), list(range(len(coming)))
    taken = [0.0] * len(coming)
    while waiting:
        now = time.perf_counter() - begun
        first = waiting[0]
        if coming[first].at > now:
            time.sleep(coming[first].at - now)
            continue
        alike = [one for one in waiting if coming[one].at <= now and key(coming[one]) == key(coming[first])]
        chosen = alike[:together]
        pipelines.call([coming[one].request for one in chosen])
        for one in chosen:
            taken[one] = time.perf_counter() - begun - coming[one].at
            waiting.remove(one)
    return taken


def key(arrival: Arrival) -> tuple[Any, ...]:
    request = arrival.request
    return request.scheduler, request.steps, request.loras, request.control


def told(taken: Times, coming: Sequence[Arrival]) -> dict[str, float]:
    last = max(arrival.at + time for arrival, time in zip(coming, taken, strict=True))
    short = [one for one, arrival in zip(taken, coming, strict=True) if arrival.request.steps <= SHORT]
    return {
        "pictures/s": len(taken) / last, "middle": statistics.median(taken),
        "p95": float(np.percentile(taken, 95)),
        "short p95": float(np.percentile(short, 95)) if short else float("nan"),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", type=float, default=1.2, help="arrivals for each picture `lock` can make")
    asked = parser.parse_args()
    photo = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(photo).resize((128, 128), Image.Resampling.NEAREST)
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    with tempfile.TemporaryDirectory() as place:
        settings = Settings(home=Path(place), device="cpu", backend="float32", rows=2 * TOGETHER)
        models = Models(settings)
        engine = Engine(settings, models)
        pipelines = Pipelines(models, Image.fromarray(canny(np.asarray(picture), 100, 200)))
        servers: dict[str, Callable[[Sequence[Arrival]], Times]] = {
            "ours": lambda coming: ours(engine, stream.getvalue(), coming),
            "lock": lambda coming: theirs(pipelines, 1, coming),
            "batch": lambda coming: theirs(pipelines, TOGETHER, coming),
        }
        warm = [Arrival(0.0, arrival.request) for arrival in arrivals(3, 1.0, 99)]
        servers["ours"](warm), servers["batch"](warm)
        begun = time.perf_counter()
        servers["lock"](warm)
        rate = asked.load * len(warm) / (time.perf_counter() - begun)
        print(f"{torch.get_num_threads()} threads, {rate:.2f} requests a second, {asked.pictures} a round")
        ratios: dict[str, list[float]] = {}
        for turn in range(asked.rounds):
            coming = arrivals(asked.pictures, rate, turn)
            order = list(servers) if turn % 2 == 0 else list(servers)[::-1]
            found = {name: told(servers[name](coming), coming) for name in order}
            for name, figures in sorted(found.items()):
                print(f"round {turn} {name:6}", *(f"{what} {size:6.2f}" for what, size in figures.items()))
            for other in ("lock", "batch"):
                for what in ("pictures/s", "p95", "short p95"):
                    ratios.setdefault(f"ours / {other}: {what}", []).append(
                        found["ours"][what] / found[other][what]
                    )
        for what, all_ in ratios.items():
            print(f"{what:28} {statistics.median(all_):.2f} ({min(all_):.2f} to {max(all_):.2f})")
        engine.close()


if __name__ == "__main__":
    main()
