"""Where the family lives on disk, in the layout every Stable Diffusion 1.5 tool reads."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTokenizer

from pocket.unet import NOISE

ROOT = Path(__file__).resolve().parent.parent
GUIDANCE = 3.0  # the family's own default: higher gives stronger colours and more grain
STEPS = 20


@dataclass(frozen=True)
class Shelf:
    """The folders of one family below `root`."""

    root: Path = ROOT

    @property
    def model(self) -> Path:
        return self.root / "assets" / "models" / "pocket"

    @property
    def controlnet(self) -> Path:
        return self.model / "controlnet-canny"

    @property
    def judge(self) -> Path:
        return self.root / "pocket" / "judge.safetensors"

    def lora(self, style: str) -> Path:
        return self.root / "assets" / "loras" / f"{style}.safetensors"

    def megabytes(self) -> float:
        """Size of all that is shipped, in MB of 1,000,000 bytes."""
        files = [*self.model.rglob("*"), *(self.root / "assets" / "loras").glob("*.safetensors"), self.judge]
        return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def save_family(
    folder: Path,
    tokenizer_files: Path,
    encoder: CLIPTextModel,
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
) -> None:
    """Writes the pipeline folder: float16 safetensors, no safety checker.

    DDIM and not SD 1.5's PNDM: at 20 steps PNDM's extrapolation over the first, most uncertain guesses shifts
    the colours of this small model, where DDIM, Euler, DPM++ 2M and UniPC agree with each other.
    """
    scheduler = DDIMScheduler(**NOISE, steps_offset=1, set_alpha_to_one=False, clip_sample=False)
    pipeline = StableDiffusionPipeline(
        vae=vae.half(),
        text_encoder=encoder.half(),
        tokenizer=CLIPTokenizer.from_pretrained(tokenizer_files),
        unet=unet.half(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    for name in ("vocab.json", "merges.txt", "special_tokens_map.json"):
        shutil.copyfile(tokenizer_files / name, folder / "tokenizer" / name)
    for part in (vae, encoder, unet):
        part.float()


def save_controlnet(folder: Path, controlnet: ControlNetModel) -> None:
    controlnet.half().save_pretrained(folder)
    controlnet.float()


def load_pipeline(shelf: Shelf) -> StableDiffusionPipeline:
    """The family in float32 on the CPU, without a progress bar."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        shelf.model,
        dtype=torch.float32,
        local_files_only=True,
        use_safetensors=True,
        safety_checker=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def read_index(shelf: Shelf) -> dict[str, object]:
    return json.loads((shelf.model / "model_index.json").read_text(encoding="utf-8"))
