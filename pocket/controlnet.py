"""The canny ControlNet: a copy of the UNet's encoder half that learns to follow edges, the UNet frozen."""

from __future__ import annotations

import random
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from pocket.captions import caption_scene, plain_prompt
from pocket.latents import Basis, scene_of, to_tensor
from pocket.progress import Average, Budget, Trainer
from pocket.scenes import Scene, draw_scene
from pocket.unet import EMPTY_SHARE, Diffusion, embed

LAYOUT = 250  # timesteps below this refine what is already placed; edges are learned above it
LOW, HIGH = 100, 200  # canny thresholds in 8-bit gradient units


def find_edges(picture: np.ndarray, low: int = LOW, high: int = HIGH) -> np.ndarray:
    """RGB uint8 (H, W, 3) in, white-on-black edges (H, W) uint8 out."""
    return cv2.Canny(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), low, high)


def draw_edges(picture: np.ndarray, rng: random.Random) -> np.ndarray:
    """Edges as users bring them: usual thresholds mostly, sometimes others, sometimes thick lines."""
    if rng.random() < 0.7:
        edges = find_edges(picture)
    else:
        low = rng.randint(30, 140)
        edges = find_edges(picture, low, low * 2)
    if rng.random() < 0.12:
        edges = cv2.dilate(edges, np.ones((2, 2), np.uint8))
    return np.repeat(edges[..., None], 3, axis=2)


def add_clutter(picture: np.ndarray, rng: random.Random) -> np.ndarray:
    """`picture` with up to six shapes that no caption tells of, in three of ten pictures.

    Photographs have lines that the drawn scenes never have: a ControlNet that saw only those follows the
    product's outline and leaves the rest out.
    """
    if rng.random() < 0.7:
        return picture
    picture, side = picture.copy(), picture.shape[0]
    for _ in range(rng.randint(1, 6)):
        colour = [rng.randrange(256) for _ in range(3)]
        corners = np.array([[rng.randrange(side), rng.randrange(side)] for _ in range(rng.randint(2, 5))])
        width = rng.choice((1, 2, 4, 8))
        if len(corners) == 2:
            axes = (rng.randint(3, side // 3), rng.randint(3, side // 3))
            centre = (int(corners[0][0]), int(corners[0][1]))
            fill = rng.choice((-1, width))
            cv2.ellipse(picture, centre, axes, rng.uniform(0, 180), 0, 360, colour, fill, cv2.LINE_AA)
        elif rng.random() < 0.5:
            cv2.fillPoly(picture, [corners.astype(np.int32)], colour, cv2.LINE_AA)
        else:
            cv2.polylines(picture, [corners.astype(np.int32)], rng.random() < 0.5, colour, width, cv2.LINE_AA)
    return picture


def describe(scene: Scene, rng: random.Random) -> str:
    """A caption that often leaves place and size, and at times everything, to the edges."""
    luck = rng.random()
    if luck < 2 * EMPTY_SHARE:
        return ""
    return plain_prompt(scene) if luck < 0.75 else caption_scene(scene, rng).text


def build_controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    """Three sizes in the edge embedding, so that it halves twice: pictures are four times the latents."""
    return ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32, 64))


def train_controlnet(
    unet: UNet2DConditionModel,
    tokenizer: CLIPTokenizer,
    encoder: CLIPTextModel,
    basis: Basis,
    seed: int,
    scenes: int,
    work: Path,
    steps: int,
    minutes: float,
    rows: int = 24,
) -> ControlNetModel:
    """`seed` and `scenes` name the training scenes of `scene_of`."""
    torch.manual_seed(6)
    controlnet = build_controlnet(unet).to(memory_format=torch.channels_last)
    trainer = Trainer(
        "controlnet",
        controlnet,
        work / "controlnet.pt",
        Budget(steps, minutes),
        peak=0.02,
        adam_peak=1e-3,
        warm_up=30,
        decay_from=0.75,
        average=Average(controlnet, 0.99),
    )
    torch.manual_seed(7 + trainer.seed)
    rng = random.Random(7 + trainer.seed)
    diffusion = Diffusion()
    for step in trainer.run():
        chosen = [scene_of(rng.randrange(scenes), seed) for _ in range(rows)]
        pictures = [add_clutter(draw_scene(scene), rng) for scene in chosen]
        edges = (to_tensor(np.stack([draw_edges(picture, rng) for picture in pictures])) + 1) / 2
        texts = [describe(scene, rng) for scene in chosen]
        noisy, times, noise = diffusion.spoil(basis.encode(to_tensor(np.stack(pictures))), LAYOUT)
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            states = embed(tokenizer, encoder, texts)
            down, middle = controlnet(noisy, times, states, controlnet_cond=edges, return_dict=False)
            guess = unet(
                noisy,
                times,
                states,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
            ).sample
        loss = diffusion.loss(guess, noise, times)
        trainer.learn(loss)
        if step % 20 == 0:
            trainer.report(loss=loss.item())
    return trainer.average.module.eval()
