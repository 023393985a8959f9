"""What this machine has: bytes for models, bytes in use, versions of what does the work."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import torch

MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h


def budget(asked: int, device: torch.device, resident: int, process: int) -> int:
    """Bytes for all models and runs together: what was asked for, else what is free and what models hold.

    `asked`: of the whole process, 0 = nothing. `process`: what of it is not for models.
    """
    if asked:
        return asked - process
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) + resident
    return _free() + resident


def process(device: torch.device) -> int:
    """Bytes of this process before its first model; on a GPU they are elsewhere."""
    return used(device) if device.type == "cpu" else 0


def used(device: torch.device) -> int:
    """Bytes in use: on the device, or of this process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    statistics = Path("/proc/self/statm")
    if not statistics.is_file():
        return 0
    return int(statistics.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def trim() -> None:
    """Gives back what the allocator keeps for later: another thread could not use it, and it counts as ours.

    SD-sized steps leave 40 % of their work behind; glibc's own call takes a few ms.
    """
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def hold_back() -> None:
    """From here on freed tensors of 1 MiB or more go back to the system at once.

    Of itself glibc raises that limit to 32 MiB and keeps what is smaller: 0.2 GiB above an 800 MiB budget.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, 2**20)


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
