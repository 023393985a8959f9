"""Before a run: its name is free, what was left open is filled in, its cost is known. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.errors import BadRequest, Conflict
from studio.models import Models
from studio.models.models import NAME
from studio.training import runs
from studio.training.dataset import Dataset, load_dataset
from studio.training.forecast import Forecast, forecast
from studio.training.request import Training, TrainRequest, fill_in


@dataclass(frozen=True)
class Places:
    """Where things lie below the studio's home."""

    home: Path

    @property
    def datasets(self) -> Path:
        return self.home / "datasets"

    @property
    def runs(self) -> Path:
        return self.home / "training"


@dataclass(frozen=True)
class Plan:
    training: Training
    dataset: Dataset
    forecast: Forecast


def plan(request: TrainRequest, models: Models, places: Places, default: str) -> Plan:
    """Raises NotFound for a model or set that is not there. `default`: the model if none is named."""
    row = models.get(request.model if request.model is not None else default)
    dataset = load_dataset(places.datasets, request.dataset)
    if request.prior_set:
        if not request.prior:
            raise BadRequest(
                "Pictures of the kind are given, but not what it is called.",
                hint='Say it as prior, such as "a mug".',
                field="prior",
            )
        load_dataset(places.datasets, request.prior_set)
    training = fill_in(request, row.name, row.family, row.size, len(dataset.training))
    return Plan(training, dataset, forecast(training, row.folder, dataset, places.runs))


def begin(made: Plan, places: Places, facts: Mapping[str, Any]) -> runs.Run:
    """The run's folder, with who asked, from which set and under which licence."""
    told = {"user": "local", "source": made.dataset.source, "licence": made.dataset.licence}
    return runs.begin(places.runs, made.training, told | dict(facts))


def check_name(models: Models, name: str) -> None:
    """Raises BadRequest (`bad_name`), Conflict where another LoRA has it."""
    if NAME.fullmatch(name) is None:
        raise BadRequest(
            f"{name[:80]!r} cannot be a name.",
            hint="1 to 100 letters, digits, spaces, dots, dashes and underscores; no dot at the start.",
            field="name",
            code="bad_name",
        )
    if any(row.name.casefold() == name.casefold() for row in models.loras()):
        hint = "Give the new one another name."
        raise Conflict(f"A LoRA {name} is there already.", hint=hint, field="name")
