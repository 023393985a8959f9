"""What is there, what is missing, and the command that mends it.

The torch facts come from a process of their own: importing it takes seconds, and this one does not need it.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

from studio.catalog import BACKENDS
from studio.models import Models
from studio.presets import Presets
from studio.settings import ROOT, Settings

State = Literal["ok", "warning", "missing"]

DISK_WARNING = 2 * 2**30  # bytes; one SD 1.5 checkpoint
MEMORY_WARNING = 2 * 2**30  # bytes; below it the worker and the page do not fit together
TORCH_SECONDS = 120  # to import torch on a cold, busy disk
PYTHON = (3, 11)
CPU_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16")
TORCHVISION = {
    "2.10": "0.25",
    "2.11": "0.26",
    "2.12": "0.27",
    "2.13": "0.28",
}  # their metadata pins each other

TORCH_FACTS = """
import json, sys
facts = {}
try:
    import torch
    facts["torch"] = torch.__version__
    facts["cuda"] = torch.version.cuda
    facts["gpus"] = [
        [torch.cuda.get_device_name(i), torch.cuda.get_device_properties(i).total_memory]
        for i in range(torch.cuda.device_count())
    ]
    facts["mps"] = torch.backends.mps.is_available()
    facts["threads"] = torch.get_num_threads()
except Exception as error:
    facts["torch_error"] = f"{type(error).__name__}: {error}"[:300]
try:
    import torchvision
    facts["torchvision"] = torchvision.__version__
except ModuleNotFoundError:
    facts["torchvision"] = ""
except Exception as error:
    facts["torchvision_error"] = f"{type(error).__name__}: {error}"[:300]
