"""Measures the family on combinations it never saw: `python -m pocket.evaluate [--json]`.

Every prompt has its own seed (its number in the list); nothing is picked. Pictures are drawn by the plain
diffusers pipeline, 20 steps, the family's default guidance and scheduler.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, StableDiffusionPipeline
from diffusers.utils import logging
from PIL import Image

from pocket.captions import TRIGGERS, plain_prompt
from pocket.classifier import QUESTIONS, Judge, examine, load_judge
from pocket.controlnet import find_edges
from pocket.difference import difference
from pocket.family import GUIDANCE, STEPS, Shelf, load_pipeline
from pocket.latents import NATIVE, to_tensor
from pocket.palette import COLOURS
from pocket.scenes import LORA_STYLES, PLACES, SIZES, Scene, draw_scene, sample_scene

CLOSE = 12.0  # CIEDE2000
TOLERANCE = 2  # px
BAND = 0.08  # share of the side, left and right, that counts as background
BATCH = 16
BARS = {"background": 0.85, "object colour": 0.75, "product": 0.60, "canny gain": 0.2, "LoRA gain": 0.3}


def held_out_scenes(count: int, seed: int = 2026) -> list[Scene]:
    """Centred, large scenes of combinations kept from training."""
    rng = random.Random(seed)
    return [replace(sample_scene(rng, held_out=True), place="centre", size="large") for _ in range(count)]


@dataclass(frozen=True)
class Studio:
    """A pipeline and how it is asked: the family's defaults unless said otherwise."""

    pipeline: StableDiffusionPipeline
    steps: int = STEPS
    guidance: float = GUIDANCE

    def draw(self, prompts: Sequence[str], seeds: Sequence[int], **options: object) -> np.ndarray:
        """Pictures (len(prompts), 128, 128, 3) uint8, picture i from `seeds[i]`; `image` holds edge maps."""
        edges = options.pop("image", None)
        pictures = []
        for first in range(0, len(prompts), BATCH):
            part = slice(first, first + BATCH)
            controls = {"image": edges[part]} if edges is not None else {}
            with torch.autocast("cpu", torch.bfloat16):
                latents = self.pipeline(
                    list(prompts[part]),
                    height=NATIVE,
                    width=NATIVE,
                    num_inference_steps=self.steps,
                    guidance_scale=self.guidance,
                    output_type="latent",
                    generator=[torch.Generator().manual_seed(seed) for seed in seeds[part]],
                    **controls,
                    **options,
                ).images
            with torch.no_grad():
                images = self.pipeline.vae.decode(
                    latents.float() / self.pipeline.vae.config.scaling_factor
                ).sample
            pictures.append(((images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
        return np.concatenate(pictures)


def background_distance(picture: np.ndarray, named: str) -> float:
    """Median CIEDE2000 of the left and right bands to the named colour."""
    band = round(picture.shape[1] * BAND)
    sides = np.concatenate([picture[:, :band], picture[:, -band:]], axis=1)
    return float(np.median(difference(sides, COLOURS[named])))


@torch.no_grad()
def judge_pictures(judge: Judge, pictures: np.ndarray) -> dict[str, torch.Tensor]:
    """Probabilities (rows, values) for each question."""
    return {name: logits.softmax(dim=1) for name, logits in judge(to_tensor(pictures)).items()}


def share_right(answers: dict[str, torch.Tensor], scenes: Sequence[Scene], question: str) -> float:
    wanted = torch.tensor([QUESTIONS[question].index(getattr(scene, question)) for scene in scenes])
    return (answers[question].argmax(dim=1) == wanted).float().mean().item()


def edge_agreement(picture: np.ndarray, wanted: np.ndarray) -> float:
    """F1 of the picture's canny edges against `wanted` (H, W), matches within 2 px."""
    found, wanted = find_edges(picture) > 0, wanted > 0
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * TOLERANCE + 1,) * 2)
    near_wanted, near_found = (cv2.dilate(mask.astype(np.uint8), disc) > 0 for mask in (wanted, found))
    precision = (found & near_wanted).sum() / max(1, found.sum())
    recall = (wanted & near_found).sum() / max(1, wanted.sum())
    return float(2 * precision * recall / max(1e-9, precision + recall))


def measure_prompts(
    studio: Studio, judge: Judge, scenes: Sequence[Scene], pictures: np.ndarray
) -> dict[str, float]:
    distances = [
        background_distance(picture, scene.background)
        for picture, scene in zip(pictures, scenes, strict=True)
    ]
    answers = judge_pictures(judge, pictures)
    return {
        "prompts": len(scenes),
        "background": float(np.mean(np.array(distances) < CLOSE)),
        "background, median distance": float(np.median(distances)),
        "object colour": share_right(answers, scenes, "colour"),
        "product": share_right(answers, scenes, "product"),
        "style": share_right(answers, scenes, "style"),
    }


def measure_canny(
    shelf: Shelf, studio: Studio, scenes: Sequence[Scene], without: np.ndarray
) -> dict[str, float]:
    """Edge agreement with the drawn scene's edges; `without` are the same prompts' pictures without canny.

    Twice: with the object where the prompt's default puts it, and moved or shrunk, which only the edges say.
    """
    pipeline = StableDiffusionControlNetPipeline(
        **studio.pipeline.components,
        controlnet=ControlNetModel.from_pretrained(
            shelf.controlnet, dtype=torch.float32, local_files_only=True
        ),
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    moved = random.Random(1)
    layouts = {
        "as drawn": list(scenes),
        "moved": [replace(s, place=moved.choice(PLACES), size=moved.choice(SIZES)) for s in scenes],
    }
    figures: dict[str, float] = {}
    for name, drawn in layouts.items():
        edges = [find_edges(draw_scene(scene)) for scene in drawn]
        images = [Image.fromarray(np.repeat(edge[..., None], 3, axis=2)) for edge in edges]
        led = Studio(pipeline).draw(
            [plain_prompt(scene) for scene in scenes], range(len(scenes)), image=images
        )
        with_canny, free = (
            float(np.mean([edge_agreement(picture, edge) for picture, edge in zip(rows, edges, strict=True)]))
            for rows in (led, without)
        )
        figures |= {f"{name}, F1": with_canny, f"{name}, without": free, f"{name}, gain": with_canny - free}
    return figures


def measure_loras(
    shelf: Shelf, studio: Studio, judge: Judge, scenes: Sequence[Scene]
) -> tuple[dict[str, list[float]], np.ndarray]:
    """Style score (mean probability the judge gives the style) at weights 0, 0.5 and 1, and pictures at 1."""
    scores: dict[str, list[float]] = {}
    shown = []
    for style in LORA_STYLES:
        prompts = [
            f"{_article(scene.colour)} {scene.colour} {scene.product}, {TRIGGERS[style]}" for scene in scenes
        ]
        studio.pipeline.load_lora_weights(str(shelf.lora(style)), adapter_name=f"brand_{style}")
        scores[style] = []
        for weight in (0.0, 0.5, 1.0):
            studio.pipeline.set_adapters([f"brand_{style}"], [weight])
            pictures = studio.draw(prompts, range(len(scenes)))
            answers = judge_pictures(judge, pictures)
            scores[style].append(answers["style"][:, QUESTIONS["style"].index(style)].mean().item())
        shown.append(pictures)
        studio.pipeline.unload_lora_weights()
    return scores, np.stack(shown)


def measure_levers(studio: Studio, scenes: Sequence[Scene], usual: np.ndarray) -> dict[str, float]:
    """Mean absolute change of a picture (0..255) for another seed, guidance 1, and a negative prompt."""
    prompts, count = [plain_prompt(scene) for scene in scenes], len(scenes)
    others = {
        "another seed": studio.draw(prompts, range(5000, 5000 + count)),
        "guidance 1": replace(studio, guidance=1.0).draw(prompts, range(count)),
        "negative prompt": studio.draw(prompts, range(count), negative_prompt=["outline, podium"] * count),
    }
    return {name: float(np.abs(usual.astype(float) - pictures).mean()) for name, pictures in others.items()}


def evaluate(shelf: Shelf, count: int = 96) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """All figures, and the pictures of the contact sheet."""
    started = time.monotonic()
    torch.manual_seed(0)
    judge = load_judge(shelf.judge)
    scenes = held_out_scenes(count)
    studio = Studio(load_pipeline(shelf))
    pictures = studio.draw([plain_prompt(scene) for scene in scenes], range(count))
    drawn = np.stack([draw_scene(scene) for scene in scenes])
    figures: dict[str, object] = {
        "judge on drawn scenes": examine(judge),
        "drawn held-out scenes": measure_prompts(studio, judge, scenes, drawn),
        "held-out prompts": measure_prompts(studio, judge, scenes, pictures),
        "levers": measure_levers(studio, scenes[:16], pictures[:16]),
    }
    few = max(1, count // 3)
    figures["canny"] = measure_canny(shelf, studio, scenes[:few], pictures[:few])
    figures["LoRA style score at 0, 0.5, 1"], styled = measure_loras(
        shelf, studio, judge, scenes[: max(1, count // 6)]
    )
    figures["vae PSNR, dB"] = measure_vae(studio, drawn[:64])
    figures["shipped MB"] = shelf.megabytes()
    figures["steps, guidance"] = [STEPS, GUIDANCE]
    figures["minutes"] = (time.monotonic() - started) / 60
    return figures, {"prompts": pictures, "drawn": drawn, "styled": styled}


@torch.no_grad()
def measure_vae(studio: Studio, drawn: np.ndarray) -> float:
    """PSNR of drawn pictures sent through the VAE and back."""
    truth = to_tensor(drawn)
    vae = studio.pipeline.vae
    back = torch.cat([vae.decode(vae.encode(part).latent_dist.mean).sample for part in truth.split(16)])
    return float((10 * torch.log10(4 / (back.clamp(-1, 1) - truth).square().mean())).item())


def tile(pictures: np.ndarray, across: int) -> np.ndarray:
    """(rows * across, H, W, 3) to one picture."""
    whole = len(pictures) // across * across
    rows = pictures[:whole].reshape(-1, across, *pictures.shape[1:])
    return np.vstack([np.hstack(list(row)) for row in rows])


def write_results(shelf: Shelf, figures: dict[str, object], pictures: dict[str, np.ndarray]) -> None:
    """RESULTS.md with every figure, and docs/pocket.png: held-out prompts in list order, then the LoRAs."""
    styled = np.concatenate([row[:16] for row in pictures["styled"]])
    sheet = np.vstack([tile(pictures["prompts"][:64], 16), tile(styled, 16)])
    Image.fromarray(sheet).save(shelf.root / "docs" / "pocket.png", optimize=True)
    lines = [
        "# What the pocket family reaches",
        "",
        "Made by `python -m pocket.evaluate`; held-out combinations, no",
        "hand-picked seeds. Shares run from 0 to 1.",
        "",
        "| what | figure |",
        "| --- | --- |",
    ]
    for name, value in figures.items():
        rows = value.items() if isinstance(value, dict) else [("", value)]
        lines += [
            f"| {name}{': ' if part else ''}{part} | {_write_figure(figure)} |" for part, figure in rows
        ]
    lines += [
        "",
        "Bars of the first issue: " + ", ".join(f"{name} {bar}" for name, bar in BARS.items()) + ".",
        "",
        "![contact sheet](../docs/pocket.png)",
        "",
    ]
    (shelf.root / "pocket" / "RESULTS.md").write_text("\n".join(lines), encoding="utf-8")


def _write_figure(figure: object) -> str:
    if isinstance(figure, list):
        return ", ".join(_write_figure(part) for part in figure)
    return f"{figure:.3f}" if isinstance(figure, float) else str(figure)


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--count", type=int, default=96, help="held-out prompts to draw")
    parser.add_argument("--root", type=Path, default=Shelf().root, help="the repository")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md and docs/pocket.png")
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    shelf = Shelf(arguments.root)
    figures, pictures = evaluate(shelf, arguments.count)
    if arguments.write:
        write_results(shelf, figures, pictures)
    if arguments.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name}: {value}")


if __name__ == "__main__":
    main()
