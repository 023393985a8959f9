"""What the backends bring on this CPU, against plain diffusers in float32 in the same run.

    python bench/cpu_speed.py [--only picture,unet,vae,lora,six] [--rounds 5] [--home DIR] [--json FILE]
    python bench/cpu_speed.py --only unet,vae --sd15    # true size, random weights: 6 GB disk, 12 GB memory

picture  the pocket model's 20-step picture, the whole engine: prompt to PNG
unet     a guided UNet step through a backend's full graph: plain, with a LoRA stack, with canny
vae      decoding one picture
lora     what a LoRA weight change and a switch cost a step, beside diffusers' set_adapters
six      six schedulers in one batch against six rows of one
Graphs and models are kept in --home, so a second run does not convert again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from models15 import save_random
from paired import Table
from step_batching import ours, plain, theirs

from studio.engine import Engine, weights
from studio.engine.backends.choice import Choice
from studio.engine.backends.networks import Call, Networks
from studio.engine.backends.workshop import Workshop
from studio.engine.lora import Adapter
from studio.engine.lora_files import read_adapter
from studio.models import Models
from studio.schema import ResolvedRequest
from studio.settings import ROOT, Settings

BACKENDS = (
    "float32", "bfloat16", *(["openvino"] if find_spec("openvino") else []),
    *(["openvino-int8"] if find_spec("openvino") and find_spec("nncf") else []),
)  # fmt: skip
WAIT = 3600  # seconds for a conversion


@dataclass(frozen=True)
class Row:
    name: str
    family: str
    folder: Path


def request(**fields: Any) -> ResolvedRequest:
    asked: dict[str, Any] = {
        "prompt": "a red sneaker on a blue background, glossy", "negative_prompt": "", "model": "pocket",
        "width": 128, "height": 128, "steps": 20, "guidance": 3.0, "scheduler": "ddim", "seed": 1,
    }  # fmt: skip
    return ResolvedRequest.model_validate(asked | fields)


def engine(backend: str, home: Path) -> Engine:
    """With its graphs ready."""
    settings = Settings(home=home, backend=backend, rows=16, device="cpu")
    made = Engine(settings, Models(settings))
    made.load("pocket")
    wait(backend, lambda: made.status().backends["pocket"])
    return made


def wait(backend: str, now: Callable[[], str]) -> str:
    """What runs once graphs are made. An 8-bit UNet whose pictures are too far off stays in bfloat16."""
    begun = time.monotonic()
    while (name := now()) != backend and not name.startswith("openvino") and time.monotonic() - begun < WAIT:
        time.sleep(0.5)
    print(f"{backend} ready after {time.monotonic() - begun:.1f} s, as {name}", flush=True)
    return name


def networks(row: Row, backend: str, home: Path) -> tuple[weights.ModelBundle, Networks]:
    dtype = torch.float32 if backend == "float32" else torch.bfloat16
    bundle = weights.load(row, torch.device("cpu"), dtype)
    shop = Workshop(Settings(home=home), Choice(backend, forced=True))
    shop.take(row, bundle)
    wait(backend, lambda: shop.networks(bundle).name)
    return bundle, shop.networks(bundle)


def picture(table: Table, rounds: int, home: Path) -> None:
    pipe = plain(Models(Settings(home=home)).get("pocket"))
    pristine = pipe.scheduler.config
    engines = {backend: engine(backend, home) for backend in BACKENDS}
    one = [request()]
    variants: dict[str, Callable[[], object]] = {"diffusers float32": lambda: theirs(pipe, pristine, one)}
    variants |= {f"ours {name}": partial(ours, made, one) for name, made in engines.items()}
    table.add("pocket picture, 20 steps", variants, rounds)
    for made in engines.values():
        made.close()


def six(table: Table, rounds: int, home: Path) -> None:
    names = ("ddim", "pndm", "euler", "euler-ancestral", "dpmpp-2m-karras", "unipc")
    made = engine("float32", home)
    alike = [request(seed=seed) for seed in range(6)]
    mixed = [request(seed=seed, scheduler=name) for seed, name in enumerate(names)]
    table.add(
        "six pictures in one batch",
        {"one scheduler": partial(ours, made, alike), "six schedulers": partial(ours, made, mixed)},
        rounds,
    )
    made.close()


def call_of(
    bundle: weights.ModelBundle, side: int, loras: tuple[Mapping[str, float], ...] = ({}, {})
) -> Call:
    config = bundle.unet.config
    noise = torch.randn(2, config.in_channels, side, side, generator=torch.Generator().manual_seed(1))
    text = torch.randn(2, 77, config.cross_attention_dim, generator=torch.Generator().manual_seed(2))
    return Call(
        noise.to(bundle.dtype), torch.tensor([500.0, 500.0]), text.to(bundle.dtype), None, None, loras
    )


def unet(table: Table, rounds: int, home: Path, row: Row, sides: tuple[int, ...]) -> None:
    made = {backend: networks(row, backend, home) for backend in BACKENDS}
    exact = made["float32"][0].unet
    for side in sides:
        calls = {name: call_of(bundle, side) for name, (bundle, _) in made.items()}
        truth = made["float32"][1].predict(calls["float32"])
        for name, (_, nets) in made.items():
            off = float((nets.predict(calls[name]) - truth).norm() / truth.norm())
            print(f"{row.name} {side * factor(made)} px {name}: relative error {off:.2e}", flush=True)
        given = calls["float32"]
        variants: dict[str, Callable[[], object]] = {
            "diffusers float32": lambda g=given: exact(g.rows, g.moments, encoder_hidden_states=g.text)
        }
        variants |= {f"ours {name}": partial(nets.predict, calls[name]) for name, (_, nets) in made.items()}
        table.add(f"{row.name} UNet step, {side * factor(made)} px", variants, rounds)


def factor(made: Mapping[str, tuple[weights.ModelBundle, Networks]]) -> int:
    return made["float32"][0].factor


def vae(table: Table, rounds: int, home: Path, row: Row, side: int) -> None:
    made = {backend: networks(row, backend, home) for backend in BACKENDS}
    latents = torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(1))
    exact = made["float32"][0].vae
    variants: dict[str, Callable[[], object]] = {"diffusers float32": lambda: exact.decode(latents)}
    variants |= {f"ours {name}": partial(nets.decode, latents) for name, (_, nets) in made.items()}
    table.add(f"{row.name} VAE decode, {side * factor(made)} px", variants, rounds)


def lora(table: Table, rounds: int, home: Path) -> None:
    """A change is the time to make a row of numbers; what the stack costs over a plain step is below it."""
    row = Row("pocket", "pocket", ROOT / "assets" / "models" / "pocket")
    pipe = plain(Models(Settings(home=home)).get("pocket"))
    for name in ("neon", "nordic"):
        file = ROOT / "assets" / "loras" / f"{name}.safetensors"
        pipe.load_lora_weights(file.parent, weight_name=file.name, adapter_name=name)
    made = {backend: networks(row, backend, home) for backend in BACKENDS}
    for bundle, _ in made.values():
        for name in ("neon", "nordic"):
            file = ROOT / "assets" / "loras" / f"{name}.safetensors"
            adapter: Adapter = read_adapter(file, bundle.unet, bundle.text_encoders, bundle.family)
            bundle.banks["unet"].add(name, adapter)
    weights_ = iter(range(10**9))

    def change(bank: Any) -> None:
        weight = next(weights_) % 7 / 10 + 0.1
        bank.scales(({"neon": weight, "nordic": 0.3}, {"neon": weight, "nordic": 0.3}))

    def set_adapters() -> None:
        pipe.set_adapters(["neon", "nordic"], [next(weights_) % 7 / 10 + 0.1, 0.3])

    banks = {name: bundle.banks["unet"] for name, (bundle, _) in made.items()}
    table.add(
        "LoRA weight change",
        {"diffusers set_adapters": set_adapters, "ours": partial(change, banks["float32"])},
        rounds * 4,
    )
    stack = ({"neon": 0.8, "nordic": 0.3}, {"neon": 0.8, "nordic": 0.3})
    given = call_of(made["float32"][0], 32)
    variants: dict[str, Callable[[], object]] = {
        "diffusers float32, 2 LoRAs": lambda: pipe.unet(
            given.rows, given.moments, encoder_hidden_states=given.text
        )
    }
    for name, (bundle, nets) in made.items():
        variants[f"ours {name}, no LoRA"] = partial(nets.predict, call_of(bundle, 32))
        variants[f"ours {name}, 2 LoRAs"] = partial(nets.predict, call_of(bundle, 32, stack))
    table.add("pocket UNet step with LoRAs", variants, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="picture,unet,vae,lora,six")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--home", type=Path, default=Path.home() / ".cache" / "brand-studio-bench")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sd15", action="store_true", help="true SD 1.5 sizes instead of the pocket model")
    options = parser.parse_args()
    row, sides, side = Row("pocket", "pocket", ROOT / "assets" / "models" / "pocket"), (32,), 32
    if options.sd15:
        row, sides, side = Row("sd15", "sd15", save_random(options.home / "sd15-random")), (32, 64), 64
    table, home, rounds = Table(), options.home, options.rounds
    print(
        f"{torch.get_num_threads()} threads; time / the first line's: median (range), {rounds} rounds"
    )
    parts: dict[str, Callable[[], None]] = {
        "picture": partial(picture, table, rounds, home),
        "unet": partial(unet, table, rounds, home, row, sides),
        "vae": partial(vae, table, rounds, home, row, side),
        "lora": partial(lora, table, rounds, home),
        "six": partial(six, table, rounds, home),
    }
    with torch.inference_mode():
        for name in options.only.split(","):
            parts[name]()
    if options.json:
        table.save(options.json)


if __name__ == "__main__":
    main()
