"""`studio models` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from folders import make_model
from hub_server import COMMIT, serve
from typer.testing import CliRunner

from studio.cli.app import app
from studio.errors import StudioError


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "home"))


def run(*words: str, status: int = 0) -> Any:
    """What the verb printed for programs. Raises the StudioError it ended with."""
    result = CliRunner().invoke(app, ["models", *words])
    if isinstance(result.exception, StudioError):
        raise result.exception
    assert result.exit_code == status, result.output
    return json.loads(result.stdout) if "--json" in words else result.stdout


def test_a_hub_id_is_pulled_listed_checked_made_default_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve({"brand/tiny": make_model(tmp_path / "tiny")}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        (row,) = run("add", "brand/tiny", "--json")
        assert (row["name"], row["source"], row["revision"]) == ("tiny", "brand/tiny", COMMIT)
        (row,) = run("pull", "brand/tiny@main", "--name", "again", "--json")
        assert row["name"] == "again"
    assert {entry["name"]: entry["default"] for entry in run("list", "--json")} == {
        "again": False, "tiny": False, "pocket": True,
    }  # fmt: skip
    assert {entry["state"] for entry in run("check", "tiny", "--json")} == {"ok"}
    run("default", "tiny")
    run("remove", "again")
    assert {entry["name"]: entry["default"] for entry in run("list", "--json")} == {
        "tiny": True, "pocket": False,
    }  # fmt: skip


def test_a_changed_file_is_named_and_the_status_is_1(tmp_path: Path) -> None:
    run("add", str(make_model(tmp_path / "one")), "--json")
    file = tmp_path / "home" / "models" / "one" / "vae" / "diffusion_pytorch_model.safetensors"
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data[:-1] + b"\x01")
    rows = run("check", "one", "--json", status=1)
    assert [row["file"] for row in rows if row["state"] == "changed"] == [
        "vae/diffusion_pytorch_model.safetensors"
    ]


def test_offline_a_pull_is_refused_and_a_folder_still_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(StudioError) as caught:
        run("pull", "brand/tiny")
    assert caught.value.code == "hub_offline"
    assert run("add", str(make_model(tmp_path / "one")), "--json")[0]["name"] == "one"
