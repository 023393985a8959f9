"""A run's folder: what was asked, how it went, its checkpoints, its board. Reading it needs no torch."""

from __future__ import annotations

import fcntl
import json
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.errors import BadRequest, Conflict, NotFound
from studio.training.request import Training


@dataclass(frozen=True)
class Run:
    """`folder`: named by the run's id, below the studio's folder `training`."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def training(self) -> Training:
        return Training.model_validate(self.told["training"])

    @property
    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        return found

    @contextmanager
    def alone(self) -> Iterator[None]:
        """For whoever trains it. Raises Conflict (`run_under_way`) while another process does."""
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Conflict(
                    "This training is under way already.", hint="Pause it first.", code="run_under_way"
                ) from None
            yield

    def is_busy(self) -> bool:
        """Whether some process trains it now."""
        try:
            with self.alone():
                return False
        except Conflict:
            return True

    @property
    def state(self) -> str:
        """queued, running, paused, completed or failed. One that nobody trains any more is paused."""
        told = str(self.told.get("state", "queued"))
        return "paused" if told == "running" and not self.is_busy() else told

    def note(self, **facts: Any) -> None:
        """Adds to what is told of the run."""
        text = json.dumps(self.told | facts, ensure_ascii=False, indent=1)
        rough = self.folder / "run.json.tmp"
        rough.write_text(text, encoding="utf-8")
        rough.rename(self.folder / "run.json")

    def log(self, step: int, loss: float) -> None:
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "loss": loss}) + "\n")

    def cut_log(self, step: int) -> None:
        """Forgets what was logged after `step`: those steps are done again."""
        kept = [f"{json.dumps({'step': at, 'loss': loss})}\n" for at, loss in self.losses() if at <= step]
        (self.folder / "log.jsonl").write_text("".join(kept), encoding="utf-8")

    def losses(self) -> list[tuple[int, float]]:
        """(step, loss) of every step so far. A line that a kill cut off is no step."""
        file = self.folder / "log.jsonl"
        found: dict[int, float] = {}
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
            try:
                row = json.loads(line)
                found[int(row["step"])] = float(row["loss"])
            except (ValueError, KeyError, TypeError):
                continue
        return sorted(found.items())

    def keep_board(self, epoch: int, place: int, data: bytes) -> None:
        """A picture of the board, PNG. Epoch 0 is before training."""
        folder = self.folder / "board"
        folder.mkdir(exist_ok=True)
        (folder / f"{epoch:03d}-{place}.png").write_bytes(data)

    def board(self, epoch: int) -> list[Path]:
        return sorted((self.folder / "board").glob(f"{epoch:03d}-*.png"))

    def epochs(self) -> list[dict[str, Any]]:
        """What each finished epoch ended with, from the newest checkpoint."""
        for place in sorted(self.checkpoints.glob("[0-9]*/state.json"), reverse=True):
            found: list[dict[str, Any]] = json.loads(place.read_text(encoding="utf-8"))["epochs"]
            return found
        return []

    def step_of(self, epoch: int) -> int:
        """The step that an epoch ended with. Raises BadRequest for one that there is not."""
        steps = {int(one["number"]): int(one["step"]) for one in self.epochs()}
        if epoch not in steps:
            raise BadRequest(
                f"The run has no epoch {epoch}.", hint=f"It has epochs 1 to {len(steps)}.", field="epoch"
            )
        return steps[epoch]

    def roll_back(self, epoch: int) -> None:
        """Forgets everything after `epoch`: the run goes on from there."""
        step = self.step_of(epoch)
        for place in self.checkpoints.glob("[0-9]*"):
            if int(place.name) > step:
                shutil.rmtree(place)
        self.cut_log(step)

    def keep_epochs(self, step: int, steps_an_epoch: int) -> None:
        """Removes checkpoints from inside of epochs that have ended."""
        for place in self.checkpoints.glob("[0-9]*"):
            if int(place.name) < step and int(place.name) % steps_an_epoch:
                shutil.rmtree(place, ignore_errors=True)

    def timed(self, training: Training, seconds_a_row: float) -> None:
        """For the next forecast."""
        told = {"model": training.model, "size": training.size, "seconds_a_row": seconds_a_row}
        (self.folder / "speed.json").write_text(json.dumps(told), encoding="utf-8")


def begin(home: Path, training: Training, facts: Mapping[str, Any], id: str = "") -> Run:
    """A new run's folder. `facts`: who asked and what for, told with it."""
    folder = home / (id or f"{int(time.time() * 1000):012x}{secrets.token_hex(10)}")
    folder.mkdir(parents=True)
    told = {"training": training.model_dump(mode="json"), "created": time.time(), **facts}
    rough = folder / "run.json.tmp"  # others look through the runs: they see it whole or not at all
    rough.write_text(json.dumps(told, ensure_ascii=False, indent=1), encoding="utf-8")
    rough.rename(folder / "run.json")
    return Run(folder)


def find(home: Path, id: str) -> Run:
    """By id, or by as much of its beginning as only one run has. Raises NotFound (`run_not_found`)."""
    if id.isalnum():
        found = [file.parent for file in home.glob(f"{id}*/run.json")]
        if len(found) == 1:
            return Run(found[0])
    raise not_found()


def not_found() -> NotFound:
    return NotFound("No such training run.", hint="studio train --runs lists them.", code="run_not_found")


def list_runs(home: Path) -> Iterator[Run]:
    """Newest first."""
    for file in sorted(home.glob("*/run.json"), reverse=True):
        yield Run(file.parent)
