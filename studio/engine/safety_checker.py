"""The safety checker of the Stable Diffusion family: is a picture too much like one of 17 kept concepts?"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch.nn.functional import cosine_similarity

from studio.errors import EngineError

if TYPE_CHECKING:
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessor

FILES = ("config.json", "model.safetensors", "preprocessor_config.json")
CARE = 0.01  # what diffusers adds to every concept once one that asks for special care was seen
WHOLE = [0.0, 0.0, 1.0, 1.0]


class SafetyChecker:
    """Reads `folder` when the first picture comes, and is nothing while there is none. For one thread."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._folder, self._device = folder, device
        self._loaded: tuple[StableDiffusionSafetyChecker, CLIPImageProcessor] | None = None

    def look(self, png: bytes) -> tuple[Mapping[str, Any], ...]:
        """As schema.Rendered has checks; () where none is installed. A score is a cosine, a hit one above the
        threshold that the checkpoint holds for that concept. Raises EngineError where it cannot be read: a
        picture that should have been looked at is not given out unseen.
        """
        if not self._folder.is_dir():
            return ()
        if self._loaded is None:
            self._loaded = _load(self._folder, self._device)
        network, processor = self._loaded
        picture = Image.open(io.BytesIO(png), formats=["PNG"]).convert("RGB")
        pixels = processor(images=picture, return_tensors="pt")["pixel_values"].to(self._device)
        with torch.inference_mode():
            seen = network.visual_projection(network.vision_model(pixels)[1])
            care = cosine_similarity(seen, network.special_care_embeds) - network.special_care_embeds_weights
            cosines = cosine_similarity(seen, network.concept_embeds)
            more = CARE if bool((care.round(decimals=3) > 0).any()) else 0.0
            over = (cosines - network.concept_embeds_weights + more).round(decimals=3) > 0
        findings = [
            {"match": f"concept {number + 1}", "score": round(float(cosines[number]), 3), "box": WHOLE}
            for number in over.nonzero().flatten().tolist()
        ]
        return ({"check": "safety", "looked_for": len(cosines), "findings": findings, "done": ""},)


def _load(folder: Path, device: torch.device) -> tuple[StableDiffusionSafetyChecker, CLIPImageProcessor]:
    """float32, as its thresholds were set. Only safetensors, only what lies there, and all of it."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessor

    missing = [name for name in FILES if not (folder / name).is_file()]
    try:
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
        network, told = StableDiffusionSafetyChecker.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, output_loading_info=True, dtype=torch.float32
        )
        if told["missing_keys"] or told["mismatched_keys"]:
            count = len(told["missing_keys"]) + len(told["mismatched_keys"])
            raise ValueError(f"{count} of its tensors are missing or of another shape")
        processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        why = str(error) if isinstance(error, ValueError) and str(folder) not in str(error) else "unreadable"
        raise EngineError(
            f"The safety checker in models/safety-checker cannot be used: {why[:200]}.",
            hint="Put the whole folder there (config.json, model.safetensors, preprocessor_config.json), "
            "or take it away.",
        ) from error
    return network.to(device).eval(), processor
