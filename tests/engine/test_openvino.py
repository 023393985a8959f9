"""OpenVINO's graphs give what PyTorch's networks give: LoRA rows, canny rows and mixed ones included."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from drive import Bench, Shelf, ask, difference, finish, photo, png

from studio.engine import Engine, weights
from studio.engine.backends import convert, openvino_core, workshop
from studio.engine.backends.choice import Choice
from studio.engine.backends.networks import Networks
from studio.engine.backends.openvino_networks import OpenVinoNetworks
from studio.engine.backends.workshop import Workshop
from studio.engine.denoise import advance, batch
from studio.engine.sample import begin
from studio.schema import Control, Done, LoraRef, Rendered, ResolvedRequest
from studio.settings import Settings

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="the extra openvino is not installed"
)

EXACT = 1e-3  # relative L2 with arithmetic in float32: the weights are kept as float16, 2 ** -11 each
# In bfloat16, random weights, as PyTorch (1.4e-2). 3.3e-2 where the graph takes the sines of times itself.
HALF = 2e-2
SECONDS = 540  # for a niced conversion on a busy machine; 20 s on an idle one
WARM = LoraRef(name="warm", weight=0.6)
COLD = LoraRef(name="cold", weight=-0.4)
CANNY = Control(image="p", scale=0.7)
ROWS: dict[str, list[ResolvedRequest]] = {
    "one guided": [ask()],
    "a LoRA": [ask(loras=(WARM,))],
    "canny": [ask(control=CANNY)],
    "another size": [ask(width=32, height=48)],
    "mixed": [
        ask(seed=1),
        ask(seed=2, guidance=1.0, loras=(WARM, COLD)),
        ask(seed=3, scheduler="euler", loras=(COLD,)),
    ],
    "mixed canny": [ask(control=CANNY), ask(control=CANNY, loras=(WARM, COLD), seed=9)],
    "an odd size": [ask(width=24, height=40)],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shelf: Shelf) -> Path:
    """The tiny model's graphs."""
    home = tmp_path_factory.mktemp("graphs")
    convert.export(weights.load(shelf.get("sd"), torch.device("cpu"), torch.float32), home)
    return home


@pytest.fixture(scope="module")
def made(bench: Bench, folder: Path) -> Iterator[Networks]:
    """Computing in float32."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openvino_core, "fast_bfloat16", lambda: False)
        yield OpenVinoNetworks(bench.bundle("sd"), folder)


def predicted(bench: Bench, requests: list[ResolvedRequest], networks: Networks | None) -> torch.Tensor:
    inputs = {"p": png(photo())}
    with torch.inference_mode():
        samples = []
        for request in requests:
            bundle = bench.bundle(request.model)
            conditions = bench.conditioner.prepare(request, inputs, bundle, ())
            samples.append(begin("job", 0, request, bundle, conditions, networks))
        return advance(batch(samples))


@pytest.mark.parametrize("rows", ROWS)
def test_graphs_equal_pytorch(rows: str, bench: Bench, made: Networks) -> None:
    exact = predicted(bench, ROWS[rows], None)
    assert difference(predicted(bench, ROWS[rows], made), exact) < EXACT


def test_a_weight_changes_a_number_and_no_graph(bench: Bench, made: Any) -> None:
    predicted(bench, ROWS["a LoRA"], made)
    before = set(made._unet._made)
    other = [ask(loras=(LoraRef(name="warm", weight=0.1),))]
    assert difference(predicted(bench, other, made), predicted(bench, other, None)) < EXACT
    assert set(made._unet._made) == before


def test_decoding_equals_pytorch(bench: Bench, made: Networks) -> None:
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        exact = bench.bundle("sd").vae.decode(latents, return_dict=False)[0]
        assert difference(made.decode(latents), exact) < EXACT


def test_in_bfloat16_graphs_stay_near(bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_core, "fast_bfloat16", lambda: True)
    half, rows = OpenVinoNetworks(bench.bundle("sd"), folder), [ask(guidance=1.0, loras=(WARM,))]
    assert difference(predicted(bench, rows, half), predicted(bench, rows, None)) < HALF


@pytest.mark.timeout(SECONDS + 60)
def test_graphs_are_made_beside_serving_once_for_a_model(
    bench: Bench, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bench.bundle("sd")
    shop = Workshop(Settings(home=tmp_path), Choice("openvino"))
    shop.take(shelf.get("sd"), bundle)
    assert shop.networks(bundle).name == "float32"
    until = time.monotonic() + SECONDS
    while shop.networks(bundle).name != "openvino" and time.monotonic() < until:
        time.sleep(0.1)
    assert shop.networks(bundle).name == "openvino"

    monkeypatch.setattr(workshop.subprocess, "Popen", lambda *a, **k: pytest.fail("converted again"))
    again = Workshop(Settings(home=tmp_path), Choice("openvino"))
    again.take(shelf.get("sd"), bundle)
    assert again.networks(bundle).name == "openvino"  # at once: they only had to be read


def test_no_graphs_that_nobody_asked_for_are_made_where_memory_is_short(
    bench: Bench, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bench.bundle("sd")
    monkeypatch.setattr(workshop, "_Maker", lambda *given: pytest.fail("made"))
    monkeypatch.setattr(workshop.memory, "budget", lambda *given: 4 * bundle.weight_bytes)
    shop = Workshop(Settings(home=tmp_path), Choice("openvino"))
    shop.take(shelf.get("sd"), bundle)
    assert shop.networks(bundle).name == "float32"
    with pytest.raises(pytest.fail.Exception, match="made"):
        Workshop(Settings(home=tmp_path), Choice("openvino", forced=True)).take(shelf.get("sd"), bundle)


def test_a_conversion_that_fails_leaves_pytorch_at_work(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workshop.sys, "executable", "/bin/false")
    settings = Settings(home=tmp_path, device="cpu", model="sd", backend="openvino")
    engine = Engine(settings, shelf)  # type: ignore[arg-type]
    engine.submit("a", ask(), {})
    events = [event for _, event in finish(engine)]
    engine.close()
    assert isinstance(events[-1], Done)
    assert not list((tmp_path / "cache" / "openvino").glob("*/*"))


def test_a_running_job_keeps_its_networks(shelf: Shelf, tmp_path: Path) -> None:
    """Graphs that become ready in the middle of a picture are for the next one."""
    settings = Settings(home=tmp_path, device="cpu", model="sd", backend="float32")
    engine = Engine(settings, shelf)  # type: ignore[arg-type]
    engine.submit("a", ask(), {})
    engine.tick()
    begun = engine._running["a"].networks
    engine._workshop.networks = lambda bundle: pytest.fail("asked again")  # type: ignore[method-assign]
    (rendered,) = [event for _, event in finish(engine) if isinstance(event, Rendered)]
    engine.close()
    assert begun is not None and rendered.notes == ()


def test_openvino_sends_no_reports() -> None:
    """Its converter would: unless this package is missing, or, as here, looks it."""
    openvino_core.openvino()
    assert sys.modules["openvino_telemetry"] is None
