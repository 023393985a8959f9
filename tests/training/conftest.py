from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "engine"))  # tiny.py: random models

import tiny
from test_training_dataset import drawn

from studio.models import Models
from studio.settings import Settings
from studio.training.dataset import keep_dataset
from studio.training.request import Training, TrainRequest, fill_in
from studio.training.runs import Run, begin

SIZE = tiny.SIDE


def pictures(folder: Path, count: int = 10, side: int = 24) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        out = io.BytesIO()
        drawn(number, 96).resize((side, side)).save(out, "PNG")
        (folder / f"{number}.png").write_bytes(out.getvalue())
        (folder / f"{number}.txt").write_text(f"picture {number}", encoding="utf-8")
    return folder


def asked(**options: Any) -> TrainRequest:
    wanted: dict[str, Any] = {
        "name": "brand", "trigger": "acme style", "dataset": "0", "epochs": 2, "batch": 4, "repeats": 2,
        "rate": 1e-2, "rank": 4, "alpha": 8.0, "board": ("a mug",),
    }  # fmt: skip
    return TrainRequest(**wanted | options)


@pytest.fixture(scope="session")
def tiny_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A studio's home with tiny models and one training set, shared by tests that only add runs."""
    home = tmp_path_factory.mktemp("home")
    tiny.save_sd(home / "models" / "sd")
    tiny.save_xl(home / "models" / "xl")
    keep_dataset(
        pictures(tmp_path_factory.mktemp("in") / "set"), home / "datasets", name="set", size=SIZE,
        hold_out=0.2, licence="CC0-1.0", kept_anyway=[f"{number}.png" for number in range(10)],
    )  # fmt: skip
    return home


@pytest.fixture
def home(tiny_home: Path, tmp_path: Path) -> Path:
    """The shared models and set below a home of the test's own."""
    for name in ("models", "datasets"):
        (tmp_path / name).symlink_to(tiny_home / name)
    return tmp_path


@pytest.fixture
def models(home: Path) -> Models:
    return Models(Settings(home=home, model="sd", device="cpu"))


def training_of(home: Path, models: Models, model: str = "sd", **options: Any) -> Training:
    kept = (home / "datasets").glob("*/dataset.json")  # other tests keep sets there too
    dataset = next(file.parent.name for file in kept if json.loads(file.read_text())["name"] == "set")
    row = models.get(model)
    request = asked(dataset=dataset, size=SIZE, **options)
    return fill_in(request, row.name, row.family, row.size, 8)


def begun(home: Path, models: Models, model: str = "sd", **options: Any) -> Run:
    return begin(home / "training", training_of(home, models, model, **options), {"user": "local"})
