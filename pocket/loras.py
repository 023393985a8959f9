"""Three style LoRAs on the frozen UNet, written in the standard diffusers / PEFT layout."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

from pocket.captions import TRIGGERS, style_caption
from pocket.latents import Basis, to_tensor
from pocket.progress import Budget, Trainer
from pocket.scenes import draw_scene, sample_scene
from pocket.unet import EMPTY_SHARE, Diffusion, embed

RANK = 8
TARGETS = (
    "to_q",
    "to_k",
    "to_v",
    "to_out.0",
    "proj_in",
    "proj_out",
    "ff.net.0.proj",
    "ff.net.2",
    "conv1",
    "conv2",
    "conv_shortcut",
    "time_emb_proj",
)


def train_lora(
    style: str,
    unet: UNet2DConditionModel,
    tokenizer: CLIPTokenizer,
    encoder: CLIPTextModel,
    basis: Basis,
    work: Path,
    steps: int,
    minutes: float,
    rows: int = 16,
    scenes: int = 1500,
) -> dict[str, torch.Tensor]:
    """Trains one style and returns its weights by their file names; the UNet comes back without it."""
    torch.manual_seed(8)
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(TARGETS)), style)
    trainer = Trainer(
        f"lora-{style}",
        unet,
        work / f"lora-{style}.pt",
        Budget(steps, minutes),
        peak=0.01,
        adam_peak=1e-3,
        warm_up=20,
        decay_from=0.4,
    )
    torch.manual_seed(9 + trainer.seed)
    rng = random.Random(9 + trainer.seed)
    known = [sample_scene(rng, (style,)) for _ in range(scenes)]
    latents = torch.cat([basis.encode(to_tensor(draw_scene(scene)[np.newaxis])) for scene in known])
    diffusion = Diffusion()
    for step in trainer.run():
        chosen = [rng.randrange(scenes) for _ in range(rows)]
        texts = ["" if rng.random() < EMPTY_SHARE else style_caption(known[number], rng) for number in chosen]
        noisy, times, noise = diffusion.spoil(latents[chosen])
        with torch.autocast("cpu", torch.bfloat16):
            states = embed(tokenizer, encoder, texts)
            guess = unet(noisy.contiguous(memory_format=torch.channels_last), times, states).sample
        loss = diffusion.loss(guess, noise, times)
        trainer.learn(loss)
        if step % 20 == 0:
            trainer.report(loss=loss.item())
    weights = {
        f"unet.{name}": weight.clone()
        for name, weight in get_peft_model_state_dict(unet, adapter_name=style).items()
    }
    unet.delete_adapters(style)
    return weights


def save_lora(style: str, weights: dict[str, torch.Tensor], path: Path) -> None:
    """float16 safetensors with the metadata that model managers read. Alpha equals the rank, the default."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: weight.half().contiguous() for name, weight in weights.items()},
        path,
        metadata={
            "format": "pt",
            "ss_output_name": style,
            "ss_base_model_version": "pocket",
            "ss_network_module": "diffusers",
            "ss_network_dim": str(RANK),
            "ss_network_alpha": str(RANK),
            "modelspec.title": style.capitalize(),
            "modelspec.architecture": "pocket/lora",
            "modelspec.trigger_phrase": TRIGGERS[style],
            "modelspec.license": "Apache-2.0",
            "license": "Apache-2.0",
        },
    )
