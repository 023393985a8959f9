"""Which backend this machine gets: measured once, kept in STUDIO_HOME, asked for by STUDIO_BACKEND."""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from studio.catalog import BACKENDS
from studio.errors import EngineError
from studio.settings import Settings

log = logging.getLogger(__name__)

ROUNDS = 5
GAIN = 0.9  # of float32's time: a row has to be below it, or the exact one stays
PYTORCH = ("float32", "bfloat16")
HALVED = (
    "openvino",
    "openvino-int8",
    "int8",
)  # whose numbers in PyTorch are bfloat16 only where that is fast
SIDE, DIM = 32, 160  # of the stand-in's latents and text rows, as the pocket model has them


@dataclass(frozen=True)
class Choice:
    """`name`: a key of BACKENDS. `seconds`: what a UNet step of the stand-in took with each row tried.

    `forced`: asked for by STUDIO_BACKEND.
    """

    name: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    forced: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """Of the networks PyTorch holds. They answer while a backend is being made, and where it cannot."""
        dtype: torch.dtype = getattr(torch, BACKENDS[self.name].dtype)
        return dtype if self.name not in HALVED or fast_bfloat16() else torch.float32


def choose(settings: Settings, device: torch.device) -> Choice:
    """Raises EngineError for a backend that is asked for and not there."""
    if settings.backend != "auto":
        return _asked(settings.backend, device)
    if device.type != "cpu":
        return Choice("float16" if device.type == "cuda" else "float32")
    kept = _read(settings.home)
    if kept is not None:
        # OpenVINO's graphs hold the weights a second time, which no forecast knows of.
        return replace(kept, name=fastest(kept.seconds, PYTORCH)) if settings.memory_bytes else kept
    found = _measured()
    keep(settings.home, found)
    log.info("backend %s: %s", found.name, found.seconds)
    return found


def fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 by itself; where it does not, float32 is faster."""
    capabilities: Callable[[], Mapping[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    return any(capabilities().get(name) for name in ("avx512_bf16", "amx_bf16", "arm_bf16"))


def fingerprint() -> str:
    """Changes when a measurement has to be taken again."""
    parts = [_cpu(), str(os.cpu_count()), str(torch.get_num_threads()), torch.__version__]
    if find_spec("openvino"):
        parts.append(f"openvino {version('openvino')}")
    return " / ".join(parts)


def choice_file(home: Path) -> Path:
    return home / "backend.json"


def _asked(name: str, device: torch.device) -> Choice:
    if BACKENDS[name].package and find_spec(BACKENDS[name].package) is None:
        raise EngineError(
            f"STUDIO_BACKEND={name} was asked for; the package {BACKENDS[name].package} is not installed.",
            hint=f'Run: pip install "brand-studio[{name}]"',
        )
    if device.type not in BACKENDS[name].devices:
        raise EngineError(
            f"STUDIO_BACKEND={name} was asked for; it does not run on {device.type}.",
            hint="Start with STUDIO_BACKEND=auto.",
        )
    return Choice(name, forced=True)


def _measured() -> Choice:
    """PyTorch's rows, on a stand-in; OpenVINO is tried later, beside serving: see trial."""
    if not fast_bfloat16():
        return Choice("float32")
    seconds = measure({"float32": torch.float32, "bfloat16": torch.bfloat16})
    return Choice(fastest(seconds), seconds)


def fastest(seconds: Mapping[str, float], among: tuple[str, ...] = (*PYTORCH, "openvino")) -> str:
    """Each row has to be clearly faster than the best before it, or that one stays."""
    best = "float32"
    for name in among:
        if seconds.get(name, math.inf) < GAIN * seconds.get(best, math.inf):
            best = name
    return best


@torch.inference_mode()
def measure(dtypes: Mapping[str, torch.dtype]) -> dict[str, float]:
    """Median seconds of a guided step with random weights, the rows in turn."""
    return in_turn({name: partial(step, stand_in(dtype)) for name, dtype in dtypes.items()})


def in_turn(rows: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each."""
    taken: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(ROUNDS + 1):
        for name, work in rows.items():
            begun = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - begun)
    return {name: round(statistics.median(times[1:]), 5) for name, times in taken.items()}


def step(network: Any) -> None:
    """A guided one of the stand-in."""
    rows, moments, text = inputs(network.dtype)
    network(rows, moments, encoder_hidden_states=text)


def inputs(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of a guided step of the stand-in: rows, moments, text."""
    return (
        torch.zeros(2, 4, SIDE, SIDE, dtype=dtype),
        torch.full((2,), 500.0),
        torch.zeros(2, 77, DIM, dtype=dtype),
    )


def stand_in(dtype: torch.dtype) -> Any:
    network = UNet2DConditionModel(
        sample_size=SIDE,
        block_out_channels=(64, 128, 256),
        layers_per_block=1,
        attention_head_dim=4,
        cross_attention_dim=DIM,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )
    return network.eval().to(dtype).to(memory_format=torch.channels_last)


def _read(home: Path) -> Choice | None:
    try:
        kept = json.loads(choice_file(home).read_text(encoding="utf-8"))
        if kept["machine"] != fingerprint() or kept["backend"] not in BACKENDS:
            return None
        return Choice(kept["backend"], {str(name): float(took) for name, took in kept["seconds"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # not there, or not ours: measured again


def keep(home: Path, choice: Choice) -> None:
    """For the next start."""
    file = choice_file(home)
    rough = file.with_suffix(".tmp")
    kept = {"backend": choice.name, "seconds": choice.seconds, "machine": fingerprint()}
    try:
        home.mkdir(parents=True, exist_ok=True)
        rough.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        rough.replace(file)
    except OSError as error:
        log.warning("the choice of the backend could not be kept: %s", error)


def _cpu() -> str:
    rows = Path("/proc/cpuinfo")
    if rows.is_file():
        for row in rows.read_text(encoding="utf-8", errors="replace").splitlines():
            if row.startswith("model name"):
                return row.partition(":")[2].strip()
    return platform.processor() or platform.machine()
