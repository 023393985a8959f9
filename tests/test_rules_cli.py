"""`studio check ID`: what a brand's rules say of a picture of the library."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from studio.cli.app import app
from studio.errors import NotFound
from studio.schema import GenerationRequest
from studio.settings import Settings
from studio.studio import Studio

ACME = "version: 1\nsizes: {web: 128x128}\nbanned: [gin]\n"


def test_a_picture_is_held_against_its_brand(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "presets").mkdir()
    (home / "presets" / "acme.yaml").write_text(ACME)
    ids = []
    with closing(Studio.open(Settings(home=home, executor="fake"))) as studio:
        studio.start()
        for width in (128, 192):
            asked = GenerationRequest(prompt="a mug", preset="acme", width=width, height=128, steps=2)
            ids.append(studio.wait(studio.submit(asked).id).images[0].id)
    monkeypatch.setenv("STUDIO_HOME", str(home))
    monkeypatch.setenv("STUDIO_EXECUTOR", "fake")
    kept = CliRunner().invoke(app, ["check", ids[0]])
    assert kept.exit_code == 0, kept.output
    assert "✓ green Size: 128 × 128 px is the size for web." in kept.output
    broken = CliRunner().invoke(app, ["check", *ids, "--json"])
    rows = [json.loads(line) for line in broken.output.splitlines()]
    assert broken.exit_code == 1 and [row["image"] for row in rows] == ids
    assert rows[1]["worst"] == "red" and rows[0]["worst"] != "red"
    lost = CliRunner().invoke(app, ["check", "0" * 32]).exception
    assert isinstance(lost, NotFound) and lost.code == "image_not_found"