json.dump(facts, sys.stdout)
"""


@dataclass(frozen=True)
class Check:
    """`found`: what is there, with figures. `mend`: the command or setting that makes it right."""

    name: str
    state: State
    found: str
    mend: str = ""


def examine(settings: Settings, torch_facts: Callable[[], Mapping[str, Any]] | None = None) -> list[Check]:
    """Every check, none of which raises or changes anything."""
    facts = (torch_facts or ask_torch)()
    return [
        *python(),
        *packages(),
        *torch(facts),
        *torchvision(facts),
        *xformers(facts),
        *machine(),
        *backend(settings),
        *home(settings),
        *models(settings),
        *safety_checker(settings),
        *presets(settings),
        *port(settings),
        *browser(),
    ]


def ask_torch() -> Mapping[str, Any]:
    try:
        said = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", TORCH_FACTS],
            capture_output=True,
            timeout=TORCH_SECONDS,
            check=True,
        )
        facts: Mapping[str, Any] = json.loads(said.stdout)
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        return {"torch_error": f"importing it ended the process ({type(error).__name__})"}
    return facts


def python() -> Iterator[Check]:
    good = sys.version_info >= PYTHON
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Check("Python", "ok" if good else "missing", found, "" if good else "Install Python 3.11 or newer.")


def requirements() -> list[Requirement]:
    """Of the base install: from the installed package, else from the checkout."""
    try:
        rows = requires("brand-studio") or []
    except PackageNotFoundError:
        with (ROOT / "pyproject.toml").open("rb") as file:
            rows = tomllib.load(file)["project"]["dependencies"]
    every = [Requirement(row) for row in rows]
    return [row for row in every if row.marker is None or row.marker.evaluate({"extra": ""})]


def packages() -> Iterator[Check]:
    for row in requirements():
        have = installed(row.name)
        wanted = f'{sys.executable} -m pip install "{row.name}{row.specifier}"'
        if not have:
            yield Check(row.name, "missing", "not installed", wanted)
        elif not row.specifier.contains(have, prereleases=True):
            yield Check(row.name, "warning", f"{have}; tried with {row.specifier}", wanted)
        else:
            yield Check(row.name, "ok", have)


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def torch(facts: Mapping[str, Any]) -> Iterator[Check]:
    if "torch_error" in facts:
        again = f"{sys.executable} -m pip install --force-reinstall torch"
        yield Check("device", "missing", f"torch does not import: {facts['torch_error']}", again)
        return
    gpus = [f"{name}, {memory / 2**30:.0f} GiB" for name, memory in facts.get("gpus", [])]
    if gpus:
        yield Check("device", "ok", f"{'; '.join(gpus)} (CUDA {facts.get('cuda')})")
    elif facts.get("mps"):
        yield Check("device", "ok", "Apple GPU (mps)")
    elif shutil.which("nvidia-smi"):
        found = f"CPU, {facts.get('threads')} threads; an NVIDIA GPU is here that this torch cannot use"
        yield Check("device", "warning", found, f"{sys.executable} -m pip install --force-reinstall torch")
    else:
        yield Check("device", "ok", f"CPU, {facts.get('threads')} threads")


def torchvision(facts: Mapping[str, Any]) -> Iterator[Check]:
    """One that does not match torch breaks every diffusers pipeline at import; none at all is fine."""
    have = installed("torchvision")
    if not have:
        yield Check("torchvision", "ok", "not installed, not needed (extra: preprocessors)")
        return
    wants = TORCHVISION.get(".".join(str(facts.get("torch", "")).split(".")[:2]), "")
    wrong = facts.get("torchvision_error") or (wants and not have.startswith(f"{wants}."))
    if not wrong:
        yield Check("torchvision", "ok", have)
        return
    found = f"{have} does not fit torch {facts.get('torch', '?')}" + (
        f", which wants {wants}" if wants else ""
    )
    mend = (
        f'{sys.executable} -m pip install "torchvision=={wants}.*"' if wants else "pip uninstall torchvision"
    )
    yield Check("torchvision", "missing", found, mend)


def xformers(facts: Mapping[str, Any]) -> Iterator[Check]:
    """Looked for, not imported: that takes 10 s, and on a CPU it has no use."""
    if find_spec("xformers") is None:
        gpu = bool(facts.get("gpus"))
        mend = (
            f"{sys.executable} -m pip install xformers   # optional; torch's own attention is used"
            if gpu
            else ""
        )
        yield Check("xformers", "ok", "not installed, not needed: torch's own attention is used", mend)
    elif not facts.get("gpus"):
        yield Check("xformers", "ok", f"{installed('xformers')}; without an NVIDIA GPU it is not used")
    else:
        yield Check("xformers", "ok", installed("xformers"))


def machine() -> Iterator[Check]:
    features = cpu_features(Path("/proc/cpuinfo"))
    fast = "amx_bf16" in features or "avx512_bf16" in features
    note = "; bfloat16 in hardware" if fast else ""
    yield Check("CPU", "ok", f"{os.cpu_count()} cores, {' '.join(features) or platform.machine()}{note}")
    total, free = memory(Path("/proc/meminfo"))
    if total:
        enough = free >= MEMORY_WARNING
        mend = "" if enough else "Close other programs, or set STUDIO_MEMORY, such as STUDIO_MEMORY=1GiB."
        found = f"{total / 2**30:.1f} GiB, {free / 2**30:.1f} GiB free"
        yield Check("memory", "ok" if enough else "warning", found, mend)


def backend(settings: Settings) -> Iterator[Check]:
    """What the engine measured at its first start (studio/engine/backends/choice.py), as it kept it."""
    have = installed("openvino")
    extra = f"; OpenVINO {have}" if have else ""
    if settings.backend != "auto":
        needs = BACKENDS[settings.backend].package
        found = f"{BACKENDS[settings.backend].label} (STUDIO_BACKEND={settings.backend}){extra}"
        mend = (
            f'{sys.executable} -m pip install "brand-studio[{settings.backend}]"'
            if needs and not installed(needs)
            else ""
        )
        yield Check("backend", "missing" if mend else "ok", found, mend)
        return
    try:
        kept = json.loads((settings.home / "backend.json").read_text(encoding="utf-8"))
        seconds = ", ".join(f"{name} {took * 1000:.0f} ms" for name, took in kept["seconds"].items())
        found = f"{BACKENDS[kept['backend']].label}; a step took: {seconds or 'not measured'}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        found = "measured when the studio first starts"
    yield Check("backend", "ok", found + extra)


def cpu_features(cpuinfo: Path) -> list[str]:
    """Those that decide speed, from the kernel's list; empty where there is none."""
    if not cpuinfo.exists():
        return []
    rows = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    flags = next((row for row in rows if row.lower().startswith(("flags", "features"))), "")
    have = set(flags.partition(":")[2].split())
    return [name for name in CPU_FEATURES if name in have]


