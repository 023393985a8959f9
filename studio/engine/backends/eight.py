"""A UNet's graph in 8 bits, weights and activations: calibrated on calls of its own pictures, judged by them.

Runs in the process that converts (see convert). Ranges of activations come from whole runs of PyTorch's
float32 network, so that they are of the latents and texts it really sees; other prompts, seeds and a control
picture judge: the same pictures are made with the graph, and where the worst is further off than LEAST, the
graph stays as it is.
"""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
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
GUIDANCE = 3.0
# What every model knows, the pocket one too: a prompt it was never taught is settled by chance, in any type.
SEEN = ("a red sneaker on a blue background, glossy", "a white mug on a green background, matte")
OTHER = ("a green teapot on a cream background, matte", "a yellow lamp on a grey background, glossy")
CONTROL = "edges"
# Few weights, and every error of theirs is in the picture: 2.1e-2 off, not 2.5e-2 (pocket, a UNet output).
KEPT = (".*conv_in/.*", ".*conv_out/.*", ".*time_embedding.*", ".*time_emb_proj.*")


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
        conditions = conditioner.prepare(request, {CONTROL: _thing()}, bundle, ())
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

    nncf.set_log_level(logging.ERROR)  # else it names every layer
    given = [{name: value.float().numpy() for name, value in call.items()} for call in calls]
    return nncf.quantize(
        ov.Core().read_model(file),
        nncf.Dataset(given),
        subset_size=len(given),
        # Keeps norms, softmax and what scales attention as they are.
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=nncf.IgnoredScope(patterns=list(KEPT), validate=False),
    )


def _thing() -> bytes:
    """A picture with edges: a thing on a table."""
    picture = Image.new("RGB", (256, 256), "white")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 190, 256, 256), fill="grey")
    pen.rounded_rectangle((80, 90, 176, 200), 20, fill="black")
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
