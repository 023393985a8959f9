"""A UNet's graph in 8 bits: it serves what the other one serves, and stays away where it costs too much."""

from __future__ import annotations

import importlib.util
import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from drive import Bench, Shelf, ask, difference, photo, png

from studio.engine import weights
from studio.engine.backends import convert, eight
from studio.engine.backends.networks import Networks
from studio.engine.backends.openvino_core import openvino
from studio.engine.backends.openvino_networks import OpenVinoNetworks
from studio.engine.denoise import advance, batch
from studio.engine.sample import begin
from studio.schema import Control, LoraRef, ResolvedRequest

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("openvino", "nncf"))), reason="the extra openvino-int8 is missing"
)

NEAR = 0.6  # relative L2 of one UNet output with random weights; as far as 8 bits go there
WARM, COLD = LoraRef(name="warm", weight=0.6), LoraRef(name="cold", weight=-0.4)
ROWS: dict[str, list[ResolvedRequest]] = {
    "mixed": [ask(seed=1), ask(seed=2, guidance=1.0, loras=(WARM, COLD)), ask(seed=3, loras=(COLD,))],
    "canny": [ask(control=Control(image="p", scale=0.7), loras=(WARM,))],
}


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    """As in the process that converts: nncf and what it brings remark on each other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def bundle(shelf: Shelf) -> weights.ModelBundle:
    return weights.load(shelf.get("sd"), torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, bundle: weights.ModelBundle) -> Path:
    folder = tmp_path_factory.mktemp("graphs")
    convert.export(bundle, folder)
    return folder


def shrunk(exported: Path, folder: Path, bundle: weights.ModelBundle, least: float) -> Path:
    shutil.copytree(exported, folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eight, "LEAST", least)
        patch.setattr(eight, "STEPS", 2)
        convert.shrink(bundle, folder)
    return folder


@pytest.fixture(scope="module")
def made(
    exported: Path, tmp_path_factory: pytest.TempPathFactory, bundle: weights.ModelBundle, bench: Bench
) -> Networks:
    folder = shrunk(exported, tmp_path_factory.mktemp("small"), bundle, least=0.0)
    return OpenVinoNetworks(bench.bundle("sd"), folder)


def predicted(bench: Bench, requests: list[ResolvedRequest], networks: Networks | None) -> torch.Tensor:
    with torch.inference_mode():
        bundle = bench.bundle("sd")
        samples = []
        for request in requests:
            conditions = bench.conditioner.prepare(request, {"p": png(photo())}, bundle, ())
            samples.append(begin("job", 0, request, bundle, conditions, networks))
        return advance(batch(samples))


@pytest.mark.parametrize("rows", ROWS)
def test_loras_canny_and_mixed_rows_run_in_8_bits(rows: str, bench: Bench, made: Networks) -> None:
    assert made.name == "openvino-int8"
    off = difference(predicted(bench, ROWS[rows], made), predicted(bench, ROWS[rows], None))
    assert 1e-3 < off < NEAR


def test_the_graph_is_half_the_size_or_less(exported: Path, made: OpenVinoNetworks) -> None:
    weights_ = (exported / "unet.bin").stat().st_size
    others = sum(file.stat().st_size for file in exported.glob("*.bin")) - weights_
    assert made._note.bytes - others < 0.75 * weights_  # tiny layers: scales and biases weigh a lot


def test_a_model_whose_pictures_move_too_far_keeps_its_graph(
    exported: Path, tmp_path: Path, bundle: weights.ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eight, "rounded", lambda file, calls: openvino().Core().read_model(file))
    folder = shrunk(exported, tmp_path, bundle, least=1000.0)
    note = json.loads((folder / convert.NOTE).read_text())
    assert not note["eight"] and 0 < note["psnr"] < 1000
    for name in ("unet.xml", "unet.bin"):
        assert (folder / name).read_bytes() == (exported / name).read_bytes()
    assert sorted(file.name for file in folder.iterdir()) == sorted(file.name for file in exported.iterdir())
    assert OpenVinoNetworks(bundle, folder).name == "openvino"
