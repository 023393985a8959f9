from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import Decoder
from drive import Bench, ask
from PIL import Image

from studio.catalog import SCHEDULERS
from studio.engine import preview
from studio.engine.decode import finish
from studio.engine.denoise import step
from studio.errors import NumericalError, OutOfMemory


@pytest.fixture
def latents(bench: Bench) -> torch.Tensor:
    """Of 32 x 32 px, four times the size of the tiny VAE's tiles."""
    torch.manual_seed(0)
    return torch.randn(1, 4, 16, 16)


def shown(data: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(data))).astype(int)


def test_pixels_equal_those_of_the_pipeline(bench: Bench, latents: torch.Tensor) -> None:
    bundle = bench.bundle("sd")
    with torch.inference_mode():
        done = finish(latents, bundle, 1.0)
        plain = bundle.vae.decode(latents / bundle.vae.config.scaling_factor).sample[0]
    wanted = ((plain * 0.5 + 0.5).clamp(0, 1) * 255).round().movedim(0, -1).numpy()
    assert np.array_equal(shown(done.png), wanted)
    assert done.notes == ()


def test_latents_that_are_not_numbers_are_counted(bench: Bench, latents: torch.Tensor) -> None:
    latents[0, 0, 0, :3] = float("nan")
    with pytest.raises(NumericalError, match="3 of 1024"):
        finish(latents, bench.bundle("sd"), 1.0)


def break_decoder(monkeypatch: pytest.MonkeyPatch, broken: Any) -> None:
    """`broken(z)` says for which latents the decoder runs out of memory (True) or overflows (nan)."""
    plain = Decoder.forward

    def forward(self: Decoder, z: torch.Tensor, *args: object) -> torch.Tensor:
        fault = broken(z)
        if fault is True:
            raise torch.OutOfMemoryError("no room")
        picture: torch.Tensor = plain(self, z, *args)
        return picture * fault if fault else picture

    monkeypatch.setattr(Decoder, "forward", forward)


def test_out_of_memory_is_met_with_tiles(
    bench: Bench, latents: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bench.bundle("sd")
    break_decoder(monkeypatch, lambda z: z.shape[-1] > 8)
    with torch.inference_mode():
        done = finish(latents, bundle, 1.0)
    assert (done.width, done.height, done.notes) == (32, 32, ("tiled_decode",))
    assert not bundle.vae.use_tiling  # the model itself is as before


def test_no_memory_even_for_tiles_is_told_with_the_size(
    bench: Bench, latents: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_decoder(monkeypatch, lambda z: True)
    with pytest.raises(OutOfMemory, match="32 x 32 px"), torch.inference_mode():
        finish(latents, bench.bundle("sd"), 1.0)


def test_an_overflow_in_half_precision_is_mended_in_float32(
    bench: Bench, latents: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bench.bundle("sd")
    half = AutoencoderKL.from_config(bundle.vae.config)
    half.load_state_dict(bundle.vae.state_dict())
    half = half.to(torch.bfloat16).eval()
    wanted = finish(latents, bundle, 1.0)
    break_decoder(monkeypatch, lambda z: float("nan") if z.dtype == torch.bfloat16 else None)
    with torch.inference_mode():
        done = finish(latents, replace(bundle, vae=half), 1.0)
    assert done.notes == ("float32_decode",)
    assert half.dtype == torch.bfloat16
    assert np.abs(shown(done.png) - shown(wanted.png)).mean() < 8  # weights were rounded to 8 bits


def test_an_overflow_in_float32_too_fails(
    bench: Bench, latents: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_decoder(monkeypatch, lambda z: float("nan"))
    with pytest.raises(NumericalError, match="float32"), torch.inference_mode():
        finish(latents, bench.bundle("sd"), 1.0)


def test_preview_factors_find_the_colours_in_latents() -> None:
    """A VAE whose latents are mixed colours at a quarter of the size: the mixture is undone."""
    mixed = LinearVae()
    picture = preview.swatches(32)[5:6]
    colours = torch.nn.functional.avg_pool2d(picture, 4)
    latents = mixed.encode(picture * 2 - 1).latent_dist.mode() * mixed.config.scaling_factor
    factors = preview.fit(mixed)
    guessed = latents.movedim(1, -1) @ factors[:-1] + factors[-1]
    assert float((guessed.movedim(-1, 1) - colours).abs().max()) < 0.05
    with Image.open(io.BytesIO(preview.picture(latents[0], factors, 4))) as shown_:
        assert shown_.size == (32, 32)
        assert np.abs(np.asarray(shown_) / 255 - picture[0].movedim(0, -1).numpy()).mean() < 0.05


class LinearVae(torch.nn.Module):
    config = SimpleNamespace(
        scaling_factor=0.5, block_out_channels=(8, 8, 8), latents_mean=None, latents_std=None
    )

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mixing = torch.nn.Parameter(torch.randn(4, 3), requires_grad=False)

    def encode(self, picture: torch.Tensor) -> SimpleNamespace:
        small = torch.nn.functional.avg_pool2d(picture, 4)
        latents = torch.einsum("cr,nrhw->nchw", self.mixing, small) + 0.3
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: latents))


def test_a_guess_at_the_first_step_already_resembles_the_end(bench: Bench) -> None:
    """With a prediction that knows the answer, every kind of scheduler foresees exactly it."""
    target = torch.full((1, 4, 8, 8), 0.5)
    for name in SCHEDULERS:
        sample = bench.sample(ask(scheduler=name, guidance=1.0, steps=10))
        time = sample.times[0]
        inputs = sample.scheduler.scale_model_input(sample.latents, time)
        alpha = float(sample.scheduler.alphas_cumprod[int(time)])
        noise = (inputs - alpha**0.5 * target) / (1 - alpha) ** 0.5
        with torch.inference_mode():
            step(sample, noise, foresee=True)
        assert sample.guess is not None
        assert float((sample.guess - target).abs().max()) < 0.02, name
