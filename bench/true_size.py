"""Random weights of the true layout and size, as a folder and as one file: both load, run, and agree.

    python -m bench.true_size sd15 sd21 sdxl --px 256

For each family: a diffusers folder in float16 and the same weights in one .safetensors file are written,
both are added to a studio of their own, and each is loaded and run for two steps in a fresh process. Printed:
seconds to add, seconds from disk to ready beside plainly reading the bytes, seconds of the picture, peak
memory beside the forecast of the System tab, and whether the two pictures are the same bytes. SDXL wants
28 GB of disk and 16 GB of memory.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from bench.one_file import write_one_file
from studio.models import Models
from studio.models.vocabulary import END, write_tokenizer
from studio.settings import Settings

CROSS, PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"
SD: dict[str, Any] = {
    "block_out_channels": [320, 640, 1280, 1280], "down_block_types": [CROSS, CROSS, CROSS, PLAIN],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "layers_per_block": 2,
}  # fmt: skip
UNETS: dict[str, dict[str, Any]] = {
    "sd15": {**SD, "sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
    "sd21": {
        **SD, "sample_size": 96, "cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20],
        "use_linear_projection": True,
    },
    "sdxl": {
        "block_out_channels": [320, 640, 1280], "down_block_types": [PLAIN, CROSS, CROSS],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], "layers_per_block": 2,
        "sample_size": 128, "cross_attention_dim": 2048, "attention_head_dim": [5, 10, 20],
        "transformer_layers_per_block": [1, 2, 10], "use_linear_projection": True,
        "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}  # fmt: skip
CLIP_L = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "projection_dim": 768, "hidden_act": "quick_gelu",
}  # fmt: skip
CLIP_H = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16,
    "projection_dim": 1024, "hidden_act": "gelu",
}  # fmt: skip
CLIP_G = {
    "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20,
    "projection_dim": 1280, "hidden_act": "gelu",
}  # fmt: skip
TEXTS: dict[str, dict[str, tuple[Any, dict[str, Any]]]] = {
    "sd15": {"text_encoder": (CLIPTextModel, CLIP_L)},
    "sd21": {"text_encoder": (CLIPTextModel, CLIP_H)},
    "sdxl": {
        "text_encoder": (CLIPTextModel, CLIP_L),
        "text_encoder_2": (CLIPTextModelWithProjection, CLIP_G),
    },
}
SCHEDULE = {
    "_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "steps_offset": 1, "clip_sample": False, "set_alpha_to_one": False,
}  # fmt: skip
STEPS = 2


def write_folder(family: str, folder: Path) -> Path:
    folder.mkdir(parents=True)
    with init_empty_weights():
        networks: dict[str, Any] = {"unet": UNet2DConditionModel(**UNETS[family])}
        networks["vae"] = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, latent_channels=4, sample_size=512,
            scaling_factor=0.13025 if family == "sdxl" else 0.18215,
        )  # fmt: skip
        for name, (kind, options) in TEXTS[family].items():
            config = CLIPTextConfig(**options, vocab_size=49408, bos_token_id=49406, eos_token_id=49407)
            networks[name] = kind(config)
    noise = torch.randn(2**24, generator=torch.Generator().manual_seed(0)).half()
    for name, network in networks.items():
        text = name.startswith("text")
        network.config.save_pretrained(folder / name) if text else network.save_config(folder / name)
        file = "model.safetensors" if text else "diffusion_pytorch_model.safetensors"
        state = {key: weight(key, tensor, noise) for key, tensor in network.state_dict().items()}
        save_file(state, folder / name / file)
    write_tokenizer(folder / "tokenizer", padding="!" if family == "sd21" else END)
    if family == "sdxl":
        write_tokenizer(folder / "tokenizer_2", padding="!")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULE))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    return folder


def weight(key: str, empty: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Small noise; norms as they begin, so that nothing overflows."""
    if empty.ndim == 1:
        return torch.full(empty.shape, float("norm" in key and key.endswith("weight")), dtype=torch.float16)
    begin = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "little") % (2**23)
    cycle = noise[begin:]
    rows = cycle.repeat(-(-empty.numel() // len(cycle)))[: empty.numel()]
    return (rows * (0.5 / max(1, empty[0].numel()) ** 0.5)).view(empty.shape)


def run_one(home: Path, name: str, px: int) -> dict[str, Any]:
    """In this process: read, two steps, picture."""
    from studio.engine import Engine
    from studio.schema import Failed, Rendered, ResolvedRequest

    settings = Settings(home=home, device="cpu", rows=2)
    models = Models(settings)
    files = list(models.get(name).folder.rglob("*.safetensors"))
    began = time.perf_counter()
    for file in files:  # from the page cache at the second run: the floor that loading is held against
        with file.open("rb") as stream:
            while stream.read(2**24):
                pass
    plain = time.perf_counter() - began
    engine = Engine(settings, models)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    engine.load(name)
    ready = time.perf_counter() - began
    request = ResolvedRequest.model_validate(
        {
            "prompt": "a red mug on a table", "negative_prompt": "blurry", "model": name,
            "width": px, "height": px, "steps": STEPS, "guidance": 5.0, "scheduler": "ddim", "seed": 7,
        }
    )  # fmt: skip
    began = time.perf_counter()
    engine.submit("a", request, {})
    digest = ""
    while not engine.idle():
        for _, event in engine.tick():
            if isinstance(event, Rendered):
                digest = hashlib.sha256(event.data).hexdigest()
            if isinstance(event, Failed):
                raise SystemExit(str(event.error))
    took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    engine.close()
    return {
        "read_s": round(plain, 2), "ready_s": round(ready, 2), "picture_s": round(took, 2),
        "peak_gib": round(peak / 2**30, 2), "process_gib": round(before * 1024 / 2**30, 2),
        "dtype": str(engine.dtype).removeprefix("torch."), "picture": digest,
    }  # fmt: skip


def measure(family: str, place: Path, px: int) -> dict[str, Any]:
    home, times = place / "home", {}
    folder = write_folder(family, place / family)
    file = write_one_file(folder, place / f"{family}-one.safetensors")
    models = Models(Settings(home=home))
    for source in (folder, file):
        began = time.perf_counter()
        row = models.add_model(source)
        times[row.name] = round(time.perf_counter() - began, 2)
        if row.family != family:
            raise SystemExit(f"{row.name} was taken for {row.family}")
    runs = {}
    for name in times:
        command = [sys.executable, "-m", "bench.true_size", "--load", str(home), name, "--px", str(px)]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        if said.returncode:
            raise SystemExit(said.stderr)
        runs[name] = {"add_s": times[name], **json.loads(said.stdout.splitlines()[-1])}
    pictures = {run["picture"] for run in runs.values()}
    needs = models.needs(family, next(iter(runs.values()))["dtype"])
    return {
        "gb": round(file.stat().st_size / 1e9, 2), "px": px, "same_picture": len(pictures) == 1, **runs,
        "forecast_gib": {side: round(need / 2**30, 2) for side, need in needs.items()},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("families", nargs="*", metavar="|".join(UNETS))
    parser.add_argument("--px", type=int, default=256)
    parser.add_argument("--load", nargs=2, metavar=("HOME", "NAME"))
    asked = parser.parse_args()
    if asked.load:
        print(json.dumps(run_one(Path(asked.load[0]), asked.load[1], asked.px)))
        return
    for family in asked.families or UNETS:
        with tempfile.TemporaryDirectory() as place:
            print(json.dumps({family: measure(family, Path(place), asked.px)}, indent=2), flush=True)


if __name__ == "__main__":
    main()
