"""What this machine has: bytes for models, bytes in use, versions of what does the work."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import torch

from studio.errors import BadRequest

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_bytes(text: str) -> int:
    """'4GiB', '4G', '4 gb' or '4096' -> bytes. Raises BadRequest."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)I?B?\s*", text.upper())
    if match is None:
        raise BadRequest(f"STUDIO_MEMORY: {text[:40]!r} is not a size.", hint="Write it as 4GiB or 800MiB.")
    return int(float(match[1]) * UNITS[match[2]])


def budget(asked: str, device: torch.device, resident: int) -> int:
    """Bytes for all models together: what was asked for, else what is free now and what models hold."""
    if asked:
        return parse_bytes(asked)
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) + resident
    return _free() + resident


def used(device: torch.device) -> int:
    """Bytes in use: on the device, or of this process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    statistics = Path("/proc/self/statm")
    if not statistics.is_file():
        return 0
    return int(statistics.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def in_use(device: torch.device) -> str:
    """'3.10 GiB of 8.00 GiB are in use', of the device or, on a CPU, of the machine."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
    else:
        free, total = _free(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{(total - free) / 2**30:.2f} GiB of {total / 2**30:.2f} GiB are in use"


def ran_out(error: BaseException) -> bool:
    """True for every way memory can end: a CPU says so in a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def versions() -> Mapping[str, str]:
    packages = ("torch", "diffusers", "transformers", "peft", "safetensors")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def _free() -> int:
    """Bytes a process may still take. Where the system does not say: all there is."""
    report = Path("/proc/meminfo")
    if report.is_file():
        for line in report.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
