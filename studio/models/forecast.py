"""How much memory a run will take, from a model's own configs and headers: known before anything is loaded.

Peak of the worker = its process + the weights in their working types + what is alive at the worst moment of a
UNet call, of the VAE, or of both where a picture is drawn beside the next step. The walks below count the
feature maps that diffusers' code holds at that moment (tests/engine/test_memory_plan.py counts them while it
runs); bench/memory_plan.py compares the whole with the measured peak.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from studio.catalog import FAMILIES, Family
from studio.models.checkpoint import FILE, read_checkpoint
from studio.models.folders import NETWORKS, read_config, weight_files
from studio.safetensors_header import read_header
from studio.schema import ResolvedRequest

SIZES = (512, 768, 1024)  # px, for telling what a model takes
WIDTHS: Mapping[str, int] = {
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int8": 2,
}  # bytes of a number at work
PROCESS = 500 * 2**20  # bytes of a worker before its first model, where it has not said so yet
GIB = 2**30
CODE = 75 * 2**20  # bytes of vocabularies, kernels and libraries that loading and the first run bring in
# Bytes of a number in a call's feature maps: as in float32, for in half types CPU kernels pack their inputs a
# second time (SD 1.5 in bfloat16 at 512 px: 0.5 GiB measured where its maps have 0.13).
PACKED = 4
SPARE = 1.25  # of the work: what the allocator and the CPU library keep between two calls
SCALES = 1.02  # of 8-bit weights: their scales, and the layers that keep their type
# In units of a block's own feature map: a feed-forward layer holds 4 x 4 of them (gate and product of twice
# four), beside its input, three earlier versions of it and the attention's output.
FEED_FORWARD = 21
TILES = (64, 32)  # latents a side; the picture is drawn piece by piece, at the price of faint seams


def kind_of(backend: str, dtype: str) -> str:
    """What `dtype` means here: the worker's type of numbers, or int8 with the type it computes in."""
    return dtype if backend != "int8" else "int8" if dtype == "bfloat16" else f"int8 {dtype}"


@dataclass(frozen=True)
class Policy:
    """How a model is run. `rows`: most of one UNet call. `beside`: pictures are drawn during the next steps.

    `tile`: latents a side of the pieces a picture is drawn in, 0 = whole.
    """

    rows: int
    beside: bool = True
    tile: int = 0

    @property
    def name(self) -> str:
        words = [f"{self.rows} rows"] + ["decode apart"] * (not self.beside)
        return ", ".join(words + [f"tiles of {self.tile}"] * bool(self.tile))


