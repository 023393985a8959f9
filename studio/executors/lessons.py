"""Trainings as this process runs them: its device, its way of reading networks, its words for faults."""

from __future__ import annotations

import logging
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.engine import checkpoint, weights
from studio.engine.lora_files import read_adapter
from studio.engine.memory import ran_out
from studio.errors import EngineError, OutOfMemory, StudioError
from studio.schema import Trained
from studio.settings import Settings
from studio.training.loop import Turn
from studio.training.networks import Networks
from studio.training.plan import Places
from studio.training.runs import Run
from studio.training.train import take_epoch, train

if TYPE_CHECKING:
    from studio.models import Models

log = logging.getLogger(__name__)


def turns_of(run: Run, settings: Settings, models: Models) -> Generator[Turn]:
    """The training of a run on this process's device, each model read as the engine reads it."""
    device = weights.pick_device(settings.device)
    return train(run, models, Places(settings.home), device, _read, _check_in_bank)


def take(run: Run, epoch: int, settings: Settings, models: Models) -> Trained:
    """Makes the style of one epoch the run's result. Raises what `publish` does."""
    return take_epoch(run, epoch, models, Places(settings.home), _read, _check_in_bank)


def explained(error: Exception) -> StudioError:
    """`error` as one of ours. Raises it when the device is lost: nothing here would work any more."""
    if isinstance(error, StudioError):
        return error
    if ran_out(error):
        return OutOfMemory(
            "The training did not fit in memory.",
            hint="Train with a smaller batch, gradient checkpointing or bf16; the checkpoints are kept.",
        )
    if isinstance(error, OSError):
        return StudioError(
            f"The training could not be written down: {error.strerror or 'unknown fault'}.",
            hint="Check the free space of the disk; the last whole checkpoint is kept.",
            code="storage",
        )
    if type(error).__name__ == "AcceleratorError":  # torch's: the device is lost, and this process with it
        raise error
    log.exception("a training failed", exc_info=error)
    return EngineError(
        f"The training failed inside the studio ({type(error).__name__}).",
        hint="See the studio's log; the last checkpoint is kept.",
    )


def _read(folder: Path, kind: Any, dtype: Any) -> Any:
    part = checkpoint.part_of(folder)
    if part is not None:
        return checkpoint.read_network(folder, part, kind, dtype)
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "dtype": dtype}
    if all(".fp16" in file.name for file in folder.glob("*.safetensors")):
        options["variant"] = "fp16"
    return kind.from_pretrained(folder, **options)


def _check_in_bank(file: Path, networks: Networks, family: str) -> None:
    """Whether the engine's own reader takes every pair. Raises what it raises, and EngineError."""
    adapter = read_adapter(file, networks.unet, networks.text_encoders, family)
    if adapter.matched != adapter.total:
        raise EngineError(
            f"The finished LoRA matches {adapter.matched} of its {adapter.total} modules.",
            code="result_unusable",
        )
