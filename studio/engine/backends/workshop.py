"""Which networks each resident model is run with: PyTorch's at once, faster ones when they are made."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import shutil
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path
from weakref import WeakKeyDictionary

import torch

from studio.engine import memory
from studio.engine.backends import convert
from studio.engine.backends.choice import Choice
from studio.engine.backends.eager import Eager
from studio.engine.backends.networks import Networks
from studio.engine.weights import Located, ModelBundle
from studio.settings import Settings

log = logging.getLogger(__name__)

CPU = torch.device("cpu")
# Free bytes, in those of a bfloat16 model: tracing holds it in float32 twice, the graphs stay beside it.
ROOM = 5
PATIENCE = 20.0  # seconds a model with graphs on the disk may take to come up with them


class Workshop:
    """All calls come from the engine's thread; each model's graphs are made on a thread of their own."""

    def __init__(self, settings: Settings, choice: Choice) -> None:
        self._home, self._choice = settings.home / "cache" / "openvino", choice
        self._makers: WeakKeyDictionary[ModelBundle, _Maker] = WeakKeyDictionary()

    def take(self, row: Located, bundle: ModelBundle) -> None:
        """A model has come into memory. Waits where its graphs only have to be read."""
        if not self._choice.name.startswith("openvino"):
            return
        if not self._choice.forced and memory.budget(0, CPU, 0, 0) < ROOM * bundle.weight_bytes:
            log.info("%s stays with PyTorch: making its graphs would want more memory than is free", row.name)
            return
        eight = self._choice.name == "openvino-int8"
        maker = self._makers[bundle] = _Maker(row, bundle, self._home / ("int8" if eight else ""), eight)
        maker.settled.wait(PATIENCE)

    def networks(self, bundle: ModelBundle) -> Networks:
        """For a job that begins now; it keeps them to its end."""
        maker = self._makers.get(bundle)
        return (maker and maker.networks) or Eager(bundle)

    def close(self) -> None:
        """Ends what is being made."""
        for maker in self._makers.values():
            maker.close()


class _Maker:
    """`networks`: None until they are there. `settled`: they are, or making them takes its time."""

    def __init__(self, row: Located, bundle: ModelBundle, home: Path, eight: bool = False) -> None:
        self.networks: Networks | None = None
        self.settled = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = threading.Event()
        self._eight = eight
        threading.Thread(target=self._make, args=(row, bundle, home), name="graphs", daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        if self._child is not None:
            self._child.kill()

    def _make(self, row: Located, bundle: ModelBundle, home: Path) -> None:
        try:
            folder = home / digest(row.folder)
            if not (folder / convert.NOTE).is_file():
                self.settled.set()
                self._convert(row, folder)
            from studio.engine.backends.openvino_networks import OpenVinoNetworks

            self.networks = OpenVinoNetworks(bundle, folder)
            log.info("%s runs on %s from now on", row.name, self.networks.name)
        except Exception as error:
            if not self._closed.is_set():
                log.warning("%s stays with PyTorch: %s: %s", row.name, type(error).__name__, error)
        finally:
            self.settled.set()

    def _convert(self, row: Located, folder: Path) -> None:
        for left in folder.parent.glob(f"{folder.name}.*.tmp"):  # by a studio that ended in the middle
            shutil.rmtree(left, ignore_errors=True)
        rough = folder.with_suffix(f".{os.getpid()}.tmp")
        rough.mkdir(parents=True)
        order = convert.Order(row, rough, torch.get_num_threads(), self._eight)
        try:
            with subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", convert.__name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,  # nncf draws bars there
                stderr=subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            ) as child:
                self._child = child
                assert child.stdin is not None and child.stderr is not None
                pickle.dump(order, child.stdin)
                child.stdin.flush()  # and left open: the child ends when we do
                said = child.stderr.read().decode(errors="replace").strip()
            if child.returncode or not (rough / convert.NOTE).is_file():
                raise RuntimeError(f"the conversion ended with {child.returncode}: {said[-300:]}")
            shutil.rmtree(folder, ignore_errors=True)
            rough.rename(folder)
        finally:
            shutil.rmtree(rough, ignore_errors=True)


def digest(folder: Path) -> str:
    """Of a model's configs and weights, and of what makes graphs from them."""
    total = hashlib.sha256()
    for name in ("openvino", "torch", "diffusers"):
        total.update(f"{name} {version(name)} ".encode())
    total.update(f"{convert.VERSION}".encode())
    for file in sorted(folder.rglob("*")):
        if file.suffix in (".json", ".safetensors") and file.is_file():
            total.update(str(file.relative_to(folder)).encode())
            with file.open("rb") as stream:
                total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()[:32]
