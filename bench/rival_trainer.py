"""Another trainer as it is, its steps written down: `python bench/rival_trainer.py OUT FILE ARGUMENTS…`

FILE: diffusers' examples/text_to_image/train_text_to_image_lora.py; it stays outside of this repository.
Written to OUT.safetensors: for each step its latents, noise, noise levels and text rows, and the LoRA it
began with; to OUT.json: each step's loss and when it began. Imports nothing of the studio, so that FILE's
own Python may run it.
"""

from __future__ import annotations

import json
import runpy
import sys
import time
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional


class Notes:
    """What the rival handed to diffusers, in the order of its steps."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.losses: list[float] = []
        self.begun: list[float] = []

    @property
    def step(self) -> str:
        return f"{len(self.begun) - 1:05d}"

    def watch(self) -> None:
        noise, forward, mse = DDPMScheduler.add_noise, UNet2DConditionModel.forward, functional.mse_loss

        def add_noise(scheduler: Any, clean: Tensor, noises: Tensor, times: Tensor) -> Tensor:
            self.begun.append(time.monotonic())
            for name, value in (("clean", clean), ("noise", noises), ("times", times)):
                self.tensors[f"{self.step}.{name}"] = value.detach().clone()
            return noise(scheduler, clean, noises, times)

        def predict(unet: Any, latents: Tensor, times: Tensor, texts: Tensor, *rest: Any, **more: Any) -> Any:
            if self.step == "00000":
                learned = ((name, one) for name, one in unet.named_parameters() if one.requires_grad)
                self.tensors |= {f"lora.{name}": one.detach().clone() for name, one in learned}
            self.tensors[f"{self.step}.texts"] = texts.detach().clone()
            return forward(unet, latents, times, texts, *rest, **more)

        def mse_loss(*given: Any, **more: Any) -> Tensor:
            loss = mse(*given, **more)
            self.losses.append(float(loss.detach().mean()))
            return loss

        DDPMScheduler.add_noise = add_noise
        UNet2DConditionModel.forward = predict
        functional.mse_loss = mse_loss

    def write(self, out: Path) -> None:
        save_file(
            {name: one.contiguous() for name, one in self.tensors.items()}, out.with_suffix(".safetensors")
        )
        told = {"losses": self.losses, "begun": self.begun, "threads": torch.get_num_threads()}
        out.with_suffix(".json").write_text(json.dumps(told), encoding="utf-8")


def main() -> None:
    out, file, *arguments = sys.argv[1:]
    notes = Notes()
    notes.watch()
    sys.argv = [file, *arguments]
    runpy.run_path(file, run_name="__main__")
    notes.write(Path(out))


if __name__ == "__main__":
    main()
