"""Weights in 8 bits: half the memory of bfloat16, every path of the engine, and how far pictures move."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from drive import Shelf, ask, difference, finish, photo, png
from PIL import Image

from studio.engine import Engine, int8, weights
from studio.engine.backends import Call, Eager
from studio.models import Models
from studio.models.forecast import Shapes
from studio.schema import Control, LoraRef, Rendered
from studio.settings import ROOT, Settings

CPU = torch.device("cpu")
POCKET = ROOT / "assets" / "models" / "pocket"


def test_rounding_is_by_channel() -> None:
    weight = (
        torch.randn(8, 64, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 3, 8)[:, None]
    )
    small = int8.rounded(weight)
    assert small is not None
    back = small[0].float() * small[1][:, None]
    assert small[0].dtype == torch.int8
    assert float(((back - weight).norm(dim=1) / weight.norm(dim=1)).max()) < 0.012
    assert int8.rounded(torch.full((2, 2), float("nan"))) is None


def test_a_layer_with_a_wild_weight_keeps_its_type() -> None:
    layer = torch.nn.Linear(64, 64)
    with torch.no_grad():
        layer.weight[:, 0] = 0
        layer.weight[:, 1:] = torch.randn(64, 63) * 0.01
        layer.weight[:, 5] = 1.0
    assert int8.rounded(layer.weight.data) is None


@pytest.fixture(scope="module")
def bundles() -> dict[str, weights.ModelBundle]:
    row = Models(Settings()).get("pocket")
    return {
        name: weights.load(row, CPU, torch.bfloat16, None, name == "int8") for name in ("bfloat16", "int8")
    }


def test_the_pocket_model_takes_55_percent_of_its_bytes(bundles: dict[str, weights.ModelBundle]) -> None:
    eight = bundles["int8"]
    assert eight.weight_bytes <= 0.55 * bundles["bfloat16"].weight_bytes
    kept = {type(module) for module in eight.vae.modules()}
    assert not kept & {int8.Int8Linear, int8.Int8Conv2d}
    assert type(eight.unet.conv_in) is torch.nn.Conv2d and type(eight.unet.conv_out) is torch.nn.Conv2d
    told = Shapes(POCKET).weights("int8")
    assert told == pytest.approx(eight.weight_bytes, rel=0.05)


@torch.inference_mode()
def test_a_step_is_near_bfloat16s(bundles: dict[str, weights.ModelBundle]) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 4, 32, 32, generator=generator).bfloat16()
    text = torch.randn(2, 77, 160, generator=generator).bfloat16()
    call = Call(noise, torch.tensor([800.0, 200.0]), text, None, None, ({}, {}))
    eight, sixteen = (Eager(bundles[name]).predict(call) for name in ("int8", "bfloat16"))
    assert difference(eight, sixteen) < 0.03
    assert Eager(bundles["int8"]).name == "int8"


@pytest.fixture
def engine(shelf: Shelf) -> Iterator[Engine]:
    made = Engine(Settings(device="cpu", backend="int8", model="sd"), shelf)  # type: ignore[arg-type]
    yield made
    made.close()


def test_loras_and_canny_run_on_it_and_pictures_say_so(engine: Engine) -> None:
    inputs = {"p": png(photo())}
    plain = ask(control=Control(image="p", scale=0.5))
    engine.submit("a", plain, inputs)
    engine.submit("b", plain.model_copy(update={"loras": (LoraRef(name="warm", weight=1.0),)}), inputs)
    engine.submit("c", plain, inputs)
    found = {name: event for name, event in finish(engine) if isinstance(event, Rendered)}
    assert set(found) == {"a", "b", "c"}
    assert found["a"].notes == ("int8",) and engine.status().backend == "int8"
    pixels = {
        name: np.asarray(Image.open(io.BytesIO(event.data))).astype(int) for name, event in found.items()
    }
    assert np.abs(pixels["a"] - pixels["b"]).max() > 8
    assert np.abs(pixels["a"] - pixels["c"]).max() <= 1
