"""The engine's truth: in float32 it leaves the latents a diffusers pipeline leaves for the same noise."""

from __future__ import annotations

import warnings
from typing import Any

import diffusers
import numpy as np
import pytest
import tiny
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
)
from drive import Bench, Shelf, ask, difference, photo, png
from PIL import Image
from torch import Tensor

from studio.catalog import SCHEDULERS
from studio.edges import canny
from studio.schema import Control, LoraRef, ResolvedRequest

LIMIT = 1e-4
ALL = list(SCHEDULERS)
LORAS = (LoraRef(name="warm", weight=0.8), LoraRef(name="cold", weight=0.3))


class Reference:
    """diffusers itself, from the same folders; a fresh set of modules for each pipeline kind."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._pipes: dict[tuple[str, type], Any] = {}

    def pipe(self, model: str, kind: type) -> Any:
        if (model, kind) not in self._pipes:
            folder = self._shelf.models[model]
            extra: dict[str, Any] = {} if "XL" in kind.__name__ else {"safety_checker": None}
            if "ControlNet" in kind.__name__:
                extra["controlnet"] = ControlNetModel.from_pretrained(folder / "controlnet-canny")
            made = kind.from_pretrained(folder, **extra)  # type: ignore[attr-defined]
            made.set_progress_bar_config(disable=True)
            self._pipes[model, kind] = made, made.scheduler.config
        return self._pipes[model, kind]

    def latents(self, kind: type, request: ResolvedRequest, **extra: Any) -> Tensor:
        pipe, pristine = self.pipe(request.model, kind)
        row = SCHEDULERS[request.scheduler]
        pipe.scheduler = getattr(diffusers, row.diffusers_class).from_config(pristine, **row.options)
        size = {} if "Img2Img" in kind.__name__ else {"width": request.width, "height": request.height}
        left: Tensor = pipe(
            request.prompt,
            negative_prompt=request.negative_prompt or None,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance,
            generator=torch.Generator("cpu").manual_seed(request.seed),
            output_type="latent",
            **size,
            **extra,
        ).images
        return left


@pytest.fixture(scope="module")
def reference(shelf: Shelf) -> Reference:
    return Reference(shelf)


@pytest.fixture(scope="module")
def styled(shelf: Shelf) -> Reference:
    """With both LoRAs at 0.8 and 0.3, the library's own way."""
    made = Reference(shelf)
    pipe, _ = made.pipe("sd", StableDiffusionPipeline)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config`")  # two adapters are what we want
        for name, file in shelf.loras.items():
            pipe.load_lora_weights(file.parent, weight_name=file.name, adapter_name=name)
    pipe.set_adapters(["warm", "cold"], [0.8, 0.3])
    return made


def edges(picture: Image.Image) -> Image.Image:
    return Image.fromarray(canny(np.asarray(picture), 100, 200))


def mask() -> Image.Image:
    chosen = Image.new("L", (tiny.SIDE, tiny.SIDE), 0)
    chosen.paste(255, (4, 4, 12, 14))
    return chosen


@pytest.mark.parametrize("scheduler", ALL)
def test_text_to_image_equals_diffusers(scheduler: str, bench: Bench, reference: Reference) -> None:
    request = ask(scheduler=scheduler)
    assert difference(bench.latents(request), reference.latents(StableDiffusionPipeline, request)) <= LIMIT


@pytest.mark.parametrize("scheduler", ALL)
def test_canny_equals_diffusers(scheduler: str, bench: Bench, reference: Reference) -> None:
    control = Control(image="p", scale=0.8, start=0.25, end=0.8)
    request = ask(scheduler=scheduler, control=control)
    theirs = reference.latents(
        StableDiffusionControlNetPipeline,
        request,
        image=edges(photo()),
        controlnet_conditioning_scale=0.8,
        control_guidance_start=0.25,
        control_guidance_end=0.8,
    )
    ours = bench.latents(request, {"p": png(photo())})
    assert difference(ours, theirs) <= LIMIT
    assert (
        difference(bench.latents(ask(scheduler=scheduler)), theirs) > 10 * LIMIT
    )  # the control did something


@pytest.mark.parametrize("scheduler", ALL)
def test_two_loras_equal_diffusers(scheduler: str, bench: Bench, styled: Reference) -> None:
    request = ask(scheduler=scheduler, loras=LORAS)
    theirs = styled.latents(StableDiffusionPipeline, request)
    assert difference(bench.latents(request), theirs) <= LIMIT
    assert difference(bench.latents(ask(scheduler=scheduler)), theirs) > 10 * LIMIT


@pytest.mark.parametrize("scheduler", ALL)
def test_img2img_equals_diffusers(scheduler: str, bench: Bench, reference: Reference) -> None:
    request = ask(scheduler=scheduler, init_image="p", strength=0.6, steps=5)
    theirs = reference.latents(StableDiffusionImg2ImgPipeline, request, image=photo(), strength=0.6)
    assert difference(bench.latents(request, {"p": png(photo())}), theirs) <= LIMIT


@pytest.mark.parametrize("strength", [0.6, 1.0])
@pytest.mark.parametrize("scheduler", ALL)
def test_inpaint_equals_diffusers(
    scheduler: str, strength: float, bench: Bench, reference: Reference
) -> None:
    request = ask(scheduler=scheduler, init_image="p", mask="m", strength=strength, steps=5)
    theirs = reference.latents(
        StableDiffusionInpaintPipeline, request, image=photo(), mask_image=mask(), strength=strength
    )
    assert difference(bench.latents(request, {"p": png(photo()), "m": png(mask())}), theirs) <= LIMIT


@pytest.mark.parametrize("scheduler", ["ddim", "euler-ancestral"])
def test_inpaint_with_nine_channels_equals_diffusers(
    scheduler: str, bench: Bench, reference: Reference
) -> None:
    request = ask(model="paint", scheduler=scheduler, init_image="p", mask="m", strength=0.8, steps=5)
    theirs = reference.latents(
        StableDiffusionInpaintPipeline, request, image=photo(), mask_image=mask(), strength=0.8
    )
    assert difference(bench.latents(request, {"p": png(photo()), "m": png(mask())}), theirs) <= LIMIT


def test_canny_over_img2img_equals_diffusers(bench: Bench, reference: Reference) -> None:
    request = ask(
        scheduler="heun", init_image="p", strength=0.8, steps=5, control=Control(image="c", scale=0.7)
    )
    theirs = reference.latents(
        StableDiffusionControlNetImg2ImgPipeline,
        request,
        image=photo(),
        control_image=edges(photo(3)),
        strength=0.8,
        controlnet_conditioning_scale=0.7,
    )
    assert difference(bench.latents(request, {"p": png(photo()), "c": png(photo(3))}), theirs) <= LIMIT


@pytest.mark.parametrize("scheduler", ["euler", "dpmpp-2m-karras", "pndm"])
def test_sdxl_equals_diffusers(scheduler: str, bench: Bench, reference: Reference) -> None:
    request = ask(model="xl", scheduler=scheduler)
    assert difference(bench.latents(request), reference.latents(StableDiffusionXLPipeline, request)) <= LIMIT


def test_sdxl_with_an_empty_negative_prompt_equals_diffusers(bench: Bench, reference: Reference) -> None:
    request = ask(model="xl", scheduler="euler", negative_prompt="")
    assert difference(bench.latents(request), reference.latents(StableDiffusionXLPipeline, request)) <= LIMIT


def test_sdxl_canny_equals_diffusers(bench: Bench, reference: Reference) -> None:
    request = ask(model="xl", scheduler="euler-ancestral", control=Control(image="p", scale=0.9, end=0.5))
    theirs = reference.latents(
        StableDiffusionXLControlNetPipeline,
        request,
        image=edges(photo()),
        controlnet_conditioning_scale=0.9,
        control_guidance_end=0.5,
    )
    assert difference(bench.latents(request, {"p": png(photo())}), theirs) <= LIMIT


def test_sdxl_img2img_equals_diffusers(bench: Bench, reference: Reference) -> None:
    request = ask(model="xl", scheduler="kdpm2-ancestral", init_image="p", strength=0.5)
    theirs = reference.latents(StableDiffusionXLImg2ImgPipeline, request, image=photo(), strength=0.5)
    assert difference(bench.latents(request, {"p": png(photo())}), theirs) <= LIMIT


def test_no_guidance_equals_diffusers(bench: Bench, reference: Reference) -> None:
    request = ask(scheduler="lcm", guidance=1.0)
    sample = bench.sample(request)
    assert sample.rows == 1
    assert difference(bench.latents(request), reference.latents(StableDiffusionPipeline, request)) <= LIMIT


def test_v_prediction_comes_from_the_checkpoint(bench: Bench, reference: Reference) -> None:
    request = ask(model="velocity", scheduler="dpmpp-2m")
    assert difference(bench.latents(request), reference.latents(StableDiffusionPipeline, request)) <= LIMIT
    plain = bench.latents(ask(scheduler="dpmpp-2m"))
    assert difference(bench.latents(request), plain) > 10 * LIMIT  # the same weights, read the other way


def test_a_distilled_model_is_told_its_guidance(bench: Bench, reference: Reference) -> None:
    request = ask(model="distilled", scheduler="lcm", guidance=6.0)
    assert bench.sample(request).rows == 1
    ours = bench.latents(request)
    assert difference(ours, reference.latents(StableDiffusionPipeline, request)) <= LIMIT
    assert difference(bench.latents(ask(model="distilled", scheduler="lcm", guidance=2.0)), ours) > 10 * LIMIT
