"""What steers a job's samples, made once for all of them: text rows, LoRAs, control and start picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from studio.engine import controls
from studio.engine.job import Job
from studio.engine.lora_files import read_adapter
from studio.engine.sample import Conditions
from studio.engine.text import TextRows, encode, pad_to
from studio.engine.weights import ModelBundle
from studio.errors import BadRequest, NotFound
from studio.schema import ResolvedRequest

if TYPE_CHECKING:
    from studio.models import Models

IDLE_ADAPTERS = 8  # kept beyond those in use: each adds its rank to every call, used or not
TEXTS = 256  # encoded texts kept a model: 77 x 768 floats are 0.2 MB

Stack = tuple[tuple[str, float], ...]
Texts = tuple[TextRows, TextRows | None]  # prompt and negative; without guidance there is no negative


class Conditioner:
    def __init__(self, models: Models) -> None:
        self._models = models

    def prepare(
        self,
        request: ResolvedRequest,
        inputs: Mapping[str, bytes],
        bundle: ModelBundle,
        running: Iterable[Job],
    ) -> Conditions:
        """Raises StudioError: a LoRA that does not fit, a missing picture, a control the model lacks."""
        in_use = {
            name
            for job in running
            if job.conditions and job.bundle is bundle
            for name in job.conditions.loras
        }
        stack = self._attach(request, bundle, in_use)
        texts = self._texts(request, bundle, stack)
        control = origin = None
        if request.control is not None:
            picture = _input(inputs, request.control.image, "control.image")
            control = controls.control_picture(picture, request.control, request, bundle)
        if request.init_image is not None:
            mask = None if request.mask is None else _input(inputs, request.mask, "mask")
            origin = controls.origin(_input(inputs, request.init_image, "init_image"), mask, request, bundle)
        return Conditions(*texts[0], dict(stack), control, origin, texts if request.prompts else ())

    def refine(self, request: ResolvedRequest, bundle: ModelBundle) -> Conditions:
        """For the model that goes on: it reads the same words; LoRAs and controls are the first one's."""
        texts = self._texts(request, bundle, ())
        return Conditions(*texts[0], loras={}, texts=texts if request.prompts else ())

    def adapters(self, bundles: Iterable[ModelBundle]) -> tuple[str, ...]:
        names = {name for bundle in bundles for name in bundle.banks["unet"].names()}
        return tuple(sorted({name.rpartition("@")[0] for name in names}))

    def _attach(self, request: ResolvedRequest, bundle: ModelBundle, in_use: set[str]) -> Stack:
        """Brings the request's adapters into the banks. A name given twice counts with both weights."""
        weights: dict[str, float] = {}
        for lora in request.loras:
            file = self._models.lora(lora.name).file
            name = _adapter_name(lora.name, file)
            weights[name] = weights.get(name, 0.0) + lora.weight
            if name not in bundle.banks["unet"].names():
                adapter = read_adapter(file, bundle.unet, bundle.text_encoders, bundle.family)
                for bank in bundle.banks.values():
                    bank.add(name, adapter)
        self._forget(bundle, in_use | set(weights))
        return tuple(weights.items())

    def _forget(self, bundle: ModelBundle, in_use: set[str]) -> None:
        idle = [name for name in bundle.banks["unet"].names() if name not in in_use]
        for name in idle[: max(0, len(idle) - IDLE_ADAPTERS)]:
            for bank in bundle.banks.values():
                bank.remove(name)

    def _texts(self, request: ResolvedRequest, bundle: ModelBundle, stack: Stack) -> tuple[Texts, ...]:
        """Prompt and negative of each picture; one pair where all have the same.

        Each pair is as long as it needs: a picture must not change with the prompts of those beside it.
        """
        prompts = request.prompts or (request.prompt,)
        return tuple(self._text(prompt, request, bundle, stack) for prompt in prompts)

    def _text(self, text: str, request: ResolvedRequest, bundle: ModelBundle, stack: Stack) -> Texts:
        prompt = self._encoded(text, bundle, stack)
        if request.guidance <= 1 or bundle.distilled:
            return prompt, None
        if bundle.zero_negative and not request.negative_prompt.strip():
            pooled = None if prompt.pooled is None else torch.zeros_like(prompt.pooled)
            return prompt, TextRows(torch.zeros_like(prompt.embeds), pooled)
        negative = self._encoded(request.negative_prompt, bundle, stack)
        tokens = max(len(prompt.embeds), len(negative.embeds))
        prompt, negative = (pad_to(rows, tokens, bundle, dict(stack)) for rows in (prompt, negative))
        return prompt, negative

    def _encoded(self, text: str, bundle: ModelBundle, stack: Stack) -> TextRows:
        key = (text, stack)
        if key not in bundle.texts:
            bundle.texts[key] = encode([text], bundle, stacks=[dict(stack)])[0]
        bundle.texts.move_to_end(key)
        while len(bundle.texts) > TEXTS:
            bundle.texts.popitem(last=False)
        rows: TextRows = bundle.texts[key]
        return rows


def _adapter_name(name: str, file: Path) -> str:
    """Another file under the same name is another adapter."""
    try:
        return f"{name}@{file.stat().st_mtime_ns}"
    except OSError:
        raise NotFound(f"The LoRA {name} is gone.", hint="Add it again.", code="lora_missing") from None


def _input(inputs: Mapping[str, bytes], name: str, field: str) -> bytes:
    if name not in inputs:
        raise BadRequest(f"The picture for {field} did not come with the request.", field=field)
    return inputs[name]