def policies(rows: int) -> Iterator[Policy]:
    """From the fastest to the smallest. `rows`: most of a call as the settings allow it."""
    policy = Policy(rows)
    yield policy
    while policy.rows > 2:
        policy = Policy(max(2, policy.rows // 2))
        yield policy
    policy = replace(policy, beside=False)
    yield policy
    for tile in TILES:
        yield replace(policy, tile=tile)


class Asked(Protocol):
    """What is needed of a request."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def guidance(self) -> float: ...
    @property
    def control(self) -> Any: ...
    @property
    def init_image(self) -> str | None: ...


class Known(Protocol):
    """What is needed of the models that are there."""

    def shapes(self, name: str) -> Shapes: ...


class Worker(Protocol):
    """What is needed of a worker's status."""

    @property
    def dtype(self) -> str: ...
    @property
    def backend(self) -> str: ...
    @property
    def process(self) -> int: ...


@dataclass(frozen=True)
class Run:
    """What a request asks of memory. `rows`: UNet rows of all its pictures. `start`: from a picture."""

    width: int
    height: int
    rows: int = 2
    control: bool = False
    start: bool = False


@dataclass(frozen=True)
class Forecast:
    """Bytes. `weights`: of the model. `call`, `draw`: alive in a UNet call and in the VAE beyond them.

    `overlap`: a picture is drawn while others go on.
    """

    policy: Policy
    process: int
    weights: int
    call: int
    draw: int
    overlap: bool

    @property
    def work(self) -> int:
        """Beyond process and weights."""
        return int(SPARE * (self.call + self.draw if self.overlap else max(self.call, self.draw)))

    @property
    def peak(self) -> int:
        return self.process + self.weights + self.work


class Shapes:
    """What a forecast needs of a model, read once."""

    def __init__(self, folder: Path) -> None:
        self.unet = read_config(folder / "unet" / "config.json")
        self.vae = read_config(folder / "vae" / "config.json")
        self.elements = dict(_elements(folder))
        self.largest = _largest(self.unet)
        texts = (read_config(folder / name / "config.json") for name in ("text_encoder", "text_encoder_2"))
        self.words = sum(int(text.get("vocab_size", 0)) * int(text.get("hidden_size", 0)) for text in texts)
        self.two_encoders = (folder / "text_encoder_2").is_dir()
        self._drawn = list(self.vae.get("block_out_channels", [128, 256, 512, 512]))
        self.factor = int(2 ** (len(self._drawn) - 1))
        self._after: Shapes | None = None

    def followed(self, other: Shapes) -> Shapes:
        """For a run whose last steps are the other model's: both are in memory, one at a time computes."""
        both = copy.copy(self)
        both._after = other
        return both

    def run(self, request: Asked) -> Run:
        guided = request.guidance > 1 and not self.unet.get("time_cond_proj_dim")
        return Run(
            request.width, request.height, request.count * (2 if guided else 1),
            request.control is not None, request.init_image is not None,
        )  # fmt: skip

    def weights(self, dtype: str) -> int:
        """Bytes of all networks, each in its type: see weights.load. `dtype`: the worker's."""
        held = sum(count * self._width(name, dtype) for name, count in self.elements.items())
        if dtype.startswith("int8"):
            held = int(SCALES * held) + 3 * self.words
        return held + (self._after.weights(dtype) if self._after else 0)

    def forecast(self, dtype: str, run: Run, policy: Policy, process: int = PROCESS) -> Forecast:
        size = WIDTHS.get(dtype, 4)
        tall, wide = run.height // self.factor, run.width // self.factor
        rows = min(run.rows, policy.rows)
        call = rows * tall * wide * self._call(run.control) * PACKED + self.largest * size
        if run.start:
            read = 3 * self._drawn[0] * run.width * run.height * self._width("vae", dtype)
            call = max(call, read)
        draw = self._draw(tall, wide, policy.tile) * self._width("vae", dtype)
        if self._after:
            then = self._after.forecast(dtype, replace(run, control=False, start=False), policy, process)
            call, draw = max(call, then.call), max(draw, then.draw)
        overlap = policy.beside and run.rows > policy.rows
        return Forecast(policy, process + CODE, self.weights(dtype), int(call), int(draw), overlap)

    def refusal(self, dtype: str, run: Run, policy: Policy, process: int, room: int) -> tuple[str, str]:
        """(message, hint) for a run that takes more than `room` bytes even with the smallest policy."""
        least = self.forecast(dtype, run, policy, process)
        size = f"{run.width} x {run.height} px needs at least {least.peak / GIB:.2f} GiB of memory "
        parts = f"(weights {least.weights / GIB:.2f}, work {least.work / GIB:.2f})"
        sides = (side for side in range(64 * (max(run.width, run.height) // 64), 63, -64))
        smaller = (replace(run, width=side, height=side) for side in sides)
        fits = next((one for one in smaller if self.forecast(dtype, one, policy, process).peak <= room), None)
        hint = f"{fits.width} x {fits.height} px fits. " if fits else "Pick a smaller model. "
        if dtype == "float32":
            hint += "STUDIO_BACKEND=bfloat16 halves the weights. "
        return f"{size}{parts}; {max(0, room) / GIB:.2f} GiB is there.", f"{hint}Or raise STUDIO_MEMORY."

    def _width(self, network: str, dtype: str) -> int:
        size = WIDTHS.get(dtype, 4)
        if dtype.startswith("int8") and network != "vae":
            return 1
        if network.startswith("text") and dtype == "bfloat16":
            return 4
        upcast = self.two_encoders and self.vae.get("force_upcast", True)
        return 4 if network == "vae" and dtype == "float16" and upcast else size

    def _call(self, control: bool) -> float:
        """Most numbers alive in a UNet call, for one row and one latent px."""
        held, peak = walk_unet(self.unet)
        return peak + (2 * held if control else 0)

    def _draw(self, tall: int, wide: int, tile: int) -> float:
        tall, wide = (min(side, tile) if tile else side for side in (tall, wide))
        return tall * wide * walk_decoder(self._drawn)


def shapes_of(models: Known, request: ResolvedRequest) -> Shapes:
    """Of the request's model, and of the one that refines."""
    found = models.shapes(request.model)
    return found.followed(models.shapes(request.refiner.model)) if request.refiner else found


@dataclass(frozen=True)
class Outlook:
    """A run as foreseen. `bytes`: of the worker at its worst; `there`: what it may take, 0 = not known.

    `policy`: how it will be run, `tight` when not in the fastest way; `rows`: of a UNet call. `seconds`: None
    until such a picture was made.
    """

    bytes: int
    there: int
    fits: bool
    policy: str
    tight: bool
    rows: int
    seconds: float | None


def foresee(shapes: Shapes, run: Run, rows: int, worker: Worker, there: int) -> Forecast:
    """The forecast of the fastest policy that fits into `there` bytes, else of the smallest one."""
    for policy in policies(rows):
        found = shapes.forecast(kind_of(worker.backend, worker.dtype), run, policy, worker.process or PROCESS)
        if not there or found.peak <= there:
            return found
    return found


def family_needs(family: Family, dtype: str) -> int:
    """About what a family's usual model takes at its own size, as a single picture."""
    size = WIDTHS.get(dtype, 4)
    usual = family.context != FAMILIES["pocket"].context
    unet, vae = ([320, 640, 1280, 1280], [128, 256, 512, 512]) if usual else ([64, 128, 256], [32, 64, 96])
    side = family.size // 2 ** (len(vae) - 1)
    call = 2 * side**2 * walk_unet({"block_out_channels": unet})[1]
    work = SPARE * max(call, side**2 * walk_decoder(vae)) * size
    return int(PROCESS + CODE + family.gib * GIB / 2 * size + work)


def machine_memory() -> int:
    """Bytes this machine has, or this container may use."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    except (OSError, ValueError):  # no such limit
        return total


def walk_unet(config: Mapping[str, Any]) -> tuple[float, float]:
    """(numbers in all skip connections, most numbers alive), for one row and one latent px.

    Source: UNet2DConditionModel.forward and the blocks it calls, diffusers 0.42.
    """
    channels = list(config.get("block_out_channels", [320, 640, 1280, 1280]))
    down, up = (
        list(config.get(f"{way}_block_types", ["CrossAttn"] * len(channels))) for way in ("down", "up")
    )
    layers = config.get("layers_per_block", 2)
    deep = list(layers) if isinstance(layers, list) else [layers] * len(channels)
    skips, area, before, peak = [float(channels[0])], 1.0, channels[0], 0.0
    for place, (width, kind) in enumerate(zip(channels, down, strict=False)):
        for _ in range(deep[place]):
            peak = max(peak, sum(skips) + _alive(before, width, kind) * area)
            skips.append(width * area)
            before = width
        if place + 1 < len(channels):
            area /= 4
            skips.append(width * area)
    peak = max(peak, sum(skips) + _alive(before, before, "CrossAttn") * area)
    held = sum(skips)
    for place, (width, kind) in enumerate(zip(reversed(channels), up, strict=False)):
        count = deep[-1 - place] + 1
        own = skips[-count:]
        came = before * area
        for skip in reversed(own):
            peak = max(peak, sum(skips) + came + _alive(before + skip / area, width, kind) * area)
            before = width
        del skips[-count:]
        if place + 1 < len(channels):
            area *= 4
            peak = max(peak, sum(skips) + (width / 4 + 2 * width) * area)
    return held, peak


def walk_decoder(channels: list[int]) -> float:
    """Most numbers alive while the VAE draws, for one latent px: in a resnet's first norm, x3."""
    peak, before, area = 0.0, channels[-1], 1.0
    for place, width in enumerate(reversed(channels)):
        peak = max(peak, _alive(before, width, "") * area)
        if place + 1 < len(channels):
            area *= 4
            peak = max(peak, (width / 4 + 2 * width) * area)
        before = width
    return peak


def _alive(came: float, width: float, kind: str) -> float:
    """Most numbers alive a px in a resnet from `came` to `width` channels and the transformer after it."""
    resnet = max(3 * came, 2 * came + width, came + 3 * width)
    return max(resnet, FEED_FORWARD * width if "CrossAttn" in kind else 0.0)


def _largest(unet: Mapping[str, Any]) -> int:
    """Numbers in the largest convolution: a CPU library lays each one out anew before it is used."""
    channels = sorted(unet.get("block_out_channels", [320, 640, 1280, 1280]))
    return int(9 * channels[-1] * (channels[-1] + channels[-1]))


def _elements(folder: Path) -> Iterator[tuple[str, int]]:
    """Network -> numbers in its weights."""
    inside = read_checkpoint(folder / FILE, folder.name).parts if (folder / FILE).is_file() else {}
    for name in NETWORKS:
        if files := weight_files(folder / name):
            headers = (read_header(file).tensors for file in files)
            yield name, sum(math.prod(shape) for tensors in headers for _, shape in tensors.values())
        elif name in inside:
            tensors = read_header(folder / FILE).tensors
            sources = inside[name].sources.values()
            yield (
                name,
                sum(math.prod(tensors[one.key][1]) // (1 if one.third is None else 3) for one in sources),
            )
