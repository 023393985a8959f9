"""Backends: which one a machine gets, and how far the fast ones are from float32."""

from __future__ import annotations

import importlib.util
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drive import Bench, Shelf, ask, difference, finish, photo, png
from PIL import Image
from pydantic import ValidationError

from studio.engine import Engine
from studio.engine.backends import choice
from studio.engine.backends.choice import Choice, choose
from studio.engine.backends.trial import Trial
from studio.engine.denoise import advance, batch
from studio.engine.sample import Sample
from studio.errors import EngineError
from studio.models import Models
from studio.schema import Control, LoraRef, Rendered, ResolvedRequest
from studio.settings import Settings

CPU = torch.device("cpu")
HALF = 2e-2  # relative L2 of one UNet output with random weights: bfloat16 keeps 8 bits of a number
SEEN = 40.0  # dB between pictures of the pocket model; 52 to 56 were measured over 12 pictures of 20 steps

REQUESTS = {
    "plain": ask(guidance=1.0),
    "mixed": ask(
        guidance=1.0,
        seed=3,
        loras=(LoraRef(name="warm", weight=0.3), LoraRef(name="cold", weight=0.2)),
        control=Control(image="p", scale=0.5),
    ),
}


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.dtype]]:
    """A machine on which bfloat16 takes half the time, without OpenVINO; and what was measured on it."""
    asked: list[dict[str, torch.dtype]] = []

    def measure(dtypes: dict[str, torch.dtype]) -> dict[str, float]:
        asked.append(dtypes)
        return {"float32": 0.04, "bfloat16": 0.02}

    monkeypatch.setattr(choice, "measure", measure)
    monkeypatch.setattr(choice, "fast_bfloat16", lambda: True)
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    return asked


def predicted(sample: Sample) -> torch.Tensor:
    with torch.inference_mode():
        return advance(batch([sample]))


def shown(home: Path, backend: str, request: ResolvedRequest) -> np.ndarray[Any, Any]:
    settings = Settings(home=home, device="cpu", backend=backend)
    engine = Engine(settings, Models(settings))
    engine.submit("a", request, {})
    (rendered,) = [event for _, event in finish(engine) if isinstance(event, Rendered)]
    engine.close()
    return np.asarray(Image.open(io.BytesIO(rendered.data))).astype(float)


