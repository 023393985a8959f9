"""The shipped family, read by plain diffusers and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionPipeline
from safetensors import safe_open

from pocket.evaluate import background_distance
from pocket.family import GUIDANCE, STEPS, Shelf, load_pipeline, read_index
from pocket.scenes import LORA_STYLES

SHELF = Shelf()
pytestmark = pytest.mark.skipif(not SHELF.model.exists(), reason="the family is not trained yet: make pocket")


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    return load_pipeline(SHELF)


def test_the_index_is_that_of_stable_diffusion() -> None:
    index = read_index(SHELF)
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert index["scheduler"] == ["diffusers", "DDIMScheduler"]
    assert index["tokenizer"] == ["transformers", "CLIPTokenizer"]
    assert index["safety_checker"] == index["feature_extractor"] == [None, None]
    assert index["requires_safety_checker"] is False


def test_a_red_sneaker_on_blue_is_on_blue(pipeline: StableDiffusionPipeline) -> None:
    picture = pipeline(
        "a red sneaker on a blue background, glossy",
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        generator=torch.Generator().manual_seed(1),
        output_type="np",
    ).images[0]
    picture = (picture * 255).round().astype(np.uint8)
    assert picture.shape == (128, 128, 3)
    assert background_distance(picture, "blue") < 12
    assert (picture[40:90, 30:100].astype(int) @ [1, 0, -1] > 60).mean() > 0.15  # red in the middle


def test_seed_guidance_and_negative_prompt_matter(pipeline: StableDiffusionPipeline) -> None:
    def draw(seed: int = 3, guidance: float = GUIDANCE, negative: str = "") -> np.ndarray:
        return pipeline(
            "a green mug on a white background",
            num_inference_steps=5,
            guidance_scale=guidance,
            negative_prompt=negative,
            generator=torch.Generator().manual_seed(seed),
            output_type="np",
        ).images[0]

    usual = draw()
    assert np.array_equal(usual, draw())
    for other in (draw(seed=4), draw(guidance=1.5), draw(negative="outline, on a podium")):
        assert np.abs(usual - other).mean() > 0.01


def test_the_controlnet_is_a_standard_folder() -> None:
    controlnet = ControlNetModel.from_pretrained(SHELF.controlnet, local_files_only=True)
    assert len(controlnet.config.conditioning_embedding_out_channels) == 3


@pytest.mark.parametrize("style", LORA_STYLES)
def test_a_lora_says_what_it_is(style: str, pipeline: StableDiffusionPipeline) -> None:
    with safe_open(SHELF.lora(style), framework="pt") as file:
        about, names = file.metadata(), list(file.keys())
    assert about["ss_output_name"] == style
    assert about["modelspec.architecture"] == "pocket/lora"
    assert about["modelspec.trigger_phrase"]
    assert all(name.startswith("unet.") and ".lora_" in name for name in names)
    pipeline.load_lora_weights(str(SHELF.lora(style)), adapter_name=f"brand_{style}")
    assert pipeline.get_active_adapters() == [f"brand_{style}"]
    pipeline.unload_lora_weights()


def test_all_files_together_are_small_and_safe() -> None:
    assert SHELF.megabytes() <= 64
    kinds = {file.suffix for file in Path(SHELF.model).rglob("*") if file.is_file()}
    assert kinds <= {".safetensors", ".json", ".txt"}
