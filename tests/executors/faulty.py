"""A worker's engine that breaks where the prompt says so: in the forward of the UNet, as a device would."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.executors.worker import make_engine
from studio.schema import ResolvedRequest
from studio.settings import Settings

if TYPE_CHECKING:
    from studio.engine import Engine

STEP = 3  # the call at which it happens


def make(settings: Settings) -> Engine:
    """Prompts: `kill once`, `hang once` (the first worker that meets them), `device`, `memory`, `nan`."""
    engine = make_engine(settings)
    Fault(settings.home).into(engine)
    return engine


def never(settings: Settings) -> Engine:
    """As a model on a network disk that is gone: reading it does not end."""
    (settings.home / "reading").write_text(str(os.getpid()))
    time.sleep(3600)
    raise AssertionError


class Fault:
    def __init__(self, home: Path) -> None:
        self.home, self.prompt, self.calls = home, "", 0

    def into(self, engine: Any) -> None:
        from diffusers import UNet2DConditionModel

        submit, plain = engine.submit, UNet2DConditionModel.forward

        def remember(run: str, request: ResolvedRequest, inputs: Mapping[str, bytes]) -> None:
            self.prompt, self.calls = request.prompt, 0
            submit(run, request, inputs)

        def forward(unet: Any, *args: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls >= STEP:
                self.strike()
            found = plain(unet, *args, **options)
            return (found[0] * float("nan"),) if self.prompt == "nan" and self.calls >= STEP else found

        engine.submit = remember
        UNet2DConditionModel.forward = forward  # type: ignore[method-assign]

    def strike(self) -> None:
        import torch

        if self.prompt == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        if self.prompt == "device":
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        struck = self.home / self.prompt
        if self.prompt.endswith("once") and not struck.exists():
            struck.touch()
            if self.prompt == "hang once":
                time.sleep(3600)
            os.kill(os.getpid(), signal.SIGKILL)
