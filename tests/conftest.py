"""What tests of several rooms share. Being here, it also lets them import tests/folders.py by its name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from folders import make_lora, make_model
from playwright.sync_api import Browser, sync_playwright

from studio.settings import Settings
from studio.studio import Studio

# The truth is float32; what a machine measures as faster is asked for by name where it is tested.
os.environ["STUDIO_BACKEND"] = "float32"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A studio's folder with a model `pocket` and the shipped presets' LoRAs: headers only, no weights."""
    make_model(tmp_path / "models" / "pocket")
    for name in ("guochao", "nordic", "neon"):
        make_lora(tmp_path / "loras" / f"{name}.safetensors")
    return tmp_path


@pytest.fixture
def studio(home: Path) -> Iterator[Studio]:
    """A running studio that draws noise instead of pictures."""
    opened = Studio.open(Settings(home=home, executor="fake", rows=2))
    opened.start()
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One for all rooms: a second Playwright in the same thread does not start."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium here: apt-get install chromium")
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *camera]
        )
        yield browser
        browser.close()
