"""Makes the family from nothing: `python -m pocket.train all`, or one stage at a time.

Each stage goes on from its last checkpoint in pocket/.work; a finished stage is skipped.
`torchrun --nproc-per-node 2 -m pocket.train unet --threads 1` splits the rows of a stage (unet, controlnet)
over two workers: on busy cores twice as fast as two threads.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from pocket.classifier import save_judge, train_judge
from pocket.controlnet import train_controlnet
from pocket.evaluate import evaluate, write_results
from pocket.family import Shelf, save_controlnet, save_family
from pocket.latents import Basis, cache_latents, fit_basis
from pocket.loras import save_lora, train_lora
from pocket.scenes import LORA_STYLES
from pocket.text import train_text
from pocket.tokenizer import train_tokenizer
from pocket.unet import train_unet
from pocket.vae import train_vae

SCENES, SEED = 40_000, 100  # the training set: scene_of(0..SCENES - 1, SEED)


@dataclass(frozen=True)
class Recipe:
    """Steps of each stage, and the most minutes it may take before it must have decayed and stopped."""

    text: tuple[int, float] = (400, 60.0)
    vae: tuple[int, float] = (930, 240.0)
    unet: tuple[int, float] = (1300, 600.0)
    controlnet: tuple[int, float] = (4000, 240.0)
    lora: tuple[int, float] = (240, 60.0)
    judge: tuple[int, float] = (600, 60.0)


@dataclass(frozen=True)
class Workshop:
    """Where the unfinished parts lie (`work`) and where the finished ones go (`shelf`)."""

    shelf: Shelf
    work: Path
    recipe: Recipe
    styles: tuple[str, ...] = LORA_STYLES

    def __post_init__(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)

    def text(self) -> None:
        tokenizer = train_tokenizer(self.work / "tokenizer")
        train_text(tokenizer, self.work, *self.recipe.text).save_pretrained(self.work / "text_encoder")

    def latents(self) -> torch.Tensor:
        return cache_latents(self.work / "latents.safetensors", self.basis(), SCENES, SEED)

    def vae(self) -> None:
        train_vae(self.basis(), self.work, *self.recipe.vae).save_pretrained(self.work / "vae")

    def unet(self) -> None:
        unet = train_unet(*self.language(), self.latents(), SEED, self.work, *self.recipe.unet)
        if not is_first_worker():
            return
        unet.save_pretrained(self.work / "unet")
        vae = AutoencoderKL.from_pretrained(self.work / "vae", local_files_only=True)
        save_family(self.shelf.model, self.work / "tokenizer", self.language()[1], vae, unet)

    def controlnet(self) -> None:
        controlnet = train_controlnet(
            self.frozen_unet(),
            *self.language(),
            self.basis(),
            SEED,
            SCENES,
            self.work,
            *self.recipe.controlnet,
        )
        if is_first_worker():
            save_controlnet(self.shelf.controlnet, controlnet)

    def loras(self) -> None:
        unet = self.frozen_unet()
        for style in self.styles:
            weights = train_lora(style, unet, *self.language(), self.basis(), self.work, *self.recipe.lora)
            save_lora(style, weights, self.shelf.lora(style))

    def classifier(self) -> None:
        save_judge(train_judge(self.work, *self.recipe.judge), self.shelf.judge)

    def evaluate(self) -> None:
        write_results(self.shelf, *evaluate(self.shelf))

    def basis(self) -> Basis:
        return fit_basis(self.work / "basis.safetensors")

    def language(self) -> tuple[CLIPTokenizer, CLIPTextModel]:
        encoder = CLIPTextModel.from_pretrained(self.work / "text_encoder", local_files_only=True)
        return (
            CLIPTokenizer.from_pretrained(self.work / "tokenizer", local_files_only=True),
            encoder.eval().requires_grad_(False),
        )

    def frozen_unet(self) -> UNet2DConditionModel:
        unet = UNet2DConditionModel.from_pretrained(self.work / "unet", local_files_only=True)
        return unet.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def is_first_worker() -> bool:
    return os.environ.get("RANK", "0") == "0"


STAGES = ("text", "vae", "latents", "unet", "controlnet", "loras", "classifier", "evaluate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=("all", *STAGES))
    parser.add_argument("--root", type=Path, default=Shelf().root, help="the repository")
    parser.add_argument("--minutes", type=float, help="stop each stage after so many minutes, rate decayed")
    parser.add_argument("--style", choices=LORA_STYLES, help="only this LoRA")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    recipe = Recipe()
    if arguments.minutes:
        recipe = Recipe(**{name: (steps, arguments.minutes) for name, (steps, _) in vars(recipe).items()})
    workshop = Workshop(
        Shelf(arguments.root),
        arguments.root / "pocket" / ".work",
        recipe,
        (arguments.style,) if arguments.style else LORA_STYLES,
    )
    for stage in STAGES if arguments.stage == "all" else (arguments.stage,):
        print(f"== {stage}", flush=True)
        getattr(workshop, stage)()


if __name__ == "__main__":
    main()
