"""Latents: noise from a sample's own generator, and the scale between the VAE's numbers and the UNet's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def draw(generator: torch.Generator, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Standard normal float32. Drawn on the CPU, so that a seed means the same picture on every device."""
    return torch.randn(shape, generator=generator, dtype=torch.float32).to(device)


def scaled(raw: Tensor, vae: Any) -> Tensor:
    """From what the VAE encodes to what the UNet works on."""
    mean, std = _statistics(vae, raw)
    if mean is None or std is None:
        return raw * float(vae.config.scaling_factor)
    return (raw - mean) * float(vae.config.scaling_factor) / std


def unscaled(latents: Tensor, vae: Any) -> Tensor:
    """From what the UNet works on to what the VAE decodes."""
    mean, std = _statistics(vae, latents)
    if mean is None or std is None:
        return latents / float(vae.config.scaling_factor)
    return latents * std / float(vae.config.scaling_factor) + mean


def _statistics(vae: Any, like: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Some SDXL descendants normalise each latent channel."""
    known = (getattr(vae.config, "latents_mean", None), getattr(vae.config, "latents_std", None))
    mean, std = (
        None if values is None else torch.tensor(values).view(1, -1, 1, 1).to(like) for values in known
    )
    return mean, std
