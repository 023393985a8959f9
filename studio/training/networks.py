"""The networks of a model as training needs them: frozen, with one adapter that learns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from peft import LoraConfig
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from studio.errors import EngineError
from studio.training.request import TEXT, Training

ADAPTER = "studio_style"  # no dots: PEFT splits names there; one letter would look like lora_B
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CLASSES = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
}
Read = Callable[[Path, Any, torch.dtype], Any]  # folder of a network, its class, dtype -> network


@dataclass(frozen=True)
class Text:
    """`embeds`: (tokens, width), both encoders side by side. `pooled`: (width), SDXL type only."""

    embeds: Tensor
    pooled: Tensor | None


@dataclass(eq=False)
class Networks:
    """`unit`: px that a picture's sides must be multiples of. `zero_empty`: no text means zeros (SDXL)."""

    unet: Any
    vae: Any
    text_encoders: tuple[Any, ...]
    tokenizers: tuple[Any, ...]
    schedule: DDPMScheduler
    prediction: str
    zero_empty: bool
    device: torch.device
    dtype: torch.dtype

    @property
    def factor(self) -> int:
        """Picture px per latent px."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def unit(self) -> int:
        return self.factor * int(2 ** (len(self.unet.config.block_out_channels) - 1))

    @property
    def named(self) -> dict[str, nn.Module]:
        """By the prefix their pairs have in a LoRA file."""
        encoders = zip(("text_encoder", "text_encoder_2"), self.text_encoders, strict=False)
        return {"unet": self.unet, **dict(encoders)}

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """In a fixed order; the names tell the network and the place in it."""
        for prefix, network in self.named.items():
            for name, parameter in network.named_parameters():
                if parameter.requires_grad:
                    yield f"{prefix}.{name}", parameter

    def learn(self, training: bool) -> None:
        """Dropout on or off."""
        for network in self.named.values():
            network.train(training)


def load_networks(
    folder: Path, device: torch.device, dtype: torch.dtype, read: Read | None = None
) -> Networks:
    """Frozen. The VAE and the texts stay float32: both run once a picture. Raises EngineError."""
    reader = read if read is not None else _read

    def network(name: str, kind: torch.dtype) -> Any:
        try:
            return reader(folder / name, CLASSES[name], kind).requires_grad_(False).eval().to(device)
        except Exception as error:
            raise EngineError(
                f"{name} could not be read ({type(error).__name__}): incomplete or not safetensors.",
                hint="Add the model again.",
            ) from error

    names = [name for name in ("text_encoder", "text_encoder_2") if (folder / name).is_dir()]
    unet = network("unet", dtype)
    if unet.config.in_channels != 4 or unet.config.time_cond_proj_dim:
        raise EngineError(
            "This model cannot be trained: it paints into pictures or was distilled to few steps.",
            hint="Train on the model it was made from; the LoRA often fits both.",
        )
    config = _json(folder / "scheduler" / "scheduler_config.json")
    return Networks(
        unet=unet.to(memory_format=torch.channels_last),
        vae=network("vae", torch.float32),
        text_encoders=tuple(network(name, torch.float32) for name in names),
        tokenizers=tuple(
            CLIPTokenizer.from_pretrained(
                folder / name.replace("text_encoder", "tokenizer"), local_files_only=True
            )
            for name in names
        ),
        schedule=DDPMScheduler.from_config(config, clip_sample=False),
        prediction=str(config.get("prediction_type", "epsilon")),
        zero_empty=len(names) == 2
        and bool(_json(folder / "model_index.json").get("force_zeros_for_empty_prompt", True)),
        device=device,
        dtype=dtype,
    )


def add_adapters(networks: Networks, training: Training) -> None:
    """A pair for each target; A random by the run's seed, B zero, so the first step starts at the model."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        networks.unet.add_adapter(_config(training, training.targets), adapter_name=ADAPTER)
        if training.text_encoder:
            for encoder in networks.text_encoders:
                encoder.add_adapter(_config(training, TEXT), adapter_name=ADAPTER)
    for _, parameter in networks.trainable():
        parameter.data = parameter.data.float()  # half of a weight's digits cannot hold AdamW's small steps
    if training.checkpointing:
        networks.unet.enable_gradient_checkpointing()


def encode(networks: Networks, text: str) -> Text:
    """As the plain diffusers pipeline encodes it; cut at 77 tokens."""
    states: list[Tensor] = []
    pooled = None
    for tokenizer, encoder in zip(networks.tokenizers, networks.text_encoders, strict=True):
        tokens = tokenizer(
            text, padding="max_length", truncation=True, max_length=77, return_tensors="pt", verbose=False
        ).input_ids.to(networks.device)
        two = len(networks.tokenizers) == 2
        told = encoder(tokens, output_hidden_states=two)
        states.append(told.hidden_states[-2] if two else told.last_hidden_state)
        pooled = told[0] if two else None
    embeds = torch.cat(states, dim=-1)[0]
    if not text and networks.zero_empty:
        assert pooled is not None
        return Text(torch.zeros_like(embeds), torch.zeros_like(pooled[0]))
    return Text(embeds, None if pooled is None else pooled[0])


def predict(
    networks: Networks, latents: Tensor, times: Tensor, texts: Sequence[Text], shapes: Tensor
) -> Tensor:
    """What the UNet says of noisy `latents` (rows, 4, h, w) at `times` (rows,), in float32.

    `shapes`: (rows, 6), original size, crop corner and size in px (height first); read by SDXL type only.
    """
    embeds = torch.stack([text.embeds for text in texts])
    pooled = [text.pooled for text in texts if text.pooled is not None]
    extra = {"text_embeds": torch.stack(pooled), "time_ids": shapes} if pooled else None
    with torch.autocast(networks.device.type, networks.dtype, enabled=networks.dtype != torch.float32):
        said = networks.unet(
            latents.contiguous(memory_format=torch.channels_last),
            times,
            embeds,
            added_cond_kwargs=extra,
        ).sample
    told: Tensor = said.float()
    return told


def _read(folder: Path, kind: Any, dtype: torch.dtype) -> Any:
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "dtype": dtype}
    plain = [file for file in folder.glob("*.safetensors") if ".fp16" not in file.name]
    if not plain and any(folder.glob("*.fp16*.safetensors")):
        options["variant"] = "fp16"
    return kind.from_pretrained(folder, **options)


def _config(training: Training, targets: Sequence[str]) -> LoraConfig:
    return LoraConfig(
        r=training.rank,
        lora_alpha=training.alpha,
        lora_dropout=training.dropout,
        target_modules=list(targets),
    )


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found
