from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from school import pictures
from typer.testing import CliRunner, Result

from studio.cli.app import app
from studio.errors import Conflict, StudioError
from studio.models import Models
from studio.safetensors_header import read_header
from studio.settings import Settings

SHORT = ["--model", "sd", "--size", "16", "--batch", "4", "--repeats", "1", "--rank", "2", "--json"]


pytest_plugins = ("school",)


@pytest.fixture
def home(lesson_home: Path) -> Path:
    return lesson_home


@pytest.fixture(autouse=True)
def _home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_HOME", str(home))
    monkeypatch.setenv("STUDIO_MODEL", "sd")
    torch.set_num_threads(1)


def studio(*words: str) -> Result:
    result = CliRunner().invoke(app, list(words))
    if isinstance(result.exception, StudioError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def said(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def kept(folder: Path) -> list[str]:
    """Pictures of 24 px are too soft and too small for the checks: used whatever was found."""
    return [word for file in folder.glob("*.png") for word in ("--keep", file.name)]


def test_a_folder_becomes_a_style_and_every_line_is_json(tmp_path: Path, home: Path) -> None:
    folder = pictures(tmp_path / "in")
    lines = said(
        studio("train", str(folder), "--name", "acme", "--epochs", "2", "--trigger", "acme style",
               "--licence", "CC0-1.0", *SHORT, *kept(folder))
    )  # fmt: skip
    kinds = [line["event"] for line in lines]
    assert kinds[:3] == ["dataset", "forecast", "run"] and kinds[-1] == "done" and kinds.count("epoch") == 2
    steps = [line["step"] for line in lines if line["event"] == "step"]
    assert steps == list(range(1, len(steps) + 1))
    forecast, done = lines[1], lines[-1]
    row = Models(Settings(home=home, model="sd")).lora("acme")
    weights = read_header(row.file).tensors
    numbers = sum(math.prod(shape) for _, shape in weights.values())
    assert forecast["trainable"] == numbers and 0 < forecast["share"] < 1
    assert forecast["steps"] == len(steps) == done["steps"]
    assert Path(done["path"]) == row.file and done["epochs"] == 2 and done["bytes"] == row.bytes

    again = said(studio("train", "--resume", lines[2]["run"][:20], "--epoch", "1", "--json"))
    assert [line["step"] for line in again if line["event"] == "step"][0] == forecast["steps"] // 2 + 1
    assert again[-1]["sha256"] == done["sha256"] and again[-1]["name"] == "acme"
    taken = said(studio("train", "--resume", lines[2]["run"], "--take", "1", "--json"))[-1]
    assert taken["epoch"] == 1 and taken["name"] in ("acme", "acme-2")
    runs = json.loads(studio("train", "--runs", "--json").stdout)
    assert [(run["state"], run["epochs"]) for run in runs] == [("completed", 2)]
    with pytest.raises(Conflict, match="acme is there"):
        studio("train", str(folder), "--name", "acme", *SHORT)


def test_a_check_tells_what_it_found_and_trains_nothing(tmp_path: Path, home: Path) -> None:
    folder = pictures(tmp_path / "in")
    (folder / "copy.png").write_bytes((folder / "1.png").read_bytes())
    lines = said(studio("train", str(folder), "--check", *SHORT, *kept(folder)))
    found = next(line for line in lines if line["event"] == "dataset")
    assert [line["event"] for line in lines] == ["dataset", "forecast"]
    assert found["pictures"] >= 10 and not (home / "training").exists()


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["--rank", "0"], "rank"), (["--rank", "4096"], "rank"), (["--rate", "10"], "rate"),
        (["--rate", "nan"], "rate"), (["--size", "63"], "size"), (["--epochs", "1000"], "epochs"),
        (["--name", "../up"], "name"),
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_named(tmp_path: Path, words: list[str], field: str) -> None:
    with pytest.raises(StudioError) as refused:
        studio("train", str(pictures(tmp_path / "in")), "--name", "acme", *SHORT, *words)
    assert refused.value.field == field


def test_the_kind_of_thing_comes_from_the_model_or_from_a_folder(tmp_path: Path, home: Path) -> None:
    folder, kind = pictures(tmp_path / "in"), pictures(tmp_path / "kind", 6, side=96)
    words = ["train", str(folder), "--epochs", "1", "--prior", "a thing", *SHORT, *kept(folder)]
    made = said(studio(*words, "--name", "made", "--prior-pictures", "5"))
    assert made[-1]["event"] == "done" and len(list(home.glob("training/*/class/*.png"))) == 5
    given = said(studio(*words, "--name", "given", "--prior-from", str(kind), "--prior-weight", "0.5"))
    assert given[-1]["event"] == "done" and len(list(home.glob("training/*/class/*.png"))) == 5
    notes = read_header(Models(Settings(home=home, model="sd")).lora("given").file).metadata
    assert notes["ss_prior_loss_weight"] == "0.5"


def test_a_captioner_that_is_not_there_is_told(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in")
    (folder / "1.txt").unlink()
    with pytest.raises(StudioError) as refused:
        studio("train", str(folder), "--check", "--captioner", "blip", *SHORT, *kept(folder))
    assert refused.value.code == "captioner_not_found"
