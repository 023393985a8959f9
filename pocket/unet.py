"""The UNet: SD 1.5's shape at a hundredth of its size, trained on cached latents and captions said anew."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextModel, CLIPTokenizer

from pocket.captions import caption_scene
from pocket.latents import CHANNELS, SIDE, scene_of
from pocket.muon import calm_residuals
from pocket.progress import Average, Budget, Trainer
from pocket.text import WIDTH, tokenize

NOISE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}
EMPTY_SHARE = 0.1  # captions dropped, for classifier-free guidance
# Noise also gets a constant per channel, so that dark and pale pictures are reached (Guttenberg 2023).
OFFSET = 0.1
GAMMA = 5.0  # min-SNR weighting, Hang et al. 2023, arXiv:2303.09556


def build_unet() -> UNet2DConditionModel:
    """15.5 M parameters. Cross attention only at 8x8 and in the middle: on a CPU that doubles the speed."""
    return UNet2DConditionModel(
        sample_size=SIDE,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        layers_per_block=1,
        block_out_channels=(64, 128, 256),
        norm_num_groups=32,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,  # four heads: diffusers' name for their number
    )


class Diffusion:
    """The noise of training: how it is drawn, added and weighed."""

    def __init__(self) -> None:
        self.scheduler = DDPMScheduler(**NOISE)

    def spoil(
        self, clean: torch.Tensor, lowest: int = 0
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Clean latents (rows, 4, h, w) to (noisy latents, timesteps (rows,) from `lowest`, the noise)."""
        rows, channels = clean.shape[:2]
        noise = torch.randn_like(clean) + OFFSET * torch.randn(rows, channels, 1, 1)
        # Stratified timesteps: every batch spans the whole range.
        share = (torch.arange(rows) + torch.rand(rows)) / rows
        times = (lowest + share * (1000 - lowest)).long().clamp(max=999)[torch.randperm(rows)]
        return self.scheduler.add_noise(clean, noise, times), times, noise

    def loss(self, guess: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Mean squared error of the noise, weighted min(SNR, 5) / SNR per row."""
        kept = self.scheduler.alphas_cumprod[times]
        weight = (GAMMA * (1 - kept) / kept).clamp(max=1.0)
        return ((guess.float() - noise).square().mean(dim=(1, 2, 3)) * weight).mean()


@torch.no_grad()
def embed(tokenizer: CLIPTokenizer, encoder: CLIPTextModel, texts: list[str]) -> torch.Tensor:
    """Text states (rows, 77, 160), exactly what the pipeline hands the UNet."""
    return encoder(tokenize(tokenizer, texts)).last_hidden_state


def train_unet(
    tokenizer: CLIPTokenizer,
    encoder: CLIPTextModel,
    latents: torch.Tensor,
    seed: int,
    work: Path,
    steps: int,
    minutes: float,
    rows: int = 32,
) -> UNet2DConditionModel:
    """Returns the averaged UNet. `latents` (scenes, 4, 32, 32) float16 belong to `scene_of(i, seed)`."""
    torch.manual_seed(2)
    unet = build_unet()
    calm_residuals(unet)
    unet = unet.to(memory_format=torch.channels_last)
    trainer = Trainer(
        "unet",
        unet,
        work / "unet.pt",
        Budget(steps, minutes),
        peak=0.02,
        warm_up=100,
        decay_from=0.45,
        average=Average(unet, 0.999),
    )
    torch.manual_seed(3 + trainer.seed)
    rng = random.Random(3 + trainer.seed)
    diffusion = Diffusion()
    seen: list[float] = []
    for step in trainer.run():
        chosen = [rng.randrange(len(latents)) for _ in range(rows)]
        texts = [
            "" if rng.random() < EMPTY_SHARE else caption_scene(scene_of(number, seed), rng).text
            for number in chosen
        ]
        noisy, times, noise = diffusion.spoil(latents[chosen].float())
        with (
            torch.autocast("cpu", torch.bfloat16),
            sdpa_kernel(SDPBackend.MATH),
        ):  # flash backward is slow here
            states = embed(tokenizer, encoder, texts)
            guess = unet(noisy.contiguous(memory_format=torch.channels_last), times, states).sample
        loss = diffusion.loss(guess, noise, times)
        trainer.learn(loss)
        seen.append(loss.item())
        if step % 50 == 0:
            trainer.report(loss=sum(seen[-50:]) / len(seen[-50:]))
    return trainer.average.module.eval()
