"""A process of its own that writes a model's networks as OpenVINO graphs: python -m ... FOLDER < request.

Tracing takes minutes of CPU and gigabytes for a large model: here it is niced, and its memory ends with it.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from studio.engine import weights
from studio.engine.backends.eager import Eager
from studio.engine.backends.openvino_core import openvino
from studio.engine.weights import Located, ModelBundle

VERSION = 2  # of what is written; another number makes every model anew
TOKENS = 77
NOTE = "graphs.json"


@dataclass(frozen=True)
class Order:
    """What the process is told. `row`: of the model. `folder`: where the graphs go. `threads`: to use.

    `eight`: the UNet in 8 bits where its pictures stay near enough.
    """

    row: Located
    folder: Path
    threads: int
    eight: bool = False


@dataclass(frozen=True)
class Note:
    """Beside the graphs, written last. `residuals`: channels and reduction of each, the middle one last.

    `multiple`: latent sides the UNet's graph takes are multiples of it. `kinds`: of ControlNets. `psnr`: dB
    of the 8-bit UNet's worst picture, 0 where it was not tried. `eight`: it is near enough, and in its place.
    """

    residuals: tuple[tuple[int, int], ...]
    multiple: int
    kinds: tuple[str, ...]
    bytes: int
    psnr: float = 0.0
    eight: bool = False


class _UNet(nn.Module):
    def __init__(self, bundle: ModelBundle) -> None:
        super().__init__()
        self.network = bundle.unet
        self._told, self._added = bundle.distilled is not None, bundle.sized

    def forward(self, rows: Tensor, waves: Tensor, text: Tensor, *rest: Tensor) -> Tensor:
        left = list(rest)
        told = left.pop(0) if self._told else None
        added = {"text_embeds": left.pop(0), "time_ids": left.pop(0)} if self._added else None
        with _waving(self.network, waves, added):
            return self._predict(rows, waves[:, 0], text, told, added, left)

    def _predict(
        self, rows: Tensor, moments: Tensor, text: Tensor, told: Tensor | None, added: Any, left: list[Tensor]
    ) -> Tensor:
        extra: dict[str, Any] = {}
        if left:
            extra = {
                "down_block_additional_residuals": tuple(left[:-1]),
                "mid_block_additional_residual": left[-1],
            }
        noise: Tensor = self.network(
            rows,
            moments,
            encoder_hidden_states=text,
            timestep_cond=told,
            added_cond_kwargs=added,
            return_dict=False,
            **extra,
        )[0]
        return noise


class _ControlNet(nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, rows: Tensor, waves: Tensor, text: Tensor, picture: Tensor, scale: Tensor, *rest: Tensor
    ) -> tuple[Tensor, ...]:
        added = {"text_embeds": rest[0], "time_ids": rest[1]} if rest else None
        with _waving(self.network, waves, added):
            down, middle = self.network(
                rows,
                waves[:, 0],
                encoder_hidden_states=text,
                controlnet_cond=picture,
                conditioning_scale=scale,
                added_cond_kwargs=added,
                return_dict=False,
            )
        return (*down, middle)


@contextmanager
def _waving(network: Any, waves: Tensor, added: Mapping[str, Tensor] | None) -> Iterator[None]:
    """In the block the network takes the sines of times and sizes as they are given.

    OpenVINO's bfloat16 keeps 8 bits of what it takes the sine of, and that reaches 1000: at full frequency
    they are noise (the first layer 22 % off, a random UNet's output 3.3e-2 instead of 1.4e-2).
    """
    given = {"time_proj": waves} | ({} if added is None else {"add_time_proj": added["time_ids"]})
    for name, known in given.items():
        getattr(network, name).forward = lambda _, known=known: known
    try:
        yield
    finally:
        for name in given:
            del getattr(network, name).forward


def waved(network: Any, call: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Inputs of a network's graph: sines in the place of times (n) and sizes (n, 6)."""
    found = {**call, "moments": network.time_proj(call["moments"])}
    if "sizes" in call:
        sizes = call["sizes"]
        found["sizes"] = network.add_time_proj(sizes.flatten().float()).view(len(sizes), -1)
    return found


class _Decoder(nn.Module):
    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.network = vae

    def forward(self, latents: Tensor) -> Tensor:
        picture: Tensor = self.network.decode(latents, return_dict=False)[0]
        return picture


def export(bundle: ModelBundle, folder: Path) -> None:
    """Writes unet, decoder, control-<kind> (.xml and .bin, weights in float16) and the note."""
    multiple = 2 ** (len(bundle.unet.config.block_out_channels) - 1)
    side = max(multiple * 2, 8)
    channels = bundle.vae.config.latent_channels
    call = example(bundle, side)
    extra: list[Tensor] = []
    kinds = tuple(bundle.controlnets)
    for kind in kinds:
        network = bundle.controlnets[kind].to(memory_format=torch.contiguous_format)
        picture = torch.zeros(2, network.config.block_out_channels[0], side, side)
        inputs = {"rows": call["rows"][:, :channels]} | {name: call[name] for name in ("moments", "text")}
        inputs |= {"picture": picture, "scale": torch.ones(2, 1, 1, 1)}
        inputs |= {name: call[name] for name in ("pooled", "sizes") if name in call}
        module, inputs = _ControlNet(network), waved(network, inputs)
        if not extra:
            with torch.no_grad():
                extra = [torch.zeros_like(part) for part in module(*inputs.values())]
        _write(module, inputs, folder / f"control-{kind}.xml")
    given = {f"down{place}": part for place, part in enumerate(extra[:-1])}
    given |= dict(zip(("middle",), extra[-1:], strict=False))
    bundle.unet.to(memory_format=torch.contiguous_format)
    _write(_UNet(bundle), waved(bundle.unet, call) | given, folder / "unet.xml")
    bundle.vae.to(memory_format=torch.contiguous_format)
    _write(_Decoder(bundle.vae), {"latents": torch.zeros(1, channels, side, side)}, folder / "decoder.xml")
    note = Note(
        residuals=tuple((int(part.shape[1]), side // int(part.shape[2])) for part in extra),
        multiple=multiple,
        kinds=kinds,
        bytes=sum(file.stat().st_size for file in folder.glob("*.bin")),
    )
    (folder / NOTE).write_text(json.dumps(asdict(note)), encoding="utf-8")


def shrink(bundle: ModelBundle, folder: Path) -> None:
    """Puts a UNet in 8 bits in the exported one's place, if its pictures are near enough; the note tells."""
    from studio.engine.backends import eight
    from studio.engine.backends.openvino_networks import OpenVinoNetworks, inputs_of

    note = Note(**json.loads((folder / NOTE).read_text(encoding="utf-8")))
    recorder = eight.Recorder(bundle)
    eight.run(bundle, eight.SEEN, recorder)
    exact = eight.run(bundle, eight.OTHER, Eager(bundle))
    given = [inputs_of(bundle.unet, call, note) for call in recorder.calls]
    names = ("unet.xml", "unet.bin")
    for name in names:
        (folder / name).rename(folder / f"full-{name}")
    model = eight.rounded(folder / "full-unet.xml", given)
    openvino().save_model(model, folder / "unet.xml", compress_to_fp16=True)
    del model
    found = eight.psnr(eight.run(bundle, eight.OTHER, OpenVinoNetworks(bundle, folder)), exact)
    enough = found >= eight.LEAST
    for name in names:
        full = folder / f"full-{name}"
        full.unlink() if enough else full.replace(folder / name)
    size = sum(file.stat().st_size for file in folder.glob("*.bin"))
    note = replace(note, bytes=size, psnr=round(found, 1), eight=enough)
    (folder / NOTE).write_text(json.dumps(asdict(note)), encoding="utf-8")


def example(bundle: ModelBundle, side: int) -> dict[str, Tensor]:
    """Inputs of a UNet call of two rows, in the order the graph takes them."""
    config = bundle.unet.config
    call = {
        "rows": torch.zeros(2, config.in_channels, side, side),
        "moments": torch.tensor([500.0, 400.0]),
        "text": torch.zeros(2, TOKENS, config.cross_attention_dim),
    }
    if bundle.distilled is not None:
        call["told"] = torch.zeros(2, bundle.distilled)
    if bundle.sized:
        encoder = bundle.text_encoders[-1].config
        call |= {
            "pooled": torch.zeros(2, encoder.projection_dim),
            "sizes": torch.full((2, 5 if bundle.scored else 6), 512.0),
        }
    return call


def _write(module: nn.Module, inputs: Mapping[str, Tensor], file: Path) -> None:
    ov = openvino()
    with torch.no_grad(), warnings.catch_warnings():
        # OpenVINO traces through torch.jit: PyTorch calls it deprecated, and it remarks on each size check.
        warnings.simplefilter("ignore")
        model = ov.convert_model(module.eval(), example_input=tuple(inputs.values()))
    _name(model.inputs, list(inputs))
    ov.save_model(model, file, compress_to_fp16=True)


def _name(ports: Sequence[Any], names: Sequence[str]) -> None:
    if len(ports) != len(names):
        raise RuntimeError(f"{len(ports)} inputs were traced where {len(names)} were given")
    for port, name in zip(ports, names, strict=True):
        port.get_tensor().set_names({name})


def work(pipe: BinaryIO) -> None:
    order: Order = pickle.load(pipe)
    threading.Thread(target=_end_with_the_parent, args=(pipe,), daemon=True).start()
    os.nice(10)
    torch.set_num_threads(order.threads)
    bundle = weights.load(order.row, torch.device("cpu"), torch.float32)
    export(bundle, order.folder)
    if order.eight and bundle.unet.config.in_channels == bundle.vae.config.latent_channels:
        shrink(bundle, order.folder)
    os._exit(0)  # an orderly end would wait for the thread that reads


def _end_with_the_parent(pipe: BinaryIO) -> None:
    pipe.read()  # nothing more comes; it ends when nobody holds the other end
    os._exit(1)


if __name__ == "__main__":
    work(sys.stdin.buffer)
