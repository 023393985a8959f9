"""Reading a model from its folder: classes of our choice, safetensors only, straight to the working dtype."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from studio.engine import checkpoint, preview
from studio.engine.components import Components, fill
from studio.engine.copying import SPELT, Copier, is_mapped
from studio.engine.lora import Bank
from studio.engine.memory import ran_out
from studio.engine.reading import places_in, read_weights
from studio.errors import EngineError
from studio.models.checkpoint import FILE
from studio.models.folders import weight_files
from studio.models.layout import Part
from studio.safetensors_header import read_header

# Both write advice for developers (unused config keys, long prompts) that a studio's log has no use for.
diffusers_logging.set_verbosity_error()
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()
diffusers_logging.disable_progress_bar()

NETWORKS: Mapping[str, Any] = {  # folder -> class; a class name inside the folder is never trusted
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
    "controlnet-canny": ControlNetModel,
}


CPU = torch.device("cpu")


class Located(Protocol):
    """What is needed of a model's row to load it."""

    @property
    def name(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def folder(self) -> Path: ...


@dataclass(eq=False)
class ModelBundle:
    """A model in memory.

    `factor`: picture px per latent px. `scheduler_config`: as the checkpoint has it; schedulers are made from
    it and never change it. `controlnets`: by kind; `control_embeddings`: the part of each that reads the
    picture, taken out so that it runs once a picture and not once a step. `factors`: see preview.fit.
    `zero_negative`: an empty negative prompt means zeros instead of the encoded empty text (SDXL).
    `banks`: "unet", "text_encoder", "text_encoder_2": the LoRAs of each. `texts`: rows already encoded,
    newest last. `parts`: address of a network's first weight -> bytes of its weights; two models that share a
    network have one address in common. `mapped`: those of `parts` whose weights are pages of a file.
    """

    name: str
    family: str
    unet: Any
    vae: Any
    tokenizers: tuple[Any, ...]
    text_encoders: tuple[Any, ...]
    controlnets: Mapping[str, Any]
    control_embeddings: Mapping[str, nn.Module]
    scheduler_config: Mapping[str, Any]
    zero_negative: bool
    device: torch.device
    dtype: torch.dtype
    parts: Mapping[int, int]
    factors: Tensor
    banks: Mapping[str, Bank]
    mapped: frozenset[int] = frozenset()
    eight: bool = False  # weights in 8 bits
    texts: OrderedDict[Any, Any] = field(default_factory=OrderedDict)

    @property
    def factor(self) -> int:
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def weight_bytes(self) -> int:
        return sum(self.parts.values())

    @property
    def bytes(self) -> int:
        return self.weight_bytes + sum(bank.bytes for bank in self.banks.values())

    @property
    def distilled(self) -> int | None:
        """Width in which the UNet wants to be told the guidance (LCM type): then a sample is one row."""
        width: int | None = self.unet.config.time_cond_proj_dim
        return width

    @property
    def sized(self) -> bool:
        """SDXL type: pooled text and sizes go into the UNet beside the text rows."""
        return bool(self.unet.config.addition_embed_type == "text_time")

    @property
    def scored(self) -> bool:
        """SDXL's refiner: told how well liked the picture is to be, in place of its target size."""
        config = self.unet.config
        if not self.sized:
            return False
        pooled = self.text_encoders[-1].config.projection_dim
        return bool(
            config.projection_class_embeddings_input_dim == pooled + 5 * config.addition_time_embed_dim
        )


def pick_device(asked: str) -> torch.device:
    """`asked`: auto, cpu, cuda, cuda:1, mps. Raises EngineError for one that is not there."""
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(asked)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise EngineError(
            f"Device {asked} was asked for; {torch.cuda.device_count()} CUDA devices are there.",
            hint="Start with STUDIO_DEVICE=auto.",
        )
    return device


def pick_dtype(device: torch.device) -> torch.dtype:
    """float16 on CUDA. float32 elsewhere: fp16 takes 200 times as long on a CPU as fp32 does."""
    return torch.float16 if device.type == "cuda" else torch.float32


def bytes_needed(
    folder: Path,
    dtype: torch.dtype,
    device: torch.device = CPU,
    components: Components | None = None,
) -> int:
    """Bytes of all weights under `folder` once they are `dtype`, from the files' headers alone.

    `components`: what these have in memory already is not counted.
    """
    needs = 0
    for name in NETWORKS:
        kind = _dtype_of(name, folder, dtype)
        elements = _elements(folder / name)
        if elements and (components is None or components.find(folder / name, kind, device) is None):
            needs += elements * kind.itemsize
    return needs


def load(
    row: Located, device: torch.device, dtype: torch.dtype, components: Components | None = None,
    eight: bool = False, copier: Copier | None = None,
) -> ModelBundle:  # fmt: skip
    """Raises EngineError (with the part's name, never a path) when a part is missing or broken.

    `components`: weights that are in memory already are taken from there, and new ones are told to it.
    `eight`: in 8 bits where that costs little; the VAE stays as it is. `copier`: see studio.engine.copying.
    """
    folder = row.folder
    networks = {
        name: _network(
            folder / name, device, _dtype_of(name, folder, dtype), components, eight and name != "vae", copier
        )
        for name in NETWORKS
        if (folder / name / "config.json").is_file()
    }
    parts = {_first(network): _bytes(network) for network in networks.values()}
    schedule = _json(folder / "scheduler" / "scheduler_config.json")
    texts = [name for name in ("text_encoder", "text_encoder_2") if name in networks]
    missing = {"unet", "vae", *(texts[:1] or ["text_encoder"])} - set(networks)
    missing |= set() if schedule else {"scheduler"}
    if missing:
        raise EngineError(
            f"Model {row.name} has no {', '.join(sorted(missing))}.", hint="Add the model again."
        )
    controlnets = {"canny": networks["controlnet-canny"]} if "controlnet-canny" in networks else {}
    embeddings = {kind: _take_embedding(network) for kind, network in controlnets.items()}
    index = _json(folder / "model_index.json")
    return ModelBundle(
        name=row.name,
        family=row.family,
        unet=networks["unet"],
        vae=networks["vae"],
        tokenizers=tuple(_tokenizer(folder, name.replace("text_encoder", "tokenizer")) for name in texts),
        text_encoders=tuple(networks[name] for name in texts),
        controlnets=controlnets,
        control_embeddings=embeddings,
        scheduler_config=schedule,
        zero_negative="text_encoder_2" in texts and bool(index.get("force_zeros_for_empty_prompt", True)),
        device=device,
        dtype=dtype,
        parts=parts,
        mapped=frozenset(_first(network) for network in networks.values() if is_mapped(network)),
        factors=preview.fit(networks["vae"]),
        eight=eight,
        banks={
            name: Bank(networks[name], name) for name in networks if name == "unet" or name.startswith("text")
        },
    )


def _network(
    folder: Path, device: torch.device, dtype: torch.dtype, components: Components | None, eight: bool,
    copier: Copier | None,
) -> Any:  # fmt: skip
    kind, images = NETWORKS[folder.name], not folder.name.startswith("text")
    copier = None if eight else copier
    try:
        part = checkpoint.part_of(folder)
        shared = components.find(folder, dtype, device) if components else None
        if copier and (shared or not _casts(folder, part, dtype)):
            copier = None
        if shared is not None:
            network = checkpoint.empty_network(folder, kind)
            fill(network, shared)
        elif copier and (
            copy := copier.read(partial(checkpoint.empty_network, folder, kind), folder, dtype, device)
        ):
            network, copier = copy, None
        elif part is not None:
            network = checkpoint.read_network(folder, part, kind, dtype, device, images, eight)
        else:
            network = _read(folder, kind, dtype, device, images, eight)
    except Exception as error:  # each library has its own; what a person can do about it is the same
        if ran_out(error):
            raise
        raise EngineError(
            f"{folder.name} could not be read ({type(error).__name__}): incomplete or not safetensors.",
            hint="Add the model again.",
        ) from error
    network = network.eval().requires_grad_(False).to(device)
    if components:
        components.keep(folder, dtype, network)
    if copier:
        copier.keep(folder, dtype, network)
    return network


def _casts(folder: Path, part: Part | None, dtype: torch.dtype) -> bool:
    """Whether reading it turns its numbers into a half type: a copy of a wider one would be read slower."""
    if dtype.itemsize > 2:
        return False
    found = [read_header(file).tensors for file in ([folder.parent / FILE] if part else weight_files(folder))]
    names = {source.key for source in part.sources.values()} if part else None
    kinds = {kind for one in found for name, (kind, _) in one.items() if names is None or name in names}
    return kinds != {SPELT[dtype]}


def _read(
    folder: Path, kind: Any, dtype: torch.dtype, device: torch.device, images: bool, eight: bool
) -> Any:
    """`images`: convolutions channels-last: VAE decode 0.80 of the time, UNet 0.95 (bench/LOG.md)."""
    files = weight_files(folder)
    network = checkpoint.empty_network(folder, kind)
    places = places_in(files, set(network.state_dict())) if files else None
    if places is not None:
        read_weights(network, places, dtype, device, images, eight)
        return network
    # Names of older days, which the libraries translate: at the price of a second copy while it is read.
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "dtype": dtype}
    if any(".fp16" in file.name for file in files):
        options["variant"] = "fp16"
    network = kind.from_pretrained(folder, **options)
    return network.to(memory_format=torch.channels_last) if images else network


