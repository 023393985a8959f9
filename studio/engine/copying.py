"""Copies of networks in their working type: written beside serving, mapped at the next start.

Mapped weights are pages of the file: nothing is cast, nothing is read twice, and when memory grows short the
system drops them instead of swapping. 4-D weights of networks that read pictures lie as channels-last does.
"""

from __future__ import annotations

import json
import logging
import mmap
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, ref

import torch
from torch import Tensor, nn

from studio.engine.reading import TYPES
from studio.safetensors_header import read_header

if TYPE_CHECKING:
    from studio.models.copies import Copies

log = logging.getLogger(__name__)

LINE = 64  # bytes: weights begin at multiples, as PyTorch's own memory does; the few that cannot are copied
PIECE = 64 * 2**20  # bytes between two fsyncs: one of 2 GB would hold up the database's own for seconds
GENTLE = 10  # more of Unix's niceness than the engine's other threads
SPELT = {dtype: spelt for spelt, dtype in TYPES.items()}

Weights = Sequence[tuple[str, ReferenceType[nn.Parameter]]]


class Copier:
    """`networks`: folders of all networks of all models that there are; copies of others leave."""

    def __init__(self, copies: Copies, networks: Callable[[], Iterable[Path]]) -> None:
        self._copies, self._networks = copies, networks
        self._orders: SimpleQueue[tuple[Path, torch.dtype, Weights] | None] = SimpleQueue()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="copies", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def read(self, make: Callable[[], Any], folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
        """The network with its weights from a copy; None where there is none that can be used.

        `make`: gives it without weights.
        """
        file = self._copies.find(folder, SPELT[dtype])
        if file is None:
            return None
        try:
            network = make()
            network.load_state_dict(mapped(file, dtype, device), strict=True, assign=True)
        except Exception as error:
            log.warning("a copy of weights is dropped: %s: %s", type(error).__name__, error)
            self._copies.drop(file)
            return None
        return network

    def keep(self, folder: Path, dtype: torch.dtype, network: nn.Module) -> None:
        """`network` was just read and cast from `folder`: a copy of it is written when there is time.

        Holds no weights: a network that leaves memory meanwhile gets its copy another time.
        """
        names = dict(network.named_parameters())
        if set(names) == set(network.state_dict()):
            self._orders.put((folder, dtype, [(name, ref(tensor)) for name, tensor in names.items()]))

    def finish(self) -> None:
        """Returns when all that was asked for is written."""
        self._orders.put(None)
        self._thread.join()

    def close(self) -> None:
        """Ends what is being written, within a piece."""
        self._closed.set()
        self._orders.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        with suppress(OSError, AttributeError):  # of this thread alone, on Linux
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.nice(0) + GENTLE)
        try:
            self._copies.sweep(self._networks())
            while (order := self._orders.get()) is not None and not self._closed.is_set():
                self._write(*order)
        except Exception:
            log.exception("no more copies of weights are made")

    def _write(self, folder: Path, dtype: torch.dtype, weights: Weights) -> None:
        held = [tensor for _, one in weights if (tensor := one()) is not None]
        size = sum(tensor.nbytes for tensor in held)
        whole = len(held) == len(weights)
        del held
        try:
            file = self._copies.place(folder, SPELT[dtype], size) if whole else None
            if file is not None and write(weights, file, self._closed):
                log.info("a copy of %s in %s was written", folder.name, dtype)
        except OSError as error:
            log.warning("a copy of %s could not be written: %s", folder.name, error.strerror)


def write(weights: Weights, file: Path, stop: threading.Event) -> bool:
    """A safetensors file, there whole or not at all. False where `stop` was set or a weight has gone."""
    for left in file.parent.glob(f"{file.stem}.*.tmp"):  # by a process that ended in the middle
        left.unlink(missing_ok=True)
    rough = file.with_suffix(f".{os.getpid()}.tmp")
    try:
        with rough.open("wb") as stream:
            # Those that keep to the lines first, so that they all do.
            tensors = sorted(weights, key=lambda row: _bytes(row[1]) % LINE != 0)
            stream.write(_header(tensors))
            since = 0
            for _, one in tensors:
                tensor = one()
                if tensor is None or stop.is_set():
                    return False
                data = _laid(tensor).cpu().view(torch.uint8).numpy()
                stream.write(data.data)
                since += data.nbytes
                if since >= PIECE:
                    _settle(stream)
                    since = 0
            _settle(stream)
        rough.rename(file)
        return True
    finally:
        rough.unlink(missing_ok=True)


def mapped(file: Path, dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
    """Name -> weight, on a CPU a part of the mapped file. Raises what a broken file raises."""
    header = read_header(file)
    with file.open("rb") as stream:
        # A private map: what somebody wrote to a weight would stay in this process.
        pages = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
    if hasattr(mmap, "MADV_WILLNEED"):
        pages.madvise(mmap.MADV_WILLNEED)
    whole = torch.frombuffer(pages, dtype=torch.uint8)
    state: dict[str, Tensor] = {}
    for name, (spelt, shape) in header.tensors.items():
        if TYPES.get(spelt) != dtype:
            raise ValueError(f"{name} is {spelt}")
        begin, end = header.spans[name]
        raw = whole[begin:end]
        tensor = (raw.clone() if begin % LINE else raw).view(dtype).view(shape)
        state[name] = (tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor).to(device)
    return state


def is_mapped(network: nn.Module) -> bool:
    """Whether its weights are pages of a file, which the system counts as memory that can be had."""
    return any(tensor.untyped_storage().nbytes() > tensor.nbytes for tensor in network.parameters())


def _laid(tensor: Tensor) -> Tensor:
    """As it lies in memory: channels last where it has four dimensions."""
    return _lasting(tensor).contiguous()


def _lasting(tensor: Tensor) -> Tensor:
    return tensor.detach().permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor.detach()


def _bytes(one: ReferenceType[nn.Parameter]) -> int:
    tensor = one()
    return 0 if tensor is None else tensor.nbytes


def _header(tensors: Weights) -> bytes:
    rows: dict[str, Any] = {}
    end = 0
    for name, one in tensors:
        tensor = one()
        if tensor is None:
            continue
        begin, end = end, end + tensor.nbytes
        shape = list(_lasting(tensor).shape)
        rows[name] = {"dtype": SPELT[tensor.dtype], "shape": shape, "data_offsets": [begin, end]}
    raw = json.dumps(rows).encode()
    raw += b" " * (-(8 + len(raw)) % LINE)
    return len(raw).to_bytes(8, "little") + raw


def _settle(stream: Any) -> None:
    stream.flush()
    os.fsync(stream.fileno())
