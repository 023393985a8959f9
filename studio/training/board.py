"""The brand board: the same prompts and seeds drawn each epoch, and how near their look is to the set's."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DDIMScheduler
from PIL import Image
from torch import Tensor

from studio.training.cache import Cache, to_tensor
from studio.training.forecast import DRAWN
from studio.training.networks import Networks, predict

STEPS = DRAWN
LIKENESS = 16  # pictures of the set that its look is taken from


@dataclass(frozen=True)
class Look:
    """Gram matrices of the VAE encoder's layers, averaged over pictures: texture and colour, not content.

    Source: Gatys et al. 2016, doi:10.1109/CVPR.2016.265.
    """

    grams: tuple[Tensor, ...]

    def distance(self, other: Look) -> float:
        apart = [
            float((mine - theirs).norm() / theirs.norm().clamp(min=1e-12))
            for mine, theirs in zip(self.grams, other.grams, strict=True)
        ]
        return sum(apart) / len(apart)


@torch.no_grad()
def look_of(networks: Networks, pictures: Sequence[Image.Image]) -> Look:
    sums: list[Tensor] = []
    for picture in pictures:
        grams = list(_grams(networks.vae.encoder, to_tensor(picture).to(networks.device)))
        sums = grams if not sums else [old + new for old, new in zip(sums, grams, strict=True)]
    return Look(tuple(total / len(pictures) for total in sums))


def style_score(board: Look, plain: Look, wanted: Look) -> float:
    """0: as far from the set's look as the model without the LoRA; 1: the same look."""
    begun = plain.distance(wanted)
    return max(0.0, min(1.0, 1 - board.distance(wanted) / begun)) if begun > 0 else 0.0


@torch.no_grad()
def draw(
    networks: Networks, cache: Cache, prompts: Sequence[str], size: int, guidance: float, seed: int
) -> Iterator[list[Image.Image] | None]:
    """One picture a prompt, DDIM, picture i from `seed` + i. Yields None after each step, then them all."""
    if not prompts:
        return
    side = size // networks.unit * networks.unit
    latent = side // networks.factor
    scheduler = DDIMScheduler.from_config(networks.schedule.config, clip_sample=False)
    scheduler.set_timesteps(STEPS)
    generators = [torch.Generator().manual_seed(seed + place) for place in range(len(prompts))]
    noise = [torch.randn((1, 4, latent, latent), generator=one) for one in generators]
    latents = torch.cat(noise).to(networks.device) * scheduler.init_noise_sigma
    texts = [cache.text(networks, prompt) for prompt in ("", *prompts)]
    rows = [texts[0]] * len(prompts) + texts[1:]
    shapes = torch.tensor([[side, side, 0, 0, side, side]] * len(rows), device=networks.device).float()
    for time in scheduler.timesteps:
        times = time.to(networks.device).expand(len(rows))
        without, told = predict(networks, torch.cat([latents, latents]), times, rows, shapes).chunk(2)
        latents = scheduler.step(without + guidance * (told - without), time, latents).prev_sample
        yield None
    scale, shift = networks.vae.config.scaling_factor, networks.vae.config.shift_factor or 0.0
    yield [_picture(networks.vae.decode(one[None] / scale + shift).sample[0]) for one in latents]


def encoded(picture: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind)
    return out.getvalue()


def _picture(image: Tensor) -> Image.Image:
    pixels = ((image.float().nan_to_num().clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0)
    return Image.fromarray(np.ascontiguousarray(pixels.cpu().numpy()))


def _grams(encoder: torch.nn.Module, picture: Tensor) -> Iterator[Tensor]:
    features = encoder.conv_in(picture)  # type: ignore[operator]
    yield _gram(picture)
    yield _gram(features)
    for block in encoder.down_blocks:  # type: ignore[union-attr]
        features = block(features)
        yield _gram(features)


def _gram(features: Tensor) -> Tensor:
    """(1, C, h, w) to (C + 1, C + 1): products of all channels with each other and with 1, per pixel."""
    flat = features[0].flatten(1)
    flat = torch.cat([flat, torch.ones_like(flat[:1])])
    return flat @ flat.T / flat.shape[1]
