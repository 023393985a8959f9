"""A model of SD 1.5's true layout and size with random weights: for speed and memory, not for pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from studio.settings import ROOT


def save_random(folder: Path) -> Path:
    """Writes it (2.1 GB as float16) unless it is there. 860 M + 84 M + 123 M parameters."""
    if (folder / "model_index.json").is_file():
        return folder
    torch.manual_seed(0)
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    unet.half().save_pretrained(folder / "unet")
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        sample_size=512,
    )
    vae.half().save_pretrained(folder / "vae")
    text = CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
        projection_dim=768,
    )  # fmt: skip
    CLIPTextModel(text).half().save_pretrained(folder / "text_encoder")
    pocket = ROOT / "assets" / "models" / "pocket"
    shutil.copytree(pocket / "tokenizer", folder / "tokenizer")
    PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True
    ).save_pretrained(folder / "scheduler")
    shutil.copyfile(pocket / "model_index.json", folder / "model_index.json")
    return folder
