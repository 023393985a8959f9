"""What is asked of a training run, its limits, and what the family fills in where nothing was said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from studio.schema import MAX_SEED, Frozen, LoraRef

Precision = Literal["fp32", "bf16", "fp16"]
MOST_EPOCHS = 100
MOST_BOARD = 8

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
BLOCKS = (*ATTENTION, "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2")  # the whole of a transformer block
CONVOLUTIONS = ("conv1", "conv2", "conv_shortcut", "time_emb_proj")
TEXT = ("q_proj", "k_proj", "v_proj", "out_proj")


@dataclass(frozen=True)
class Recipe:
    """What suits a family. `steps`: aimed at in all, from which the repeats of an epoch follow.

    `rate`: AdamW's peak. `batch`: rows of a step. `offset`: share of noise that is one value a channel.
    """

    targets: tuple[str, ...]
    convolutions: bool
    rate: float
    batch: int
    steps: int
    offset: float


PRIOR = {"prior", "prior_weight", "prior_pictures", "prior_set"}  # fields that say nothing without `prior`

RECIPES: Mapping[str, Recipe] = {
    # Attention alone cannot change this model's look: it has any only at 8 x 8 latents, so a style is in the
    # convolutions. With 15 M weights it also needs, and takes, ten times the usual rate.
    "pocket": Recipe(BLOCKS, True, 1e-3, 8, 600, 0.1),
    "sd15": Recipe(ATTENTION, False, 1e-4, 2, 1500, 0.0),
    "sd21": Recipe(ATTENTION, False, 1e-4, 2, 1500, 0.0),
    "sdxl": Recipe(ATTENTION, False, 1e-4, 1, 1500, 0.0),
}


class _Asked(Frozen):
    """Fields that mean the same before and after resolving.

    `name`: of the LoRA's file. `dataset`: id of a set that was read in. `rank`, `alpha`: of every pair; the
    LoRA is scaled by alpha / rank. `min_snr`: gamma of the loss weight, 0 = off (Hang et al. 2023,
    arXiv:2303.09556). `plain`: share of captions left out, so that guidance keeps its empty side. `board`:
    prompts drawn after each epoch; () = captions of pictures kept back. `prior`: what a thing of this kind is
    called, "a mug": the model is held to what it draws of it; '' = off (Ruiz et al. 2022, arXiv:2208.12242).
    `prior_weight`: of that loss. `prior_pictures`: made by the model for it, unless `prior_set` names a set.
    """

    name: str = Field(min_length=1, max_length=100)
    title: str = Field("", max_length=200)
    dataset: str = Field(min_length=1, max_length=64)
    trigger: str = Field("", max_length=100)
    epochs: int = Field(10, ge=1, le=MOST_EPOCHS, strict=True)
    rank: int = Field(16, ge=1, le=128, strict=True)
    alpha: float = Field(32.0, gt=0, le=256, strict=True, allow_inf_nan=False)
    dropout: float = Field(0.05, ge=0, le=0.5, strict=True, allow_inf_nan=False)
    text_encoder: bool = False
    min_snr: float = Field(5.0, ge=0, le=20, strict=True, allow_inf_nan=False)
    plain: float = Field(0.1, ge=0, le=0.5, strict=True, allow_inf_nan=False)
    flip: bool = False
    checkpointing: bool = False
    precision: Precision = "fp32"
    seed: int = Field(42, ge=0, le=MAX_SEED, strict=True)
    board: tuple[str, ...] = Field((), max_length=MOST_BOARD)
    prior: str = Field("", max_length=500)
    prior_weight: float = Field(1.0, gt=0, le=10, strict=True, allow_inf_nan=False)
    prior_pictures: int = Field(100, ge=1, le=1000, strict=True)
    prior_set: str = Field("", max_length=64)


class TrainRequest(_Asked):
    """What was asked. None = left to the model's family and to the size of the set.

    `rate`: peak of the learning rate. `repeats`: how often an epoch shows each picture. `size`: px a side.
    """

    model: str | None = Field(None, min_length=1, max_length=200)
    batch: int | None = Field(None, ge=1, le=64, strict=True)
    repeats: int | None = Field(None, ge=1, le=500, strict=True)
    rate: float | None = Field(None, gt=0, le=1, strict=True, allow_inf_nan=False)
    size: int | None = Field(None, ge=16, le=2048, multiple_of=8, strict=True)
    convolutions: bool | None = None
    offset: float | None = Field(None, ge=0, le=1, strict=True, allow_inf_nan=False)


class Training(_Asked):
    """Everything that affects the result."""

    kind: Literal["train"] = "train"
    model: str
    family: str
    batch: int
    repeats: int
    rate: float
    size: int
    convolutions: bool
    offset: float

    @property
    def targets(self) -> tuple[str, ...]:
        """Endings of the module names that get a pair."""
        return RECIPES[self.family].targets + (CONVOLUTIONS if self.convolutions else ())

    # What other code reads of any request that runs: a training has no pictures and no stack of its own.
    @property
    def prompt(self) -> str:
        return self.title or self.name

    @property
    def count(self) -> int:
        return 0

    @property
    def loras(self) -> tuple[LoraRef, ...]:
        return ()


def fill_in(request: TrainRequest, model: str, family: str, size: int, pictures: int) -> Training:
    """The request with nothing left open. `size`: native px of the model; `pictures`: to train on."""
    recipe = RECIPES.get(family, RECIPES["sd15"])
    batch = request.batch if request.batch is not None else recipe.batch
    shown = recipe.steps * batch / (request.epochs * max(1, pictures))
    left_out = {
        "batch": batch,
        "repeats": max(1, min(500, round(shown))),
        "rate": recipe.rate,
        "size": size,
        "convolutions": recipe.convolutions,
        "offset": recipe.offset,
    }
    asked = request.model_dump(exclude_none=True)
    return Training.model_validate(left_out | asked | {"model": model, "family": family})
