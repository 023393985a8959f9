"""Whether OpenVINO is faster on this machine: tried once, beside serving, and used from the next start on.

Not at once, for a change of backend changes a picture's bytes; not at the first start itself, for making a
graph takes half a minute. The process of its own is niced, and its memory ends with it.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import warnings
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from studio.engine.backends.choice import (
    Choice,
    fast_bfloat16,
    fastest,
    in_turn,
    inputs,
    keep,
    stand_in,
    step,
)
from studio.engine.backends.networks import numbered
from studio.engine.backends.openvino_core import openvino, options
from studio.settings import Settings

log = logging.getLogger(__name__)

DELAY = 300.0  # seconds after the start: a person's first pictures come first


class Trial:
    """`start` returns at once; nothing happens where there is nothing to try."""

    def __init__(self, settings: Settings, choice: Choice) -> None:
        self._home, self._choice = settings.home, choice
        self._due = (
            not choice.forced and "openvino" not in choice.seconds and find_spec("openvino") is not None
        )
        self._closed = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, delay: float = DELAY) -> threading.Thread | None:
        if not self._due:
            return None
        thread = threading.Thread(target=self._run, args=(delay,), name="trial", daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        self._closed.set()
        if self._child is not None:
            self._child.kill()

    def _run(self, delay: float) -> None:
        if self._closed.wait(delay):
            return
        command = [sys.executable, "-W", "ignore", "-m", __name__, str(torch.get_num_threads())]
        paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=os.environ | paths,
        ) as child:  # fmt: skip
            self._child = child
            said, wrong = child.communicate()
        try:
            found = {str(name): float(took) for name, took in json.loads(said.splitlines()[-1]).items()}
        except (ValueError, IndexError, AttributeError):
            if not self._closed.is_set():
                log.warning("OpenVINO could not be tried: %s", wrong.decode(errors="replace").strip()[-300:])
            return
        choice = replace(self._choice, name=fastest(found), seconds=found)
        keep(self._home, choice)
        log.info("backend of the next start: %s, %s", choice.name, found)


class _Step(nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, rows: Tensor, moments: Tensor, text: Tensor) -> Tensor:
        noise: Tensor = self.network(rows, moments, encoder_hidden_states=text, return_dict=False)[0]
        return noise


def compare() -> dict[str, float]:
    """Seconds of a guided step of the stand-in: PyTorch's rows and OpenVINO's graph, in turn."""
    dtypes = [torch.float32, *([torch.bfloat16] if fast_bfloat16() else [])]
    rows: dict[str, Any] = {numbered(dtype): partial(step, stand_in(dtype)) for dtype in dtypes}
    with torch.inference_mode():
        return in_turn(rows | {"openvino": graph().infer})


def graph() -> Any:
    """The stand-in as a request with its inputs in place."""
    network = stand_in(torch.float32).to(memory_format=torch.contiguous_format)
    given = inputs(torch.float32)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # see convert
        model = openvino().convert_model(_Step(network), example_input=given)
    model.reshape({place: list(tensor.shape) for place, tensor in enumerate(given)})
    request = openvino().Core().compile_model(model, "CPU", options()).create_infer_request()
    for place, tensor in enumerate(given):
        request.set_input_tensor(place, openvino().Tensor(tensor.numpy()))
    return request


if __name__ == "__main__":
    os.nice(10)
    torch.set_num_threads(int(sys.argv[1]))
    sys.stdout.write(json.dumps(compare()) + "\n")
    sys.stdout.flush()
    os._exit(0)
