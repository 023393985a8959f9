"""Weights and training pictures that somebody adds are read elsewhere first, whatever way they come.

The reader is made to crash on every file: what is refused went to it, what is taken in did not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from folders import make_lora, make_model
from hub_server import COMMIT
from PIL import Image
from typer.testing import CliRunner

from studio.cli.app import app
from studio.errors import BadRequest
from studio.models import Models, add
from studio.sandbox import Sandbox, sandbox
from studio.settings import Settings
from studio.studio import Studio

CRASH = """import os, signal; from studio import uploads; from studio.sandbox import child
def crash(*_): os.kill(os.getpid(), signal.SIGSEGV)
child.read_header = uploads.decode = crash
"""


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "START", CRASH + sandbox.START)


@pytest.fixture
def box(crashing: None) -> Iterator[Sandbox]:
    with closing(Sandbox()) as box:
        yield box


WAYS: dict[str, Callable[[Models, Path], object]] = {
    "LoRA": lambda models, place: models.add_lora(make_lora(place / "new.safetensors")),
    "folder": lambda models, place: models.add_model(make_model(place / "whole"), "new"),
    "hub": lambda models, place: add(models, make_model(place / "whole"), "new", notes={"revision": COMMIT}),
    "ControlNet": lambda models, place: models.controls.add(
        make_lora(place / "new.safetensors"), "new", "canny", {}
    ),
    "any": lambda models, place: add(models, make_lora(place / "new.safetensors")),
    "checkpoint": lambda models, place: models.add_model(make_lora(place / "one.safetensors"), "new"),
}


@pytest.mark.parametrize("way", WAYS)
def test_weights_are_read_elsewhere_first(box: Sandbox, tmp_path: Path, way: str) -> None:
    settings = Settings(home=tmp_path / "home")
    with pytest.raises(BadRequest) as caught:
        WAYS[way](Models(settings, box.check_weights), tmp_path)
    assert caught.value.code == "file_too_costly"


@pytest.mark.parametrize("way", ["LoRA", "folder", "hub", "any"])
def test_without_the_sandbox_they_are_read_here(tmp_path: Path, way: str) -> None:
    WAYS[way](Models(Settings(home=tmp_path / "home")), tmp_path)


def test_a_studio_has_its_weights_and_training_pictures_read_elsewhere(
    crashing: None, studio: Studio, tmp_path: Path
) -> None:
    with pytest.raises(BadRequest, match="within its limits"):
        studio.add_lora(make_lora(tmp_path / "new.safetensors"))
    with pytest.raises(BadRequest, match="within its limits"):
        studio.models.add_model(make_model(tmp_path / "whole"), "new")
    for number in range(6):
        Image.effect_noise((64, 64), 90 + number).save(tmp_path / f"{number}.png")
    with pytest.raises(BadRequest, match="0 of 6 pictures can be used"):
        studio.trainings.keep(tmp_path, "set")


@pytest.mark.parametrize("verb", [("loras", "add"), ("models", "add")])
def test_the_command_line_does_too(
    crashing: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: tuple[str, str]
) -> None:
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "home"))
    source: Any = make_lora(tmp_path / "x.safetensors") if verb[0] == "loras" else make_model(tmp_path / "x")
    done = CliRunner().invoke(app, [*verb, str(source)])
    assert isinstance(done.exception, BadRequest) and done.exception.code == "file_too_costly"
