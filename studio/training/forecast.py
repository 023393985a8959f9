"""What a run will take, told before it starts: trainable weights, memory, disk, time. From headers alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.errors import StudioError
from studio.safetensors_header import read_header
from studio.training.dataset import Dataset
from studio.training.request import TEXT, Training

WIDTHS = {"fp32": 4, "bf16": 2, "fp16": 2}  # bytes of a frozen weight
STATE = 16  # bytes of a trainable weight: itself, its gradient and AdamW's two moments in float32
# Bytes of activations a row and latent pixel: measured on the pocket UNet, which has 256 channels at most;
# wider networks take in proportion. Gradient checkpointing keeps about a quarter.
ACTIVATIONS = 60_000
WIDEST_MEASURED = 256
DRAWN = 16  # steps of a picture of the class, each with and without its words


@dataclass(frozen=True)
class Forecast:
    """`trainable` of `weights`: numbers. `memory`, `disk`: bytes. `seconds`: None before one was timed."""

    trainable: int
    weights: int
    steps: int
    memory: int
    disk: int
    seconds: float | None

    @property
    def share(self) -> float:
        return self.trainable / max(1, self.weights)


def forecast(training: Training, folder: Path, dataset: Dataset, runs: Path) -> Forecast:
    """`folder`: of the model. `runs`: where earlier runs lie; those of this model were timed."""
    unet = dict(_shapes(folder / "unet"))
    trainable = _trainable(unet, training.targets, training.rank)
    total = sum(math.prod(shape) for shape in unet.values())
    if training.text_encoder:
        for part in ("text_encoder", "text_encoder_2"):
            text = dict(_shapes(folder / part))
            trainable += _trainable(text, TEXT, training.rank)
            total += sum(math.prod(shape) for shape in text.values())
    steps = steps_of(training, dataset)
    learned = training.batch * (2 if training.prior else 1)  # rows of a step, those of the class too
    rows = learned * (training.size / _factor(folder)) ** 2
    wide = max((shape[0] for shape in unet.values()), default=WIDEST_MEASURED) / WIDEST_MEASURED
    active = rows * ACTIVATIONS * min(wide, 16) / (4 if training.checkpointing else 1)
    memory = total * WIDTHS[training.precision] + trainable * STATE + active
    per_row = _timed(runs, training)
    return Forecast(
        trainable=trainable,
        weights=total,
        steps=steps,
        memory=round(memory),
        disk=trainable * 12 * training.epochs + trainable * 2,
        seconds=None if per_row is None else per_row * (learned * steps + _drawn(training)),
    )


def _drawn(training: Training) -> float:
    """What making the pictures of the class takes, in rows of a step: a row without learning is a third."""
    made = training.prior_pictures if training.prior and not training.prior_set else 0
    return made * 2 * DRAWN / 3


def steps_of(training: Training, dataset: Dataset) -> int:
    """Of all epochs, as if every picture had one aspect; a step more for each bucket that does not fill."""
    shown = sum(entry.repeats for entry in dataset.training) * training.repeats
    return math.ceil(shown / training.batch) * training.epochs


def _trainable(shapes: dict[str, tuple[int, ...]], targets: tuple[str, ...], rank: int) -> int:
    """Numbers of all pairs: rank * (in + out), times the kernel on the way in."""
    total = 0
    for name, shape in shapes.items():
        module = name.removesuffix(".weight")
        if (
            name != module
            and len(shape) > 1
            and any(module == target or module.endswith(f".{target}") for target in targets)
        ):
            total += rank * (math.prod(shape[1:]) + shape[0])
    return total


def _shapes(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Nothing for a network whose weights lie elsewhere (one-file checkpoints)."""
    for file in sorted(folder.glob("*.safetensors")):
        try:
            yield from ((name, shape) for name, (_, shape) in read_header(file).tensors.items())
        except StudioError:
            return


def unit_of(folder: Path) -> int:
    """Px that a picture's sides must be multiples of, for the model in `folder`."""
    blocks = _json(folder / "unet" / "config.json").get("block_out_channels", (0, 0, 0, 0))
    return _factor(folder) * int(2 ** (len(blocks) - 1))


def _factor(folder: Path) -> int:
    """Picture px per latent px."""
    blocks = _json(folder / "vae" / "config.json").get("block_out_channels", (0, 0, 0, 0))
    return int(2 ** (len(blocks) - 1))


def _timed(runs: Path, training: Training) -> float | None:
    """Seconds of a row of a step in the newest run of this model with rows of this size."""
    files = sorted(runs.glob("*/speed.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    for told in map(_json, files):
        if (told.get("model"), told.get("size")) == (training.model, training.size):
            return float(told["seconds_a_row"])
    return None


def _json(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found
