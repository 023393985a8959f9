"""A run's state on disk: safetensors and JSON, whole or not there, and enough to go on bit for bit.

A checkpoint is a folder named by the steps done. Random numbers need no state of their own: every step and
every epoch's order is drawn from the run's seed and its number.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from studio.errors import BadRequest
from studio.training.request import PRIOR, Training

WEIGHTS, MOMENTS, STATE = "weights.safetensors", "optimizer.safetensors", "state.json"
VERSION = 1


@dataclass
class Progressed:
    """How far a run is. `losses`: of the epoch under way. `epochs`: what each one ended with."""

    step: int = 0
    losses: list[float] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    scaler: dict[str, float] = field(default_factory=dict)


def save(
    folder: Path,
    progressed: Progressed,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.AdamW,
    origin: Mapping[str, str],
) -> Path:
    """Writes `folder`/<steps done>. `origin`: hashes of what the run is about, compared when it goes on."""
    target = folder / f"{progressed.step:07d}"
    rough = folder / f".{target.name}.tmp"
    shutil.rmtree(rough, ignore_errors=True)
    rough.mkdir(parents=True)
    moments: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    for name, parameter in parameters.items():
        state = optimizer.state.get(parameter, {})
        if state:
            moments[f"{name}.exp_avg"] = state["exp_avg"].contiguous()
            moments[f"{name}.exp_avg_sq"] = state["exp_avg_sq"].contiguous()
            counts[name] = int(state["step"])
    save_file({name: one.data.contiguous() for name, one in parameters.items()}, rough / WEIGHTS)
    save_file(moments or {"none": torch.zeros(1)}, rough / MOMENTS)
    told = {
        "version": VERSION,
        **asdict(progressed),
        "counts": counts,
        "origin": dict(origin),
        "sha256": {name: sha256(rough / name) for name in (WEIGHTS, MOMENTS)},
    }
    (rough / STATE).write_text(json.dumps(told), encoding="utf-8")
    for file in rough.iterdir():
        _sync(file)
    shutil.rmtree(target, ignore_errors=True)  # of a run that was rolled back and came here again
    rough.rename(target)
    _sync(folder)
    return target


def found(folder: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.isdigit() and (path / STATE).is_file())


def read(place: Path, origin: Mapping[str, str]) -> tuple[Progressed, dict[str, Any]]:
    """The state and its raw form. Raises BadRequest (`checkpoint_untrusted`, `checkpoint_foreign`)."""
    try:
        told: dict[str, Any] = json.loads((place / STATE).read_text(encoding="utf-8"))
        whole = all(sha256(place / name) == told["sha256"][name] for name in (WEIGHTS, MOMENTS))
        known = {name: told[name] for name in ("step", "losses", "epochs", "scaler")}
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise BadRequest(
            f"Checkpoint {place.name} is not as it was written: a file of it was changed or cut off.",
            hint="Go on from an earlier one, or start the training again.",
            field="resume",
            code="checkpoint_untrusted",
        )
    other = [name for name, value in origin.items() if told["origin"].get(name) != value]
    if told["version"] != VERSION or other:
        raise BadRequest(
            f"Checkpoint {place.name} is of another training: {', '.join(other) or 'its version'} differs.",
            hint="Start a new training.",
            field="resume",
            code="checkpoint_foreign",
        )
    return Progressed(**known), told


def restore(
    place: Path,
    told: Mapping[str, Any],
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.AdamW,
) -> None:
    """Weights and moments back into place. Raises BadRequest (`checkpoint_foreign`) where shapes differ."""
    weights, moments = load_file(place / WEIGHTS), load_file(place / MOMENTS)
    if {name: one.shape for name, one in weights.items()} != {
        name: one.shape for name, one in parameters.items()
    }:
        raise BadRequest(
            f"Checkpoint {place.name} has other pairs than this training.",
            hint="Rank, targets and model must be those it began with.",
            field="resume",
            code="checkpoint_foreign",
        )
    for name, parameter in parameters.items():
        parameter.data.copy_(weights[name])
        if name in told["counts"]:
            optimizer.state[parameter] = {
                "step": torch.tensor(float(told["counts"][name])),
                "exp_avg": moments[f"{name}.exp_avg"].to(parameter.device),
                "exp_avg_sq": moments[f"{name}.exp_avg_sq"].to(parameter.device),
            }


def drop(folder: Path, keep: Sequence[int]) -> None:
    """Removes checkpoints whose steps are not among `keep`."""
    for place in found(folder):
        if int(place.name) not in keep:
            shutil.rmtree(place, ignore_errors=True)


def origin_of(training: Training, model: str) -> dict[str, str]:
    """`model`: hash of its weights. What may differ between a run and its going on is left out."""
    asked = training.model_dump_json(exclude={"title"} | (set() if training.prior else PRIOR))
    return {"request": hashlib.sha256(asked.encode()).hexdigest(), "model": model}


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
