"""The studio's training loop beside diffusers' example trainer: the same loss a step, in the same time?

    python bench/lora_rival.py FILE [--python PYTHON] [--steps 120] [--batch 8] [--rank 16] [--json]

FILE: train_text_to_image_lora.py of diffusers, which is not part of this repository. PYTHON: the one it runs
with; it needs the packages `datasets` and `torchvision`. Both train the pocket model on the same 60 drawn
pictures with the same rank, rate, batch, precision and seed, one after the other on the same cores:

1. ours as it is: seconds a step;
2. the rival as it is, its steps written down (rival_trainer.py): seconds a step, losses;
3. ours once more with what chance gave the rival: its first weights, its pictures' order, noise and levels.
   So losses can be compared step by step; other noise alone would make them differ by half.

What only one of the two has is off: min-SNR, offset noise, dropout, dropped captions, warm-up and the
gradient's limit (the rival's has no effect: its list of parameters is used up before).
Bars: loss within 5 % in each step, seconds a step at most 1.1 of the rival's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from safetensors.torch import load_file

from bench.lora_training import write_set
from studio.models import Models
from studio.schema import Learned
from studio.settings import ROOT, Settings
from studio.training import board, loop
from studio.training.cache import Cache, fill
from studio.training.checkpoint import Progressed
from studio.training.dataset import Dataset, keep_dataset
from studio.training.loop import Course
from studio.training.networks import ADAPTER, Text, add_adapters, load_networks
from studio.training.plan import Places
from studio.training.request import Training
from studio.training.runs import begin

SKIP = 5  # first steps that no clock counts: memory is still being found
RATE = 1e-4


def training_of(told: argparse.Namespace, dataset: Dataset) -> Training:
    """`family`: SD 1.5's, whose targets are those of the rival."""
    return Training(
        name="beside", dataset=dataset.id, model="pocket", family="sd15", epochs=1, rank=told.rank,
        alpha=float(told.rank), dropout=0.0, min_snr=0.0, plain=0.0, offset=0.0, convolutions=False,
        batch=told.batch, repeats=1 + told.steps * told.batch // len(dataset.training), rate=RATE, size=128,
        precision=told.precision, seed=told.seed,
    )  # fmt: skip


def ours(
    home: Path, training: Training, dataset: Dataset, steps: int, notes: dict[str, Any] | None
) -> tuple[list[float], list[float]]:
    """(loss, seconds) of each step. `notes`: of the rival, to be followed; None = as it is."""
    models, places = Models(Settings(home=home)), Places(home)
    row = models.get("pocket")
    networks = load_networks(row.folder, torch.device("cpu"), torch.float32)
    cache = Cache()
    for _ in fill(cache, networks, training, dataset, places.datasets, ()):
        pass
    add_adapters(networks, training)
    run = begin(places.runs, training, {})
    nothing = board.Look(())
    course = Course(training, networks, cache, run, (), row.guidance, nothing, None, origin={})
    following = [] if notes is None else followed(course, notes)
    for patch in following:
        patch.start()
    losses, seconds, last = [], [], time.monotonic()
    turns = loop.learn(course, Progressed(), None)
    for event in turns:
        if isinstance(event, Learned):
            now = time.monotonic()
            losses.append(event.loss)
            seconds.append(now - last)
            last = now
            if len(losses) == steps:
                break
    turns.close()
    for patch in following:
        patch.stop()
    return losses, seconds


def followed(course: Course, notes: dict[str, Any]) -> Sequence[Any]:
    """The loop with what chance gave the rival: weights now, the rest step by step. Patches to be started."""
    for name, parameter in course.networks.trainable():
        theirs = name.removeprefix("unet.").replace(f".{ADAPTER}.", ".default.")
        parameter.data.copy_(notes[f"lora.{theirs}"])

    def loss_of(course: Course, places: Sequence[int], step: int) -> torch.Tensor:
        clean, noise, times, rows = (
            notes[f"{step:05d}.{name}"] for name in ("clean", "noise", "times", "texts")
        )
        lessons = [course.cache.lessons[0]] * len(clean)  # their shapes; this family does not read them
        return loop.error(course, clean, noise, times, [Text(row, None) for row in rows], lessons)

    return [
        mock.patch.object(loop, "loss_of", loss_of),
        mock.patch.object(loop, "rate_at", lambda step, of, peak: peak),
        mock.patch.object(loop, "LONGEST_NORM", float("inf")),
    ]


