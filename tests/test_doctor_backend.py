"""The doctor shows which backend was chosen and by what figures, without importing torch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio import doctor
from studio.settings import Settings


def test_the_measured_choice_is_shown_with_its_figures(tmp_path: Path) -> None:
    kept = {"backend": "bfloat16", "seconds": {"float32": 0.045, "bfloat16": 0.027}, "machine": "m"}
    (tmp_path / "backend.json").write_text(json.dumps(kept))
    (check,) = doctor.backend(Settings(home=tmp_path, backend="auto"))
    assert check.state == "ok"
    assert "PyTorch bfloat16; a step took: float32 45 ms, bfloat16 27 ms" in check.found


@pytest.mark.parametrize("text", [None, "", "[]", '{"backend": "warp", "seconds": {}}'])
def test_before_the_first_start_nothing_is_claimed(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "backend.json").write_text(text)
    (check,) = doctor.backend(Settings(home=tmp_path, backend="auto"))
    assert check.found.startswith("measured when the studio first starts")


def test_a_backend_that_was_asked_for_and_is_missing_comes_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "installed", lambda name: "")
    (check,) = doctor.backend(Settings(home=tmp_path, backend="openvino"))
    assert check.state == "missing"
    assert 'pip install "brand-studio[openvino]"' in check.mend
