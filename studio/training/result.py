"""The finished LoRA: a plain safetensors file that diffusers, and all that read its files, load as it is."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file, save
from torch import Tensor

from studio.errors import EngineError, NumericalError
from studio.training import checkpoint
from studio.training.captions import with_trigger
from studio.training.dataset import Dataset
from studio.training.networks import ADAPTER, Networks
from studio.training.request import Training

ARCHITECTURES = {
    "pocket": "pocket/lora",
    "sd15": "stable-diffusion-v1/lora",
    "sd21": "stable-diffusion-v2-768-v/lora",
    "sdxl": "stable-diffusion-xl-v1-base/lora",
}
BASES = {"pocket": "pocket", "sd15": "sd_v1", "sd21": "sd_v2", "sdxl": "sdxl_base_v1-0"}  # kohya's words
MOST_TAGS = 200
CLOSE = 1e-2  # relative: what float16 leaves of a float32 weight, and no more


def write(place: Path, target: Path, training: Training, dataset: Dataset, epoch: int, began: float) -> None:
    """The weights of a checkpoint as a LoRA file in float16, whole or not there. `began`: UTC, s since 1970.

    No clock but the day it began goes in: the same pictures, settings and seed give the same bytes.

    alpha / rank is multiplied into the up weights: a reader that knows nothing of alpha draws the same
    picture as one that does. Raises NumericalError (`diverged`) rather than write what is not finite.
    """
    tensors = _tensors(load_file(place / checkpoint.WEIGHTS), training)
    broken = sum(not bool(tensor.isfinite().all()) for tensor in tensors.values())
    if broken:
        raise NumericalError(
            f"{broken} of {len(tensors)} tensors of epoch {epoch} are not finite.",
            hint="Take an earlier epoch, or train with a lower rate.",
            code="diverged",
        )
    notes = notes_of(training, dataset, epoch, int(place.name), began)
    plain = _file(tensors, notes)
    body = 8 + int.from_bytes(plain[:8], "little")
    notes["sshs_model_hash"] = hashlib.sha256(plain[body:]).hexdigest()
    notes["sshs_legacy_hash"] = hashlib.sha256(plain[0x100000:0x110000]).hexdigest()[:8]
    notes["modelspec.hash_sha256"] = f"0x{notes['sshs_model_hash']}"
    rough = target.with_suffix(".tmp")
    rough.write_bytes(_file(tensors, notes))
    rough.rename(target)


def notes_of(training: Training, dataset: Dataset, epoch: int, steps: int, began: float) -> dict[str, str]:
    """What other tools show of the file: kohya's `ss_*`, and Stability's modelspec 1.0."""
    tags = Counter(
        tag.strip()
        for entry in dataset.training
        for tag in with_trigger(entry.caption, training.trigger).split(",")
        if tag.strip()
    )
    modelspec = {
        "sai_model_spec": "1.0.0",
        "architecture": ARCHITECTURES.get(training.family, ""),
        "implementation": "diffusers",
        "title": training.title or training.name,
        "trigger_phrase": training.trigger,
        "license": dataset.licence,
        "date": datetime.datetime.fromtimestamp(began, datetime.UTC).date().isoformat(),
        "resolution": f"{training.size}x{training.size}",
        "prediction_type": "epsilon",
        "tags": ", ".join(tag for tag, _ in tags.most_common(10)),
    }
    kohya = {
        "output_name": training.name,
        "network_module": "networks.lora",
        "network_dim": training.rank,
        "network_alpha": float(training.rank),  # what the file has; see `write`
        "network_args": json.dumps({"trained_alpha": training.alpha}),
        "network_dropout": training.dropout,
        "base_model_version": BASES.get(training.family, ""),
        "sd_model_name": training.model,
        "num_train_images": sum(entry.repeats for entry in dataset.training) * training.repeats,
        "num_reg_images": training.prior_pictures if training.prior else 0,
        "prior_loss_weight": training.prior_weight if training.prior else None,
        "num_epochs": training.epochs,
        "epoch": epoch,
        "steps": steps,
        "batch_size_per_device": training.batch,
        "learning_rate": training.rate,
        "unet_lr": training.rate,
        "text_encoder_lr": training.rate if training.text_encoder else None,
        "lr_scheduler": "cosine",
        "optimizer": "torch.optim.adamw.AdamW",
        "resolution": f"({training.size}, {training.size})",
        "enable_bucket": True,
        "mixed_precision": {"fp32": "no"}.get(training.precision, training.precision),
        "gradient_checkpointing": training.checkpointing,
        "min_snr_gamma": training.min_snr or None,
        "noise_offset": training.offset or None,
        "caption_dropout_rate": training.plain,
        "seed": training.seed,
        "cache_latents": True,
        "tag_frequency": json.dumps({dataset.name: dict(tags.most_common(MOST_TAGS))}, ensure_ascii=False),
        "dataset_dirs": json.dumps(
            {dataset.name: {"n_repeats": training.repeats, "img_count": len(dataset.training)}},
            ensure_ascii=False,
        ),
        "training_comment": f"data set {dataset.id}",
    }
    return {
        "format": "pt",
        **{f"modelspec.{name}": value for name, value in modelspec.items() if value},
        **{f"ss_{name}": str(value) for name, value in kohya.items() if value is not None},
    }


def check_in_diffusers(file: Path, networks: Networks) -> int:
    """Loads the file as `StableDiffusionPipeline.load_lora_weights` does, compares every pair, takes it out.

    Returns the number of pairs. Raises EngineError (`result_unusable`) when one is missing or differs.
    """
    for network in networks.named.values():
        if ADAPTER in getattr(network, "peft_config", {}):  # diffusers and transformers spell it differently
            remove: Any = getattr(network, "delete_adapters", None) or network.delete_adapter
            remove(ADAPTER)
    pipeline = _pipeline(networks)
    pipeline.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name="check")
    wanted = load_file(file)
    loaded: dict[str, Tensor] = {}
    for prefix, network in networks.named.items():
        for name, parameter in network.named_parameters():
            if ".check." in name:
                loaded[_outside(prefix, name.replace(".check.", "."))] = parameter.data
    pipeline.unload_lora_weights()
    same = set(loaded) == set(wanted) and all(
        torch.allclose(loaded[name].float().cpu(), wanted[name].float(), rtol=CLOSE, atol=1e-4)
        for name in wanted
    )
    if not same:
        raise EngineError(
            f"The finished file does not load as it should: {len(set(loaded) & set(wanted))} of "
            f"{len(wanted)} tensors came back.",
            hint="The checkpoints are kept; this is a fault of the studio worth reporting.",
            code="result_unusable",
        )
    return len(wanted) // 2


def _file(tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> bytes:
    """A safetensors file. Its library writes notes in an order of chance; here they are sorted."""
    plain = save(dict(tensors))
    body = 8 + int.from_bytes(plain[:8], "little")
    header = {"__metadata__": dict(sorted(notes.items())), **json.loads(plain[8:body])}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    return bytes(len(text).to_bytes(8, "little") + text + plain[body:])


def _pipeline(networks: Networks) -> StableDiffusionPipeline | StableDiffusionXLPipeline:
    if len(networks.text_encoders) == 2:
        return StableDiffusionXLPipeline(
            vae=networks.vae, unet=networks.unet, scheduler=networks.schedule,
            text_encoder=networks.text_encoders[0], text_encoder_2=networks.text_encoders[1],
            tokenizer=networks.tokenizers[0], tokenizer_2=networks.tokenizers[1],
            add_watermarker=False,
        )  # fmt: skip
    return StableDiffusionPipeline(
        vae=networks.vae, unet=networks.unet, scheduler=networks.schedule,
        text_encoder=networks.text_encoders[0], tokenizer=networks.tokenizers[0],
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def _tensors(weights: Mapping[str, Tensor], training: Training) -> dict[str, Tensor]:
    scale = training.alpha / training.rank
    made = {}
    for name, weight in weights.items():
        prefix, _, rest = name.partition(".")
        scaled = weight * scale if ".lora_B." in name else weight
        made[_outside(prefix, rest.replace(f".{ADAPTER}.", "."))] = scaled.half().contiguous()
    return made


def _outside(prefix: str, name: str) -> str:
    """A parameter's name in LoRA files. transformers 5 took `text_model` away; every other tool has it."""
    inner = prefix.startswith("text") and not name.startswith("text_model.")
    return f"{prefix}.{'text_model.' if inner else ''}{name}"
