"""Which backend this machine gets: measured once, kept in STUDIO_HOME, asked for by STUDIO_BACKEND."""

from __future__ import annotations

import json
import logging
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
        return dtype if self.name not in ("openvino", "int8") or fast_bfloat16() else torch.float32


def choose(settings: Settings, device: torch.device) -> Choice:
    """Raises EngineError for a backend that is asked for and not there."""
    if settings.backend != "auto":
        return _asked(settings.backend, device)
    if device.type != "cpu":
        return Choice("float16" if device.type == "cuda" else "float32")
    kept = _read(settings.home)
    if kept is not None:
        return kept
    found = _measured()
    _keep(settings.home, found)
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
            hint='Run: pip install "brand-studio[openvino]"',
        )
    if device.type not in BACKENDS[name].devices:
        raise EngineError(
            f"STUDIO_BACKEND={name} was asked for; it does not run on {device.type}.",
            hint="Start with STUDIO_BACKEND=auto.",
        )
    return Choice(name, forced=True)


def _measured() -> Choice:
    """PyTorch's rows, on a stand-in. OpenVINO only when asked for: its swap-in changes bytes."""
    if not fast_bfloat16():
        seconds: dict[str, float] = {}
        name = "float32"
    else:
        seconds = measure({"float32": torch.float32, "bfloat16": torch.bfloat16})
        name = "bfloat16" if seconds["bfloat16"] < GAIN * seconds["float32"] else "float32"
    return Choice(name, seconds)


@torch.inference_mode()
def measure(dtypes: Mapping[str, torch.dtype]) -> dict[str, float]:
    """Median seconds of a guided step with random weights, the rows in turn."""
    networks = {name: stand_in(dtype) for name, dtype in dtypes.items()}
    taken: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(ROUNDS + 1):
        for name, network in networks.items():
            begun = time.perf_counter()
            network(
                torch.zeros(2, 4, SIDE, SIDE, dtype=network.dtype),
                torch.tensor([500.0]),
                encoder_hidden_states=torch.zeros(2, 77, DIM, dtype=network.dtype),
            )
            taken[name].append(time.perf_counter() - begun)
    return {name: round(statistics.median(times[1:]), 5) for name, times in taken.items()}


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


def _keep(home: Path, choice: Choice) -> None:
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
