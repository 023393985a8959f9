"""Tiny random models in the standard diffusers layout: real classes, real files, no training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

SIDE = 16  # px of a picture; latents are half of that
DIM = 16  # of one text encoder
NET: dict[str, Any] = {
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "attention_head_dim": 4,
    "norm_num_groups": 4,
}
XL: dict[str, Any] = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 6 * 8 + DIM,
    "transformer_layers_per_block": (1, 1),
    "use_linear_projection": True,
}


def unet(seed: int = 0, **options: Any) -> UNet2DConditionModel:
    torch.manual_seed(seed)
    return UNet2DConditionModel(
        sample_size=SIDE // 2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        **{"cross_attention_dim": DIM} | NET | options,
    ).eval()


def vae(seed: int = 1) -> AutoencoderKL:
    torch.manual_seed(seed)
    return AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIDE,
    ).eval()


def tokenizer(folder: Path) -> CLIPTokenizer:
    """Every printable ASCII character is a token, inside of a word and at its end; only 're' merges."""
    letters = [chr(code) for code in range(33, 127)]
    words = letters + [letter + "</w>" for letter in letters] + ["re", "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\nr e\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": "<|endoftext|>"})
    )
    return CLIPTokenizer.from_pretrained(folder)


def text_encoder(words: CLIPTokenizer, kind: Any, seed: int) -> Any:
    torch.manual_seed(seed)
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=DIM,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        projection_dim=DIM,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    return kind(config).eval()


def controlnet(network: UNet2DConditionModel) -> ControlNetModel:
    """Its closing convolutions start at zero, which would hide every mistake: they get random weights."""
    torch.manual_seed(2)
    made = ControlNetModel.from_unet(network, conditioning_embedding_out_channels=(4, 8))
    for name, weight in made.named_parameters():
        if "controlnet_down_blocks" in name or "controlnet_mid" in name or "conv_out" in name:
            torch.nn.init.normal_(weight, std=0.3)
    return made.eval()


def schedule(**options: Any) -> PNDMScheduler:
    """As SD 1.5 has it."""
    return PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        steps_offset=1,
        **options,
    )


def save_sd(
    folder: Path, prediction: str = "epsilon", text_seed: int = 3, vae_seed: int = 1, **unet_options: Any
) -> Path:
    words = tokenizer(folder / "tokenizer")
    network = unet(**unet_options)
    StableDiffusionPipeline(
        vae=vae(vae_seed),
        text_encoder=text_encoder(words, CLIPTextModel, text_seed),
        tokenizer=words,
        unet=network,
        scheduler=schedule(prediction_type=prediction),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    if network.config.in_channels == 4 and not network.config.time_cond_proj_dim:
        controlnet(network).save_pretrained(folder / "controlnet-canny")
    return folder


def save_xl(folder: Path) -> Path:
    words = tokenizer(folder / "tokenizer")
    network = unet(5, cross_attention_dim=2 * DIM, **XL)
    StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=text_encoder(words, CLIPTextModel, 3),
        text_encoder_2=text_encoder(words, CLIPTextModelWithProjection, 4),
        tokenizer=words,
        tokenizer_2=tokenizer(folder / "tokenizer_2"),
        unet=network,
        scheduler=schedule(),
    ).save_pretrained(folder)
    controlnet(network).save_pretrained(folder / "controlnet-canny")
    return folder


def save_refiner(folder: Path) -> Path:
    """As SDXL's: the second text encoder alone, a score in place of the target size."""
    words = tokenizer(folder / "tokenizer_2")
    StableDiffusionXLImg2ImgPipeline(
        vae=vae(),
        text_encoder=None,
        text_encoder_2=text_encoder(words, CLIPTextModelWithProjection, 4),
        tokenizer=None,
        tokenizer_2=words,
        unet=unet(6, **XL | {"projection_class_embeddings_input_dim": 5 * 8 + DIM}),
        scheduler=schedule(),
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
    ).save_pretrained(folder)
    return folder


def save_lora(file: Path, network: UNet2DConditionModel, seed: int, rank: int) -> Path:
    """A LoRA on every attention projection and on two convolutions, in the diffusers format."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for name, module in network.named_modules():
        down: tuple[int, ...]
        if isinstance(module, torch.nn.Linear) and name.endswith(("to_q", "to_k", "to_v", "to_out.0")):
            down, up = (rank, module.in_features), (module.out_features, rank)
        elif isinstance(module, torch.nn.Conv2d) and name.endswith("resnets.0.conv1"):
            down, up = (rank, module.in_channels, *module.kernel_size), (module.out_channels, rank, 1, 1)
        else:
            continue
        tensors[f"unet.{name}.lora_A.weight"] = torch.randn(down, generator=generator) * 0.3
        tensors[f"unet.{name}.lora_B.weight"] = torch.randn(up, generator=generator) * 0.3
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file)
    return file