def psnr(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> float:
    return float(10 * np.log10(255**2 / ((first - second) ** 2).mean()))


def auto(home: Path) -> Settings:
    return Settings(home=home, backend="auto")


def test_the_faster_row_is_chosen_once_and_kept(tmp_path: Path, fast: list[object]) -> None:
    first, second = choose(auto(tmp_path), CPU), choose(auto(tmp_path), CPU)
    assert first == second == Choice("bfloat16", {"float32": 0.04, "bfloat16": 0.02})
    assert len(fast) == 1


def test_another_machine_is_measured_again(tmp_path: Path, fast: list[object]) -> None:
    choose(auto(tmp_path), CPU)
    kept = json.loads(choice.choice_file(tmp_path).read_text())
    choice.choice_file(tmp_path).write_text(json.dumps(kept | {"machine": "another"}))
    choose(auto(tmp_path), CPU)
    assert len(fast) == 2


@pytest.mark.parametrize("text", ["", "[]", '{"backend": "warp"}', "\x00"])
def test_a_broken_note_is_measured_anew(tmp_path: Path, fast: list[object], text: str) -> None:
    choice.choice_file(tmp_path).write_text(text)
    assert choose(auto(tmp_path), CPU).name == "bfloat16"


def test_a_small_gain_does_not_give_up_exactness(
    tmp_path: Path, fast: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "measure", lambda dtypes: {"float32": 0.040, "bfloat16": 0.039})
    assert choose(auto(tmp_path), CPU).name == "float32"


def test_openvino_is_taken_where_it_was_measured_faster_and_not_into_a_memory_limit(
    tmp_path: Path, fast: list[object]
) -> None:
    seconds = {"float32": 0.04, "bfloat16": 0.02, "openvino": 0.01}
    choice.keep(tmp_path, Choice(choice.fastest(seconds), seconds))
    assert choose(auto(tmp_path), CPU).name == "openvino"
    assert choose(Settings(home=tmp_path, backend="auto", memory="4GiB"), CPU).name == "bfloat16"
    assert choice.fastest(seconds | {"openvino": 0.019}) == "bfloat16"
    assert not fast


def test_the_trial_is_kept_for_the_next_start(
    tmp_path: Path, fast: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real process with a real graph: half a minute of a busy core."""
    if importlib.util.find_spec("openvino") is None:  # importing it here would let its reports in
        pytest.skip("the extra openvino is missing")
    first = choose(auto(tmp_path), CPU)
    thread = Trial(auto(tmp_path), first).start(delay=0)
    assert thread is not None
    thread.join()
    kept = choose(auto(tmp_path), CPU)
    assert set(kept.seconds) >= {"float32", "openvino"} and kept.name == choice.fastest(kept.seconds)
    assert Trial(auto(tmp_path), kept).start(delay=0) is None
    assert Trial(auto(tmp_path), replace(first, forced=True)).start(delay=0) is None


def test_a_cpu_without_bfloat16_is_not_tried_with_it(
    tmp_path: Path, fast: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "fast_bfloat16", lambda: False)
    assert choose(auto(tmp_path), CPU) == Choice("float32")
    assert not fast


def test_what_is_asked_for_is_not_measured(tmp_path: Path, fast: list[object]) -> None:
    assert choose(Settings(home=tmp_path, backend="float32"), CPU) == Choice("float32", forced=True)
    assert not fast and not choice.choice_file(tmp_path).exists()


def test_a_backend_that_is_not_installed_is_refused_with_the_command(
    tmp_path: Path, fast: list[object]
) -> None:
    with pytest.raises(EngineError, match="openvino is not installed") as caught:
        choose(Settings(home=tmp_path, backend="openvino"), CPU)
    assert "pip install" in caught.value.hint


def test_a_backend_of_another_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="does not run on cpu"):
        choose(Settings(home=tmp_path, backend="float16"), CPU)


def test_an_unknown_backend_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="not one of auto, float32"):
        Settings(home=tmp_path, backend="warp")


def test_the_stand_in_gives_a_figure_for_each_row() -> None:
    assert choice.measure({"float32": torch.float32})["float32"] > 0


@pytest.mark.parametrize("request_name", REQUESTS)
def test_bfloat16_stays_near_float32(bench: Bench, shelf: Shelf, request_name: str) -> None:
    request, inputs = REQUESTS[request_name], {"p": png(photo())}
    exact, half = (predicted(one.sample(request, inputs)) for one in (bench, Bench(shelf, torch.bfloat16)))
    assert 0 < difference(half, exact) < HALF


def test_a_picture_of_the_pocket_model_hardly_changes_in_bfloat16(tmp_path: Path) -> None:
    request = ask(model="pocket", width=128, height=128, steps=8, guidance=3.0, negative_prompt="")
    exact, half = (shown(tmp_path, backend, request) for backend in ("float32", "bfloat16"))
    assert psnr(exact, half) > SEEN


def test_a_picture_says_that_it_was_made_in_bfloat16(shelf: Shelf, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, device="cpu", model="sd", backend="bfloat16")
    engine = Engine(settings, shelf)  # type: ignore[arg-type]
    engine.submit("a", ask(), {})
    (rendered,) = [event for _, event in finish(engine) if isinstance(event, Rendered)]
    status = engine.status()
    engine.close()
    assert rendered.notes == ("bfloat16",)
    assert (status.backend, status.backends, status.dtype) == ("bfloat16", {"sd": "bfloat16"}, "bfloat16")
