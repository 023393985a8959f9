"""A model's networks as OpenVINO graphs, LoRA bank and control residuals included."""

from __future__ import annotations

import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studio.engine.backends import bank_graph
from studio.engine.backends.convert import NOTE, Note, example, waved
from studio.engine.backends.eager import Eager
from studio.engine.backends.networks import Call, Residuals
from studio.engine.backends.openvino_core import openvino, options
from studio.engine.weights import ModelBundle

log = logging.getLogger(__name__)

SMALL = 256 * 2**20  # bytes of all graphs: up to here each shape gets a graph of its own, made when it comes
SHAPES = 12  # graphs of one network kept then; each holds its weights once more
Inputs = Mapping[str, Tensor]


class Graph:
    """One network: compiled for fixed shapes where that is cheap (8 to 40 % faster), for any shape elsewhere.

    One call at a time: `run` waits for the one before.
    """

    def __init__(self, file: Path, small: bool) -> None:
        self._core = openvino().Core()
        self._plain = self._core.read_model(file)
        self._small = small
        self._lock = threading.Lock()
        self._made: OrderedDict[Any, Any] = OrderedDict()  # (shapes, bank) -> infer request

    def run(self, inputs: Inputs, bank: Bank | None = None) -> list[Tensor]:
        """Float32 outputs. `inputs` in any floating type, every name the graph has; `bank`: for this call."""
        with self._lock:
            request = self._request(inputs, bank)
            if bank is not None:
                bank.put(request)
            for name, value in inputs.items():
                request.set_tensor(name, _tensor(value))
            request.infer()
            # Copies: the request writes its next results to the same place.
            return [torch.from_numpy(output.data.copy()) for output in request.output_tensors]

    def _request(self, inputs: Inputs, bank: Bank | None) -> Any:
        shapes = tuple(tuple(value.shape) for value in inputs.values()) if self._small else ()
        key = (shapes, None if bank is None else bank.layout)
        if key not in self._made:
            self._made[key] = self._compiled(inputs if self._small else {}, bank).create_infer_request()
        self._made.move_to_end(key)
        while len(self._made) > (SHAPES if self._small else 2):
            self._made.popitem(last=False)
        return self._made[key]

    def _compiled(self, inputs: Inputs, bank: Bank | None) -> Any:
        model = self._plain.clone()
        if bank is not None:
            bank_graph.insert(model, bank.stacks, bank.size)
        if inputs:
            fixed = {name: list(value.shape) for name, value in inputs.items()}
            if bank is not None:
                fixed[bank_graph.SCALES] = [len(bank.scales), bank.size]
            model.reshape(fixed)
        return self._core.compile_model(model, "CPU", options())


class Bank:
    """The LoRA bank's tensors as a graph takes them, for one call."""

    def __init__(self, stacks: bank_graph.Stacks, size: int, version: int, scales: Tensor) -> None:
        self.stacks, self.size, self.scales = stacks, size, scales
        self._version = version
        self.layout = (size, tuple(stacks))

    def put(self, request: Any) -> None:
        request.set_tensor(bank_graph.SCALES, _tensor(self.scales))
        if getattr(request, "bank_version", None) == self._version:
            return
        for path, (down, up) in self.stacks.items():
            request.set_tensor(f"{path}.down", _tensor(down))
            request.set_tensor(f"{path}.up", _tensor(up))
        request.bank_version = self._version


class OpenVinoNetworks:
    """What the graphs do not take (latent sides that do not halve evenly) PyTorch's own networks do."""

    def __init__(self, bundle: ModelBundle, folder: Path) -> None:
        self._note = Note(**json.loads((folder / NOTE).read_text(encoding="utf-8")))
        self.name = "openvino-int8" if self._note.eight else "openvino"
        small = self._note.bytes < SMALL
        self._eager, self._bundle = Eager(bundle), bundle
        self._unet = Graph(folder / "unet.xml", small)
        self._decoder = Graph(folder / "decoder.xml", small)
        self._controls = {kind: Graph(folder / f"control-{kind}.xml", small) for kind in self._note.kinds}
        self._warm()

    def predict(self, call: Call) -> Tensor:
        if not self._takes(call.rows):
            return self._eager.predict(call)
        (noise,) = self._unet.run(inputs_of(self._bundle.unet, call, self._note), self._bank(call))
        return noise

    def steer(self, kind: str, call: Call, picture: Tensor, scale: Tensor) -> Residuals:
        if not self._takes(call.rows):
            return self._eager.steer(kind, call, picture, scale)
        inputs = _shared(call) | {"picture": picture, "scale": scale}
        inputs |= dict(zip(("pooled", "sizes"), _added(call), strict=False))
        *down, middle = self._controls[kind].run(waved(self._bundle.controlnets[kind], inputs))
        return Residuals(tuple(down), middle)

    def decode(self, latents: Tensor) -> Tensor:
        (picture,) = self._decoder.run({"latents": latents})
        return picture

    def _takes(self, rows: Tensor) -> bool:
        return all(side % self._note.multiple == 0 for side in rows.shape[-2:])

    def _bank(self, call: Call) -> Bank | None:
        bank = self._bundle.banks["unet"]
        scales = bank.scales(call.loras)
        return None if scales is None else Bank(bank.stacks(), bank.size, bank.version, scales)

    def _warm(self) -> None:
        """Makes the graphs of the model's own size, so that the first picture does not wait for them."""
        side = int(self._bundle.unet.config.sample_size)
        side += -side % self._note.multiple
        given = example(self._bundle, side)
        added = {"text_embeds": given["pooled"], "time_ids": given["sizes"]} if "pooled" in given else None
        call = Call(given["rows"], given["moments"], given["text"], given.get("told"), added, ({}, {}))
        with torch.inference_mode():
            self.predict(call)
            self.decode(torch.zeros(1, self._bundle.vae.config.latent_channels, side, side))


def inputs_of(unet: Any, call: Call, note: Note) -> dict[str, Tensor]:
    """Of the UNet's graph, by name."""
    inputs = _shared(call)
    if call.told is not None:
        inputs["told"] = call.told
    inputs |= dict(zip(("pooled", "sizes"), _added(call), strict=False))
    return waved(unet, inputs) | _residuals(call, note)


def _residuals(call: Call, note: Note) -> dict[str, Tensor]:
    """Zeros where no control is on: the graph is the same."""
    if not note.residuals:
        return {}
    names = [f"down{place}" for place in range(len(note.residuals) - 1)] + ["middle"]
    if call.residuals is not None:
        return dict(zip(names, (*call.residuals.down, call.residuals.middle), strict=True))
    rows, _, height, width = call.rows.shape
    shapes = [(rows, channels, height // by, width // by) for channels, by in note.residuals]
    return {name: torch.zeros(shape) for name, shape in zip(names, shapes, strict=True)}


def _shared(call: Call) -> dict[str, Tensor]:
    return {"rows": call.rows, "moments": call.moments, "text": call.text}


def _added(call: Call) -> tuple[Tensor, ...]:
    return () if call.added is None else (call.added["text_embeds"], call.added["time_ids"])


def _tensor(value: Tensor) -> Any:
    """A copy: shared memory would have to outlive the request; channels-last is copied anyway."""
    return openvino().Tensor(np.ascontiguousarray(value.float().cpu().numpy()))
