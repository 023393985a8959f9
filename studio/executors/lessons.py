"""Trainings beside pictures on one device: pictures go first, and a training is never left out for long."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.engine import checkpoint, weights
from studio.engine.lora_files import read_adapter
from studio.engine.memory import ran_out
from studio.errors import EngineError, OutOfMemory, StudioError
from studio.schema import Cancelled, Event, Failed, Trained
from studio.settings import Settings
from studio.training.loop import Turn
from studio.training.networks import Networks
from studio.training.plan import Places
from studio.training.runs import Run
from studio.training.train import take_epoch, train

if TYPE_CHECKING:
    from studio.engine import Engine
    from studio.models import Models

log = logging.getLogger(__name__)

SHARE = 2.0  # s of pictures after which a training gets a step although more pictures wait


def turns_of(run: Run, settings: Settings, models: Models) -> Iterator[Turn]:
    """The training of a run on this process's device, each model read as the engine reads it."""
    device = weights.pick_device(settings.device)
    return train(run, models, Places(settings.home), device, _read, _check_in_bank)


def take(run: Run, epoch: int, settings: Settings, models: Models) -> Trained:
    """Makes the style of one epoch the run's result. Raises what `publish` does."""
    return take_epoch(run, epoch, models, Places(settings.home), _read, _check_in_bank)


class Workbench:
    """An engine and the trainings that share its device; to its callers an engine.

    `submit` and `cancel` may be called from any thread, all else from the one that calls `tick`.
    """

    def __init__(self, engine: Engine, settings: Settings, models: Models) -> None:
        self.engine = engine
        self._settings, self._models = settings, models
        self._lessons: dict[str, Iterator[Turn]] = {}
        self._left: list[str] = []
        self._last = time.monotonic()
        self.submit, self.status, self.close = engine.submit, engine.status, engine.close

    def learn(self, run: str, training: str) -> None:
        """Begins or goes on with a training; one that is under way here goes on under the newer run."""
        folder = Places(self._settings.home).runs / training
        self._lessons[run] = turns_of(Run(folder), self._settings, self._models)

    def cancel(self, run: str) -> None:
        if run in self._lessons:
            self._left.append(run)
        else:
            self.engine.cancel(run)

    def idle(self) -> bool:
        return self.engine.idle() and not self._lessons

    def tick(self) -> list[tuple[str, Event]]:
        """A step of pictures, of training where none wait, or of both when training waited SHARE seconds."""
        events: list[tuple[str, Event]] = []
        while self._left:
            events += self._leave(self._left.pop())
        busy = not self.engine.idle()
        if busy:
            events += self.engine.tick()
        if self._lessons and (not busy or time.monotonic() - self._last > SHARE):
            run = next(iter(self._lessons))
            events += [(run, event) for event in self._step(run)]
            self._last = time.monotonic()
        return events

    def _leave(self, run: str) -> list[tuple[str, Event]]:
        """Closing a training writes its checkpoint."""
        lesson = self._lessons.pop(run, None)
        if lesson is None:
            return []
        try:
            lesson.close()  # type: ignore[attr-defined]
        except Exception as error:
            return [(run, Failed(_explained(error).as_dict()))]
        return [(run, Cancelled())]

    def _step(self, run: str) -> Iterator[Event]:
        try:
            event = next(self._lessons[run])
        except StopIteration:
            del self._lessons[run]
        except Exception as error:
            del self._lessons[run]
            yield Failed(_explained(error).as_dict())
        else:
            if event is not None:
                yield event


def _explained(error: Exception) -> StudioError:
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