def rival(home: Path, told: argparse.Namespace, model: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(tensors, figures) of its run."""
    out = home / "rival"
    rows = [
        json.dumps({"file_name": text.with_suffix(".png").name, "text": text.read_text(encoding="utf-8")})
        for text in sorted((home / "pictures").glob("*.txt"))
    ]
    set_of = home / "rival-pictures"
    set_of.mkdir()
    for file in (home / "pictures").glob("*.png"):
        os.link(file, set_of / file.name)
    (set_of / "metadata.jsonl").write_text("\n".join(rows), encoding="utf-8")
    command = [
        told.python, str(ROOT / "bench" / "rival_trainer.py"), str(out), str(told.file),
        f"--pretrained_model_name_or_path={model}", f"--train_data_dir={set_of}", "--caption_column=text",
        "--resolution=128", "--center_crop", f"--train_batch_size={told.batch}",
        f"--max_train_steps={told.steps}", f"--learning_rate={RATE}", "--lr_scheduler=constant",
        "--lr_warmup_steps=0", f"--rank={told.rank}", f"--seed={told.seed}", "--adam_weight_decay=0.01",
        f"--output_dir={home / 'rival-out'}", "--checkpointing_steps=100000",
        *([] if told.precision == "fp32" else [f"--mixed_precision={told.precision}"]),
    ]  # fmt: skip
    cache = str(home / "rival-cache")
    env = os.environ | {"HF_HOME": cache, "HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"}
    subprocess.run(command, check=True, env=env, stdout=sys.stderr)
    return load_file(out.with_suffix(".safetensors")), json.loads(out.with_suffix(".json").read_text())


def compare(told: argparse.Namespace, home: Path) -> dict[str, float]:
    write_set(home / "pictures", told.pictures, seed=7)
    models = Models(Settings(home=home))
    dataset = keep_dataset(
        home / "pictures", Places(home).datasets, name="stickers", size=128, hold_out=0.0,
        kept_anyway=[file.name for file in (home / "pictures").glob("*.png")],
    )  # fmt: skip
    training = training_of(told, dataset)
    own, own_seconds = ours(home, training, dataset, told.steps, None)
    notes, figures = rival(home, told, models.get("pocket").folder)
    theirs = figures["losses"][: told.steps]
    begun = figures["begun"]
    their_seconds = [after - before for before, after in zip(begun, begun[1:], strict=False)]
    same, _ = ours(home, training, dataset, told.steps, notes)
    apart = [abs(mine - their) / their for mine, their in zip(same, theirs, strict=True)]
    half = told.steps // 2
    fast, slow = (statistics.median(times[SKIP:]) for times in (own_seconds, their_seconds))
    return {
        "steps": told.steps,
        "loss apart, worst step": max(apart),
        "loss apart, mean": statistics.mean(apart),
        "loss, ours on its own noise (second half)": statistics.mean(own[half:]),
        "loss, rival (second half)": statistics.mean(theirs[half:]),
        "seconds a step, ours": fast,
        "seconds a step, rival": slow,
        "seconds, ours over rival": fast / slow,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path, help="train_text_to_image_lora.py")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = compare(told, Path(folder))
    if told.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:<45} {value if isinstance(value, int) else f'{value:.5f}'}")
    held = figures["loss apart, worst step"] <= 0.05 and figures["seconds, ours over rival"] <= 1.1
    raise SystemExit(0 if held else 1)


if __name__ == "__main__":
    main()
