"""The benches' own paths, on tiny networks: that they run, not what they say."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench import gpu
from studio.engine.backends import Call
from studio.settings import ROOT


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Scripts in bench/ import each other by their names alone."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    yield
    for name in [name for name, module in sys.modules.items() if _lies_in_bench(module)]:
        del sys.modules[name]


def _lies_in_bench(module: object) -> bool:
    file = getattr(module, "__file__", None)
    return (
        bool(file)
        and Path(str(file)).parent == ROOT / "bench"
        and "bench." not in getattr(module, "__name__", "")
    )


def test_every_stage_of_the_gpu_bench_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--device", "cpu", "--tiny", "--rounds", "1", "--out", str(tmp_path)]) == 0
    told = json.loads((tmp_path / "gpu.json").read_text())
    stages = {(one["kind"], one["stage"], one["pictures"]): one for one in told["figures"]}
    assert len(stages) == len(gpu.STAGES)
    assert all(one["ms"] > 0 and one["speed"] > 0 and one["floor"] > 0 for one in stages.values()), told
    assert (tmp_path / "gpu.png").read_bytes()[:4] == b"\x89PNG"
    assert "x diffusers" in capsys.readouterr().out


def test_without_a_gpu_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    assert "No GPU is here" in capsys.readouterr().out


def test_what_the_clock_does_not_allow_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu.main(["--device", "cpu", "--tiny", "--minutes", "0", "--out", str(tmp_path)]) == 0
    assert "left out, the time is over" in capsys.readouterr().out


def test_rows_filled_up_give_what_they_give_alone() -> None:
    rows = torch.arange(3.0).view(3, 1, 1, 1)
    seen: list[int] = []

    def predict(call: Call) -> torch.Tensor:
        seen.append(len(call.rows))
        return call.rows * 2 + call.moments.view(-1, 1, 1, 1)

    call = Call(
        rows, torch.arange(3.0), torch.zeros(3, 77, 4), None, {"text_embeds": torch.zeros(3, 4)}, ({},) * 3
    )
    assert torch.equal(gpu.filled(predict)(call), predict(call))
    assert seen == [8, 3]


def test_the_trace_shows_decoding_beside_steps(beside: None, tmp_path: Path) -> None:
    import timeline

    events, said = timeline.trace(2, 2, tmp_path, px=64)
    names = [one["name"] for one in events]
    assert {"encode texts", "UNet call", "scheduler step", "decode picture", "thread_name"} == set(names)
    engine = {one["tid"] for one in events if one["name"] == "UNet call"}
    decoder = {one["tid"] for one in events if one["name"] == "decode picture"}
    assert len(engine) == len(decoder) == 1 and engine != decoder
    assert "of decoding lies beside" in said
    assert json.loads(timeline.save(tmp_path, events).read_text())["traceEvents"] == events


def test_overlap_is_the_share_that_lies_in_the_others(beside: None) -> None:
    import timeline

    assert timeline.overlap([(0, 4)], [(1, 2), (3, 6)]) == 0.5
    assert timeline.overlap([], [(0, 1)]) == 0


def test_growth_gives_figures_a_reason_and_a_chart(
    beside: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import charts
    import growth

    monkeypatch.setattr(growth, "LORAS", (0, 1, 2))
    found = growth.all_of(("rows", "loras"), "pocket", 64, 1, 1, 2, "float32")
    assert [one["name"] for one in found] == ["rows", "loras"]
    assert all(
        len(one["counts"]) == len(one["rate"]) and min(one["rate"]) > 0 and one["reason"] for one in found
    )
    charts.all_of(tmp_path, [], found)
    assert {file.name for file in tmp_path.iterdir()} == {"growth-rows.png", "growth-loras.png"}