def memory(meminfo: Path) -> tuple[int, int]:
    """(total, free) bytes; (0, 0) where the system does not tell."""
    if not meminfo.exists():
        return 0, 0
    rows = dict(row.split(":", 1) for row in meminfo.read_text(encoding="utf-8").splitlines() if ":" in row)
    kib = {name: int(value.split()[0]) for name, value in rows.items() if value.split()}
    return kib.get("MemTotal", 0) * 1024, kib.get("MemAvailable", 0) * 1024


def home(settings: Settings) -> Iterator[Check]:
    place = next(folder for folder in (settings.home, *settings.home.absolute().parents) if folder.exists())
    if not os.access(place, os.W_OK):
        yield Check(
            "home", "missing", f"{settings.home} cannot be written", "Set STUDIO_HOME to a folder of yours."
        )
        return
    free = shutil.disk_usage(place).free
    enough = free >= DISK_WARNING
    mend = "" if enough else "Make room, or set STUDIO_HOME to a folder on a larger disk."
    yield Check("home", "ok" if enough else "warning", f"{settings.home}, {free / 2**30:.1f} GiB free", mend)


def models(settings: Settings) -> Iterator[Check]:
    found = Models(settings)
    names = [row.name for row in found.list()]
    if settings.model in names:
        yield Check("models", "ok", ", ".join(names))
    else:
        have = f"the default model {settings.model!r} is not there; have: {', '.join(names) or 'none'}"
        mend = (
            "make pocket"
            if settings.model == "pocket"
            else f"studio models add FOLDER --name {settings.model}"
        )
        yield Check("models", "missing", have, mend)
    for name, problem in found.problems().items():
        yield Check(f"model {name}", "warning", problem.message, problem.hint)
    for row in found.loras():
        if row.problem:
            yield Check(
                f"LoRA {row.name}", "warning", row.problem, f"studio loras add FILE --name {row.name}"
            )


def safety_checker(settings: Settings) -> Iterator[Check]:
    folder = settings.safety_checker
    found = "installed" if folder.is_dir() else "not installed: pictures are not looked at for unsafe content"
    mend = "" if folder.is_dir() else f"Put a safety checker's folder into {folder} (docs/checks.md)."
    yield Check("safety checker", "ok", found, mend)


def presets(settings: Settings) -> Iterator[Check]:
    found = Presets(settings.presets_dirs)
    yield Check("presets", "ok", ", ".join(row.name for row in found.list()) or "none")
    for name, problem in found.problems().items():
        yield Check(f"preset {name}", "warning", problem.message, problem.hint)


def port(settings: Settings) -> Iterator[Check]:
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((settings.host, settings.port))
        except OSError as error:
            mend = f"PORT={settings.port + 1} make run   # if that is not this studio, running"
            yield Check("port", "warning", f"{settings.host}:{settings.port}: {error.strerror}", mend)
            return
    yield Check("port", "ok", f"{settings.host}:{settings.port} is free")


def browser() -> Iterator[Check]:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    mend = "" if found else "apt-get install chromium   # for make test alone"
    yield Check(
        "chromium", "ok" if found else "warning", "there" if found else "not there; tests need it", mend
    )
