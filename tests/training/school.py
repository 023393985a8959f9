"""What tests of training share: tiny models, a set, runs. No conftest: other folders import theirs by name.

PYTEST_DONT_REWRITE: test modules import it before pytest registers its fixtures.
"""

from __future__ import annotations

import io
import shutil
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
def lesson_home(tiny_home: Path, tmp_path: Path) -> Path:
    """The shared models and a copy of the set below a home of the test's own."""
    (tmp_path / "models").symlink_to(tiny_home / "models")
    shutil.copytree(tiny_home / "datasets", tmp_path / "datasets")
    return tmp_path


@pytest.fixture
def lesson_models(lesson_home: Path) -> Models:
    return Models(Settings(home=lesson_home, model="sd", device="cpu"))


def training_of(home: Path, models: Models, model: str = "sd", **options: Any) -> Training:
    (dataset,) = (folder.name for folder in (home / "datasets").iterdir())
    row = models.get(model)
    request = asked(dataset=dataset, size=SIZE, **options)
    return fill_in(request, row.name, row.family, row.size, 8)


def begun(home: Path, models: Models, model: str = "sd", **options: Any) -> Run:
    return begin(home / "training", training_of(home, models, model, **options), {"user": "local"})
