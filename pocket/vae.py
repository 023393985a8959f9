"""The VAE: its encoder learns to give the latents of `latents.py`, its decoder to draw sharply from them.

Splitting the two makes the latents known before the VAE exists, so the UNet need not wait. The decoder trains
on slightly noisy latents, which is what a sampler hands it.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch.nn import functional

from pocket.latents import CHANNELS, NATIVE, Basis, to_tensor
from pocket.muon import calm_residuals
from pocket.progress import Average, Budget, Trainer
from pocket.scenes import STYLES, draw_scene, sample_scene

QUIET = -10.0  # log variance the encoder should state: its latents are meant to be exact


def build_vae() -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=CHANNELS,
        sample_size=NATIVE,
        scaling_factor=1.0,
        block_out_channels=(32, 64, 96),
        layers_per_block=1,
        norm_num_groups=8,
        mid_block_add_attention=False,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
    )


class Painter(torch.nn.Module):
    """Both halves under one roof, each fed by itself."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, pictures: torch.Tensor, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Moments (a, 8, h, w) of `pictures` (a, 3, H, W); images (b, 3, H, W) of `latents` (b, 4, h, w)."""
        moments = self.vae.quant_conv(self.vae.encoder(pictures))
        return moments, self.vae.decoder(self.vae.post_quant_conv(latents))


def draw_batch(rng: random.Random, rows: int) -> torch.Tensor:
    """Pictures (rows, 3, 128, 128): every style, a third recoloured or blended."""
    drawn = []
    for _ in range(rows):
        picture = draw_scene(sample_scene(rng, STYLES)).astype(np.float32)
        luck = rng.random()
        if luck < 0.15:
            picture = 0.5 * picture + 0.5 * draw_scene(sample_scene(rng, STYLES))
        elif luck < 0.35:
            order = rng.sample(range(3), 3)
            gain, lift = rng.uniform(0.5, 1.2), rng.uniform(-40, 60)
            picture = np.clip(picture[..., order] * gain + lift, 0, 255)
        drawn.append(picture.astype(np.uint8))
    return to_tensor(np.stack(drawn))


def shake(latents: torch.Tensor) -> torch.Tensor:
    """Latents (rows, 4, h, w) with the grain a short sampling run leaves: mostly fine, partly two cells wide.

    Its standard deviation is 0 to 0.3, small ones more often; sampled backgrounds were measured at 0.06.
    """
    rows, channels, height, width = latents.shape
    wide = functional.interpolate(torch.randn(rows, channels, height // 2, width // 2), scale_factor=2)
    return latents + (torch.randn_like(latents) + 0.6 * wide) * 0.3 * torch.rand(rows, 1, 1, 1).square()


def slopes(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Differences between neighbours, across and down."""
    return images[..., 1:] - images[..., :-1], images[..., 1:, :] - images[..., :-1, :]


def train_vae(basis: Basis, work: Path, steps: int, minutes: float, rows: int = 8) -> AutoencoderKL:
    torch.manual_seed(4)
    vae = build_vae()
    calm_residuals(vae)
    painter = Painter(vae).to(memory_format=torch.channels_last)
    trainer = Trainer(
        "vae",
        painter,
        work / "vae.pt",
        Budget(steps, minutes),
        peak=0.02,
        warm_up=50,
        decay_from=0.2,
        average=Average(painter, 0.998),
    )
    torch.manual_seed(5 + trainer.seed)
    rng = random.Random(5 + trainer.seed)
    for step in trainer.run():
        pictures = draw_batch(rng, rows)
        target = basis.encode(pictures)
        noisy = shake(target)
        with torch.autocast("cpu", torch.bfloat16):
            moments, images = painter(
                pictures[: rows // 2].contiguous(memory_format=torch.channels_last),
                noisy.contiguous(memory_format=torch.channels_last),
            )
        mean, log_variance = moments.float().chunk(2, dim=1)
        images = images.float()
        squared = functional.mse_loss(images, pictures)
        loss = functional.l1_loss(images, pictures) + squared + functional.mse_loss(mean, target[: rows // 2])
        loss = loss + 1e-4 * (log_variance - QUIET).square().mean()
        edge_share = max(0.0, trainer.budget.share(step) - 0.5)
        for mine, true in zip(slopes(images), slopes(pictures), strict=True):
            loss = loss + edge_share * functional.l1_loss(mine, true)
        trainer.learn(loss)
        if step % 50 == 0:
            trainer.report(
                loss=loss.item(),
                psnr=(10 * torch.log10(4 / squared)).item(),
                latent_error=functional.mse_loss(mean, target[: rows // 2]).sqrt().item(),
            )
    return trainer.average.module.vae.eval()
