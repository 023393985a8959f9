"""Latents to PNG, in a thread of its own beside the next tick."""

from __future__ import annotations

import copy
import io
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from studio.engine import memory
from studio.engine.backends import Eager, Networks
from studio.engine.latents import unscaled
from studio.engine.safety_checker import SafetyChecker
from studio.engine.sample import Sample
from studio.engine.weights import ModelBundle
from studio.errors import NumericalError, OutOfMemory
from studio.models.forecast import TILES

PLAIN = ("float32", "float16")  # what a CPU and a GPU do of themselves; others are told with the picture


@dataclass(frozen=True)
class Finished:
    """`png`: without metadata. `seconds`: of decoding and writing. `notes`, `checks`: see schema.Rendered."""

    width: int
    height: int
    png: bytes
    seconds: float
    notes: tuple[str, ...]
    checks: tuple[Mapping[str, Any], ...] = ()


class Decoder:
    """One thread: pictures come out in the order they went in."""

    def __init__(self, device: torch.device, checker: SafetyChecker | None = None) -> None:
        self._checker = checker
        self._pool = ThreadPoolExecutor(1, "decode")
        cuda = device.type == "cuda"
        self._device = device
        self._stream = torch.cuda.Stream(device) if cuda else None  # type: ignore[no-untyped-call]

    def start(self, sample: Sample, tile: int = 0) -> Future[Finished]:
        """`tile`: latents a side of the pieces it is decoded in, 0 = whole.

        Raises (from the future) NumericalError for NaN or infinite values, OutOfMemory.
        """
        ready = torch.cuda.current_stream(self._device).record_event() if self._stream is not None else None
        return self._pool.submit(self._run, sample, ready, tile)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, sample: Sample, ready: torch.cuda.Event | None, tile: int) -> Finished:
        stream: AbstractContextManager[object] = nullcontext()
        if self._stream is not None and ready is not None:
            stream = torch.cuda.stream(self._stream)
            self._stream.wait_event(ready)
        memory.trim()
        with stream, torch.inference_mode():
            done = finish(sample.latents, sample.bundle, sample.request.upscale, sample.networks, tile)
            return done if self._checker is None else replace(done, checks=self._checker.look(done.png))


def finish(
    latents: Tensor, bundle: ModelBundle, upscale: float, networks: Networks | None = None, tile: int = 0
) -> Finished:
    """`latents` (1, C, h, w). Decodes in tiles if memory runs out, in float32 if values are not finite.

    `networks`: None = PyTorch's own of `bundle`. `tile`: see Decoder.start.
    """
    started = time.monotonic()
    if not latents.isfinite().all():
        raise NumericalError(
            f"{int((~latents.isfinite()).sum())} of {latents.numel()} latents are not numbers after the run.",
            hint="Use another scheduler, less guidance or lower LoRA weights.",
        )
    pixels, notes = _decoded(latents, bundle, networks or Eager(bundle), tile)
    image = Image.fromarray(pixels.movedim(0, -1).numpy())
    if upscale > 1:
        size = (round(image.width * upscale), round(image.height * upscale))
        image = image.resize(size, Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    # Level 1 takes 0.6 of the time of the default 6 for 12 % more bytes; the library writes the file again.
    image.save(stream, "PNG", compress_level=1)
    return Finished(image.width, image.height, stream.getvalue(), time.monotonic() - started, notes)


def _decoded(
    latents: Tensor, bundle: ModelBundle, networks: Networks, tile: int
) -> tuple[Tensor, tuple[str, ...]]:
    """uint8 (3, H, W) on the CPU."""
    notes: tuple[str, ...] = () if networks.name in PLAIN else (networks.name,)
    side = max(latents.shape[-2:])
    tiled = bool(tile) and tile < side
    picture = None
    try:
        if not tiled:
            picture = networks.decode(unscaled(latents, bundle.vae))[0]
    except Exception as error:
        if not memory.ran_out(error):
            raise
    if picture is None:
        picture, notes = (
            _in_tiles(latents, bundle, tile if tiled else min(TILES[-1], side // 2)),
            (*notes, "tiled_decode"),
        )
    if not picture.isfinite().all() and not _exact(bundle, networks):
        picture, notes = _decode(latents, copy.deepcopy(bundle.vae).float()), (*notes, "float32_decode")
    if not picture.isfinite().all():
        raise NumericalError(
            "Decoding gave values that are not numbers, also in float32.", hint="Use another seed."
        )
    return ((picture / 2 + 0.5).clamp(0, 1) * 255).round().byte().cpu(), notes


def _exact(bundle: ModelBundle, networks: Networks) -> bool:
    return networks.name == "float32" and bundle.vae.dtype == torch.float32


def _decode(latents: Tensor, vae: object) -> Tensor:
    picture: Tensor = vae.decode(unscaled(latents, vae).to(vae.dtype), return_dict=False)[0][0]  # type: ignore[attr-defined]
    return picture.float()


def _in_tiles(latents: Tensor, bundle: ModelBundle, tile: int) -> Tensor:
    # A shallow copy shares the weights; tiling set on it does not touch what another thread encodes with.
    tiled = copy.copy(bundle.vae)
    tiled.enable_tiling()
    tiled.tile_latent_min_size, tiled.tile_sample_min_size = tile, tile * bundle.factor
    try:
        return _decode(latents, tiled)
    except Exception as error:
        if not memory.ran_out(error):
            raise
        height, width = (side * bundle.factor for side in latents.shape[-2:])
        raise OutOfMemory(
            f"Decoding {width} x {height} px does not fit in memory, not even in tiles.",
            hint="Ask for a smaller picture.",
        ) from error
