"""Driving the engine in tests: requests, pictures, and its lower floor (conditions -> samples -> steps)."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tiny
import torch
from PIL import Image
from torch import Tensor

from studio.engine import Engine, weights
from studio.engine.conditions import Conditioner
from studio.engine.denoise import advance, batch, step
from studio.engine.sample import Sample, begin
from studio.errors import NotFound
from studio.models.copies import Copies
from studio.models.folders import NETWORKS
from studio.models.forecast import Shapes
from studio.models.hashes import Hashes
from studio.schema import Event, ResolvedRequest


@dataclass(frozen=True)
class Row:
    """What the engine needs of a model's or a LoRA's row."""

    name: str
    family: str
    folder: Path
    file: Path


class Shelf:
    """Models and LoRAs by name, as studio.models finds them, without its checks."""

    def __init__(self, models: Mapping[str, Path], loras: Mapping[str, Path], copies: int = 0) -> None:
        """`copies`: bytes that copies in a working type may take."""
        self.models, self.loras = models, loras
        home = next(iter(models.values())).parent
        self.hashes = Hashes(home / "hashes.json")
        self.copies = Copies(home / "copies", self.hashes, copies, 0)

    def networks(self) -> Iterator[Path]:
        for folder in self.models.values():
            yield from (folder / part for part in NETWORKS if (folder / part).is_dir())

    def get(self, name: str) -> Row:
        if name not in self.models:
            raise NotFound(f"No model {name}.", code="model_not_found")
        return Row(name, "sdxl" if "xl" in name else "sd15", self.models[name], self.models[name])

    def shapes(self, name: str) -> Shapes:
        return Shapes(self.get(name).folder)

    def lora(self, name: str) -> Row:
        return Row(name, "", self.loras[name], self.loras[name])


def photo(seed: int = 0, side: int = tiny.SIDE) -> Image.Image:
    """A picture with edges: coloured blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((side, side), Image.Resampling.NEAREST)


def png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def ask(**fields: object) -> ResolvedRequest:
    wanted: dict[str, object] = {
        "prompt": "a red mug on a table",
        "negative_prompt": "blurry",
        "model": "sd",
        "width": tiny.SIDE,
        "height": tiny.SIDE,
        "steps": 4,
        "guidance": 5.0,
        "scheduler": "ddim",
        "seed": 7,
    }
    return ResolvedRequest.model_validate(wanted | fields)


class Bench:
    """Models loaded once; final latents of requests, alone or side by side."""

    def __init__(self, shelf: Shelf, dtype: torch.dtype = torch.float32) -> None:
        self.shelf, self.dtype = shelf, dtype
        self.conditioner = Conditioner(shelf)  # type: ignore[arg-type]
        self.bundles: dict[str, weights.ModelBundle] = {}

    def bundle(self, name: str) -> weights.ModelBundle:
        if name not in self.bundles:
            self.bundles[name] = weights.load(self.shelf.get(name), torch.device("cpu"), self.dtype)
        return self.bundles[name]

    def sample(
        self, request: ResolvedRequest, inputs: Mapping[str, bytes] | None = None, index: int = 0
    ) -> Sample:
        with torch.inference_mode():
            bundle = self.bundle(request.model)
            conditions = self.conditioner.prepare(request, inputs or {}, bundle, ())
            return begin("job", index, request, bundle, conditions)

    def latents(self, request: ResolvedRequest, inputs: Mapping[str, bytes] | None = None) -> Tensor:
        return self.together([self.sample(request, inputs)])[0]

    def together(self, samples: Sequence[Sample]) -> list[Tensor]:
        """Steps all samples with equal keys in one call, as the engine does, until every one is done."""
        with torch.inference_mode():
            while left := [sample for sample in samples if not sample.done]:
                group = batch([sample for sample in left if sample.key == left[0].key])
                for sample, noise in zip(group.samples, advance(group).split(1), strict=True):
                    step(sample, noise)
        return [sample.latents for sample in samples]


def finish(engine: Engine) -> list[tuple[str, Event]]:
    """Ticks until nothing is left to do."""
    events: list[tuple[str, Event]] = []
    while not engine.idle():
        events += engine.tick()
    return events


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Relative L2."""
    return float((ours - theirs).norm() / theirs.norm())
