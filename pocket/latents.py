"""What the latents mean: the strongest principal components of 4x4-pixel patches.

The VAE's encoder is taught to give exactly these, so the UNet can train while the VAE does. Three channels
are brightness and two hues, each whitened to unit variance; the fourth is the slope of brightness inside the
patch, at half weight because it is hard to foretell and matters least to the eye.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from pocket.scenes import draw_scene, sample_scene

PATCH = 4  # pixels a side
CHANNELS = 4
SIDE = 32  # latent rows and columns of a native picture
NATIVE = PATCH * SIDE  # px
SPREAD = (1.0, 1.0, 1.0, 0.5)  # standard deviation of each channel


@dataclass(frozen=True)
class Basis:
    """`mean` (48,) and `axes` (48, 4): latents are (patch - mean) @ axes, patches in -1..1."""

    mean: torch.Tensor
    axes: torch.Tensor

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (rows, 3, H, W) in -1..1 to latents (rows, 4, H/4, W/4)."""
        weight = self.axes.T.reshape(CHANNELS, 3, PATCH, PATCH)
        return torch.nn.functional.conv2d(pictures, weight, -self.mean @ self.axes, stride=PATCH)


def fit_basis(path: Path, pictures: int = 1500, seed: int = 5) -> Basis:
    """Principal components of drawn scenes, kept in `path`."""
    if not path.exists():
        rng = random.Random(seed)
        drawn = to_tensor(np.stack([draw_scene(sample_scene(rng)) for _ in range(pictures)]))
        patches = (
            torch.nn.functional.unfold(drawn, PATCH, stride=PATCH).transpose(1, 2).reshape(-1, 48).double()
        )
        mean = patches.mean(dim=0)
        values, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
        strongest = vectors.flip(1)[:, :CHANNELS]
        strongest = strongest * strongest.sum(dim=0).sign()
        scale = torch.tensor(SPREAD, dtype=torch.float64) / values.flip(0)[:CHANNELS].sqrt()
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"mean": mean.float(), "axes": (strongest * scale).float().contiguous()}, path)
    return Basis(**load_file(path))


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """(rows, H, W, 3) uint8 to (rows, 3, H, W) float in -1..1."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1


def to_pictures(images: torch.Tensor) -> np.ndarray:
    """(rows, 3, H, W) in -1..1 to (rows, H, W, 3) uint8."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def cache_latents(path: Path, basis: Basis, count: int, seed: int = 100) -> torch.Tensor:
    """Latents (count, 4, 32, 32) float16 of the scenes `scene_of(i, seed)`, kept in `path`."""
    if not path.exists():
        store = torch.empty(count, CHANNELS, SIDE, SIDE, dtype=torch.float16)
        for first in range(0, count, 100):
            drawn = [draw_scene(scene_of(number, seed)) for number in range(first, min(first + 100, count))]
            store[first : first + 100] = basis.encode(to_tensor(np.stack(drawn))).half()
        save_file({"latents": store}, path)
    return load_file(path)["latents"]


def scene_of(number: int, seed: int):
    """Scene `number` of the training set: drawn again whenever needed, never stored."""
    return sample_scene(random.Random(seed * 1_000_003 + number))
