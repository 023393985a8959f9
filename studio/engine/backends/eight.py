"""A UNet's graph in 8 bits, weights and activations: calibrated on calls of its own pictures, judged by them.

Runs in the process that converts (see convert). Ranges of activations come from whole runs of PyTorch's
float32 network, so that they are of the latents and texts it really sees; other prompts, seeds and a control
picture judge: the same pictures are made with the graph, and where the worst is further off than LEAST, the
graph stays as it is.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from studio.engine.backends.eager import Eager
from studio.engine.backends.networks import Call, Networks
from studio.engine.backends.openvino_core import openvino
from studio.engine.conditions import Conditioner
from studio.engine.denoise import advance, batch, step
from studio.engine.latents import unscaled
from studio.engine.sample import begin
from studio.engine.weights import ModelBundle
from studio.schema import Control, ResolvedRequest

LEAST = 30.0  # dB of PSNR against float32
STEPS = 8
GUIDANCE = 5.0
SEEN = ("a red sneaker on a blue background, glossy", "a portrait of an old fisherman, morning light")
OTHER = ("a green teapot on a wooden table", "a street in the rain at night, neon signs")
CONTROL = "edges"


class Recorder(Eager):
    """PyTorch's networks, and what they were called with."""

    def __init__(self, bundle: ModelBundle) -> None:
        super().__init__(bundle)
        self.calls: list[Call] = []

    def predict(self, call: Call) -> Tensor:
        self.calls.append(call)
        return super().predict(call)


def requests(bundle: ModelBundle, prompts: Sequence[str]) -> list[ResolvedRequest]:
    """One picture a prompt at the model's own size; the last one along a control picture where it has one."""
    side = int(bundle.unet.config.sample_size) * bundle.factor
    made = []
    for place, prompt in enumerate(prompts):
        steered = place == len(prompts) - 1 and bool(bundle.controlnets)
        made.append(
            ResolvedRequest(
                prompt=prompt,
                negative_prompt="blurry",
                model=bundle.name,
                width=side,
                height=side,
                steps=STEPS,
                guidance=GUIDANCE,
                scheduler="ddim",
                seed=place,
                control=Control(image=CONTROL) if steered else None,
            )
        )
    return made


@torch.inference_mode()
def run(bundle: ModelBundle, prompts: Sequence[str], networks: Networks) -> list[Tensor]:
    """The pictures, (3, H, W) in -1..1, drawn by PyTorch."""
    conditioner, pictures = Conditioner({}), []  # type: ignore[arg-type]  # no LoRAs, so no models are asked for
    for place, request in enumerate(requests(bundle, prompts)):
        conditions = conditioner.prepare(request, {CONTROL: _blocks()}, bundle, ())
        sample = begin("calibration", place, request, bundle, conditions, networks)
        while not sample.done:
            step(sample, advance(batch([sample])))
        pictures.append(Eager(bundle).decode(unscaled(sample.latents, bundle.vae))[0])
    return pictures


def psnr(pictures: Iterable[Tensor], exact: Iterable[Tensor]) -> float:
    """dB, of the picture that is furthest off."""
    worst = math.inf
    for one, other in zip(pictures, exact, strict=True):
        error = float((one.clamp(-1, 1) - other.clamp(-1, 1)).square().mean())
        worst = min(worst, 10 * math.log10(4 / max(error, 1e-12)))
    return worst


def rounded(file: Path, calls: Iterable[Mapping[str, Tensor]]) -> Any:
    """The graph in `file` in 8 bits. `calls`: its inputs by name, of runs it is calibrated on."""
    ov = openvino()  # first: without it nncf sends reports too
    import nncf

    given = [{name: value.float().numpy() for name, value in call.items()} for call in calls]
    return nncf.quantize(
        ov.Core().read_model(file),
        nncf.Dataset(given),
        subset_size=len(given),
        # Keeps norms, softmax and what scales attention as they are.
        model_type=nncf.ModelType.TRANSFORMER,
    )


def _blocks() -> bytes:
    """A picture with edges."""
    blocks = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(blocks).resize((256, 256), Image.Resampling.NEAREST).save(stream, "PNG")
    return stream.getvalue()
