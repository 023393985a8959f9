"""The safety checker: real files of its layout with random weights, in the real engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from drive import Shelf, ask, finish, photo, png
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPImageProcessor

from studio.engine import Engine
from studio.engine.safety_checker import SafetyChecker
from studio.errors import EngineError
from studio.schema import Event, Failed, Rendered
from studio.settings import Settings

TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
CPU = torch.device("cpu")


def network() -> StableDiffusionSafetyChecker:
    torch.manual_seed(0)
    vision = {**TOWER, "image_size": 28, "patch_size": 14, "projection_dim": 16}
    text = {**TOWER, "vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1, "projection_dim": 16}
    made = StableDiffusionSafetyChecker(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16))
    for embeddings in (made.concept_embeds, made.special_care_embeds):
        embeddings.data = torch.randn_like(embeddings)
    return made.eval()


def save(folder: Path, made: StableDiffusionSafetyChecker) -> Path:
    """As the published checkpoint has it: its vision tower's names hold `vision_model` twice."""
    made.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    twice = {
        f"vision_model.{name}" if name.startswith("vision_model.") else name: tensor
        for name, tensor in weights.items()
    }
    save_file(twice, folder / "model.safetensors", metadata={"format": "pt"})
    told = {"crop_size": 28, "do_center_crop": True, "do_normalize": True, "do_resize": True, "size": 28}
    told |= {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28], "resample": 3}
    kind = {"feature_extractor_type": "CLIPFeatureExtractor", "image_processor_type": "CLIPImageProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(told | kind))
    return folder


def prepared(folder: Path, seed: int) -> torch.Tensor:
    processor = CLIPImageProcessor.from_pretrained(folder)
    return processor(images=photo(seed, 64), return_tensors="pt")["pixel_values"]


def cosines(made: StableDiffusionSafetyChecker, folder: Path, seed: int) -> torch.Tensor:
    """(20,): of the 17 concepts and the 3 of special care."""
    pixels = prepared(folder, seed)
    with torch.inference_mode():
        seen = made.visual_projection(made.vision_model(pixels)[1])
        known = torch.cat([made.concept_embeds, made.special_care_embeds])
        return torch.nn.functional.normalize(seen) @ torch.nn.functional.normalize(known).T


def test_it_says_what_diffusers_says(tmp_path: Path) -> None:
    made = network()
    for threshold, care in ((0.3, 2.0), (0.5, 2.0), (0.9, 2.0)):
        made.concept_embeds_weights.data.fill_(threshold)
        made.special_care_embeds_weights.data.fill_(care)
        folder = save(tmp_path / str(threshold), made)
        checker = SafetyChecker(folder, CPU)
        for seed in range(4):
            alike = cosines(made, folder, seed)[0, :17]
            (told,) = checker.look(png(photo(seed, 64)))
            want = [f"concept {n + 1}" for n in range(17) if round(float(alike[n]) - threshold, 3) > 0]
            assert [one["match"] for one in told["findings"]] == want and told["looked_for"] == 17
            _, black = made(prepared(folder, seed), [torch.ones(1)])
            assert black == [bool(want)]


def test_special_care_lowers_every_threshold(tmp_path: Path) -> None:
    made = network()
    alike = cosines(made, save(tmp_path / "any", made), 0)[0]
    made.concept_embeds_weights.data[:] = alike[:17] + 0.005
    for name, care, hits in (("with", -2.0, 17), ("without", 2.0, 0)):
        made.special_care_embeds_weights.data.fill_(care)
        (told,) = SafetyChecker(save(tmp_path / name, made), CPU).look(png(photo(0, 64)))
        assert len(told["findings"]) == hits


@pytest.fixture
def engine(shelf: Shelf, tmp_path: Path) -> Iterator[Engine]:
    made = Engine(Settings(device="cpu", model="sd", home=tmp_path), shelf)  # type: ignore[arg-type]
    yield made
    made.close()


def run(engine: Engine) -> list[Event]:
    engine.submit("job", ask(steps=1), {})
    return [event for _, event in finish(engine)]


def test_a_picture_of_the_engine_tells_what_it_hit(engine: Engine, tmp_path: Path) -> None:
    """Put there while the engine runs: the next picture is looked at."""
    assert [event.checks for event in run(engine) if isinstance(event, Rendered)] == [()]
    made = network()
    made.concept_embeds_weights.data.fill_(2.0)
    made.concept_embeds_weights.data[3] = -2.0
    save(tmp_path / "models" / "safety-checker", made)
    (picture,) = [event for event in run(engine) if isinstance(event, Rendered)]
    (told,) = picture.checks
    assert (told["check"], told["looked_for"], told["done"]) == ("safety", 17, "")
    assert [(one["match"], one["box"]) for one in told["findings"]] == [("concept 4", [0.0, 0.0, 1.0, 1.0])]


@pytest.mark.parametrize("lacks", ["preprocessor_config.json", "a tensor"])
def test_no_picture_passes_a_checker_that_cannot_be_read(engine: Engine, tmp_path: Path, lacks: str) -> None:
    folder = save(tmp_path / "models" / "safety-checker", network())
    if lacks == "a tensor":
        weights = load_file(folder / "model.safetensors")
        del weights["concept_embeds"]
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        (folder / lacks).unlink()
    events = run(engine)
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert not any(isinstance(event, Rendered) for event in events)
    assert "models/safety-checker" in failed.error["message"] and str(tmp_path) not in str(failed.error)
    with pytest.raises(EngineError, match="preprocessor_config" if "json" in lacks else "1 of its tensors"):
        SafetyChecker(folder, CPU).look(png(photo()))