def _dtype_of(name: str, folder: Path, dtype: torch.dtype) -> torch.dtype:
    """SDXL's own VAE overflows in float16; its config says so, and so do those where it is not true.

    Text stays float32 beside bfloat16 networks: it is read once a prompt, and it steers every step.
    """
    if dtype == torch.bfloat16 and name.startswith("text"):
        return torch.float32
    upcast = name == "vae" and dtype == torch.float16 and (folder / "text_encoder_2").is_dir()
    return (
        torch.float32 if upcast and _json(folder / name / "config.json").get("force_upcast", True) else dtype
    )


def _take_embedding(network: Any) -> nn.Module:
    embedding: nn.Module = network.controlnet_cond_embedding
    network.controlnet_cond_embedding = nn.Identity()
    return embedding


def _tokenizer(folder: Path, name: str) -> Any:
    try:
        return CLIPTokenizer.from_pretrained(folder / name, local_files_only=True)
    except Exception as error:
        raise EngineError(
            f"{name} could not be read ({type(error).__name__}).", hint="Add the model again."
        ) from error


def _elements(folder: Path) -> int:
    """Numbers in the weights of one network."""
    if (part := checkpoint.part_of(folder)) is not None:
        return checkpoint.elements(folder, part)
    headers = (read_header(file) for file in weight_files(folder))
    return sum(math.prod(shape) for header in headers for _, shape in header.tensors.values())


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded


def _first(network: Any) -> int:
    return int(next(network.parameters()).data_ptr())


def _bytes(network: Any) -> int:
    return sum(int(tensor.numel() * tensor.element_size()) for tensor in network.parameters())
