"""One step of a group of samples in one UNet call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from studio.engine.backends import Call, Networks, Residuals
from studio.engine.sample import Sample
from studio.engine.weights import ModelBundle

SCORES = (6.0, 2.5)  # how well liked: the prompt's row, the negative one's (the pipeline's own defaults)


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples side by side and all that stays the same while they do.

    Rows: first the negative one of each guided sample, then the prompt one of every sample in that order.
    """

    key: tuple[Any, ...]
    samples: tuple[Sample, ...]
    guided: int
    order: tuple[int, ...]  # row -> index into samples
    text: Tensor  # (rows, tokens, dim)
    added: dict[str, Tensor] | None  # SDXL: pooled text (rows, dim) and sizes (rows, 6; its refiner 5)
    guidance: Tensor  # (guided, 1, 1, 1) float32
    told: Tensor | None  # (rows, width): guidance as a distilled UNet reads it
    control: Tensor | None  # (rows, C, h, w)
    control_scale: Tensor | None  # (rows, 1, 1, 1)
    channels: Tensor | None  # (rows, 5, h, w)
    loras: tuple[Any, ...]  # row -> {adapter: weight}

    @property
    def bundle(self) -> ModelBundle:
        return self.samples[0].bundle

    @property
    def networks(self) -> Networks:
        return self.samples[0].networks


def batch(samples: Sequence[Sample]) -> Batch:
    """`samples` have equal keys."""
    guided = [sample for sample in samples if sample.rows == 2]
    ordered = tuple(guided + [sample for sample in samples if sample.rows == 1])
    order = (*range(len(guided)), *range(len(ordered)))
    bundle = ordered[0].bundle
    texts = [sample.conditions.negative for sample in guided] + [
        sample.conditions.prompt for sample in ordered
    ]
    embeds = torch.stack([text.embeds for text in texts if text is not None])
    pooled = [text.pooled for text in texts if text is not None and text.pooled is not None]
    sizes = [_sizes(ordered[index], row < len(guided)) for row, index in enumerate(order)]
    scales = [ordered[index].control_scale for index in order]
    added = None
    if pooled:
        added = {"text_embeds": torch.stack(pooled), "time_ids": torch.tensor(sizes)}
        added = {name: value.to(bundle.device, bundle.dtype) for name, value in added.items()}
    return Batch(
        key=ordered[0].key,
        samples=ordered,
        guided=len(guided),
        order=order,
        text=embeds.to(bundle.device, bundle.dtype),
        added=added,
        guidance=torch.tensor([sample.request.guidance for sample in guided], device=bundle.device).view(
            -1, 1, 1, 1
        ),
        told=_told([sample.request.guidance for sample in ordered], bundle),
        control=_rows([sample.conditions.control for sample in ordered], order) if any(scales) else None,
        control_scale=torch.tensor(scales, device=bundle.device, dtype=bundle.dtype).view(-1, 1, 1, 1),
        channels=_rows([sample.channels for sample in ordered], order),
        loras=tuple(ordered[index].conditions.loras for index in order),
    )


def advance(group: Batch) -> Tensor:
    """One UNet call for all rows. Returns the guided prediction of each sample, (samples, C, h, w) float32.

    Changes no sample, so it can be repeated with fewer of them when memory runs out.
    """
    bundle = group.bundle
    inputs = torch.cat(
        [
            sample.scheduler.scale_model_input(sample.latents, sample.times[sample.step])
            for sample in group.samples
        ]
    )
    moments = torch.tensor([sample.moments[sample.step] for sample in group.samples])
    rows = inputs if not group.guided else torch.cat([inputs[: group.guided], inputs])
    moments = moments if not group.guided else torch.cat([moments[: group.guided], moments])
    rows, moments = rows.to(bundle.dtype), moments.to(bundle.device)
    call = Call(rows, moments, group.text, group.told, group.added, group.loras)
    residuals = _steered(group, call)
    if group.channels is not None:
        rows = torch.cat([rows, group.channels.to(rows.dtype)], dim=1)
    noise = group.networks.predict(replace(call, rows=rows, residuals=residuals))
    if not group.guided:
        return noise
    negative, prompt = noise[: group.guided], noise[group.guided :]
    led = negative + group.guidance * (prompt[: group.guided] - negative)
    return torch.cat([led, prompt[group.guided :]])


def step(sample: Sample, noise: Tensor, foresee: bool = False) -> None:
    """Moves one sample on by `noise` (1, C, h, w); with `foresee`, also guesses the finished latents."""
    time = sample.times[sample.step]
    if foresee:
        sample.guess = _foreseen(sample, noise)
    moved = sample.scheduler.step(noise, time, sample.latents, **sample.options, return_dict=False)
    sample.latents = moved[0]
    sample.step += 1
    sample.hand_over()
    if sample.original is not None and sample.mask is not None:
        kept = sample.original
        if not sample.done:
            kept = sample.scheduler.add_noise(kept, sample.noise, sample.times[sample.step][None])
        sample.latents = (1 - sample.mask) * kept + sample.mask * sample.latents


def _steered(group: Batch, call: Call) -> Residuals | None:
    kind = group.samples[0].request.control
    if group.control is None or group.control_scale is None or kind is None:
        return None
    return group.networks.steer(kind.type, call, group.control, group.control_scale)


def _foreseen(sample: Sample, noise: Tensor) -> Tensor:
    """x0 from the prediction. Every scheduler feeds the UNet variance-preserving latents: one formula."""
    time = sample.times[sample.step]
    latents = sample.scheduler.scale_model_input(sample.latents, time)
    alpha = float(sample.scheduler.alphas_cumprod[round(sample.moments[sample.step])])
    kind = sample.scheduler.config.prediction_type
    if kind == "sample":
        return noise
    signal, rest = alpha**0.5, (1 - alpha) ** 0.5
    found: Tensor = (
        signal * latents - rest * noise if kind == "v_prediction" else (latents - rest * noise) / signal
    )
    return found


def _told(guidance: Sequence[float], bundle: ModelBundle) -> Tensor | None:
    """Sines and cosines of guidance - 1. Source: w-conditioning of arXiv:2210.03142, as diffusers has it."""
    if bundle.distilled is None:
        return None
    half = bundle.distilled // 2
    pace = torch.exp(torch.arange(half) * -(math.log(10_000) / (half - 1)))
    angles = (torch.tensor(guidance) - 1)[:, None] * 1000 * pace
    return torch.cat([angles.sin(), angles.cos()], dim=1).to(bundle.device, bundle.dtype)


def _sizes(sample: Sample, negative: bool) -> tuple[float, ...]:
    """SDXL's original size, crop corner and target size in px; its refiner has a score for the last."""
    height, width = float(sample.request.height), float(sample.request.width)
    last = (SCORES[negative],) if sample.bundle.scored else (height, width)
    return height, width, 0.0, 0.0, *last


def _rows(parts: Sequence[Tensor | None], order: Sequence[int]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.cat([known[index] for index in order]) if known else None
