"""Rough pictures of unfinished latents: one small matrix a model, no decoder."""

from __future__ import annotations

import io
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from studio.engine.latents import scaled

SIDE = 256  # px of the longer side at most: some 8 kB as JPEG, sharp enough to see where a run is going


@torch.inference_mode()
def fit(vae: Any) -> Tensor:
    """RGB (0..1) as a linear function of latents: (channels + 1, 3) float32 on the CPU, constant last.

    Least squares over the VAE's own latents of plain colours and of two-colour ramps.
    """
    weight = next(vae.parameters())
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    pictures = swatches(factor * 4)
    inputs = (pictures * 2 - 1).to(weight.device, weight.dtype)
    latents = torch.cat([vae.encode(picture[None]).latent_dist.mode() for picture in inputs])
    latents = scaled(latents.float().cpu(), vae)
    colours = torch.nn.functional.avg_pool2d(pictures, factor)
    known = latents.movedim(1, -1).reshape(-1, latents.shape[1])
    known = torch.cat([known, torch.ones(len(known), 1)], dim=1)
    wanted = colours.movedim(1, -1).reshape(-1, 3)
    # A ridge keeps channels that hardly vary over plain colours from getting huge factors.
    ridge = 1e-3 * len(known) * torch.eye(known.shape[1])
    factors: Tensor = torch.linalg.solve(known.T @ known + ridge, known.T @ wanted)
    return factors


def picture(latents: Tensor, factors: Tensor, factor: int) -> bytes:
    """JPEG of `latents` (channels, h, w), `factor` times as large but at most SIDE px."""
    rgb = latents.float().cpu().movedim(0, -1) @ factors[:-1] + factors[-1]
    pixels = (rgb.nan_to_num(0.5).clamp(0, 1) * 255).byte().numpy()
    height, width = pixels.shape[:2]
    scale = min(factor, SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    stream = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=80)
    return stream.getvalue()


def swatches(side: int) -> Tensor:
    """The eight corners of the colour cube and ramps between them: (16, 3, side, side), 0..1."""
    levels = torch.tensor([0.0, 1.0])
    colours = torch.cartesian_prod(levels, levels, levels)
    plain = colours[:, :, None, None].expand(-1, -1, side, side)
    blend = torch.linspace(0, 1, side).view(1, 1, 1, side)
    other = colours.roll(3, dims=0)[:, :, None, None]
    ramps = plain * (1 - blend) + other * blend
    return torch.cat([plain, ramps])
