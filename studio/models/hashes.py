"""SHA-256 of weights: of whole files, and of a network's content whatever file it lies in.

A network's hash runs over the names, dtypes, shapes and bytes of its weights, in the order of their names;
so a VAE in a diffusers folder and the same VAE inside a one-file checkpoint have one hash. Hashes are kept
beside the library, each with the size and time of its file: 7 GB take about 5 s to read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from studio.models.checkpoint import FILE, read_checkpoint
from studio.models.folders import own_weights, weight_files
from studio.models.layout import Source
from studio.safetensors_header import SIZES, Header, read_header

STEP = 2**24  # bytes hashed at a time


class Hashes:
    """Kept in `file`. Thread-safe; a file that is lost or broken is written anew."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()

    def file(self, path: Path) -> str:
        return self._kept(f"file {_stamp([path])}", lambda: _sha256(path))

    def content(self, path: Path) -> str:
        """Of a safetensors file behind its header: notes in it may change. Source: sd-scripts, addnet."""
        return self._kept(f"content {_stamp([path])}", lambda: _content(path))

    def files(self, folder: Path) -> dict[str, str]:
        """Path inside a model's folder -> hash, of every file with weights of its own."""
        return {str(file.relative_to(folder)): self.file(file) for file in own_weights(folder)}

    def network(self, folder: Path) -> str:
        """`folder`: of one network inside a model's, such as NAME/vae; '' when it has no weights."""
        key, weights = self._contents(folder)
        return self._kept(key, lambda: _digest(weights())) if key else ""

    def known(self, folder: Path) -> str:
        """As `network` where its hash is kept; '' instead of reading the weights."""
        try:
            return self._read().get(self._contents(folder)[0], "")
        except OSError:
            return ""

    def _contents(self, folder: Path) -> tuple[str, Callable[[], Iterator[Weight]]]:
        """What a network's hash is kept under, '' for one without weights, and what gives them."""
        files, whole = weight_files(folder), folder.parent / FILE
        if files:
            return f"part {_stamp(files)}", lambda: _plain(files)
        sources = _sources(folder)
        key = f"part {folder.name} {_stamp([whole])}" if sources else ""
        return key, lambda: _inside(whole, sources)

    def shapes(self, folder: Path) -> str:
        """Of the names and shapes of a network's weights alone: nothing but headers is read."""
        files = weight_files(folder)
        found = _plain(files) if files else _inside(folder.parent / FILE, _sources(folder))
        digest = hashlib.sha256(folder.name.partition("_2")[0].encode())
        for name, _, shape, _ in found:  # the bytes are not even mapped
            digest.update(f"{name} {shape}\n".encode())
        return digest.hexdigest()

    def stamp(self, folder: Path) -> str:
        """Changes when the files of a network do; '' when they are gone."""
        try:
            return _stamp(weight_files(folder) or [folder.parent / FILE])
        except OSError:
            return ""

    def _kept(self, key: str, make: Callable[[], str]) -> str:
        found = self._read().get(key)
        if found is None:
            found = make()
            with self._lock:
                self._write(self._read() | {key: found})
        return found

    def _read(self) -> dict[str, str]:
        try:
            kept = json.loads(self._file.read_bytes())
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}

    def _write(self, kept: Mapping[str, str]) -> None:
        with contextlib.suppress(OSError):  # without it they are only reckoned again
            self._file.parent.mkdir(parents=True, exist_ok=True)
            rough = self._file.with_suffix(f".{os.getpid()}.tmp")
            rough.write_text(json.dumps(kept), encoding="utf-8")
            rough.rename(self._file)


def _sources(folder: Path) -> Mapping[str, Source]:
    """Where a network's weights lie inside the one-file checkpoint; empty when it has none there."""
    whole = folder.parent / FILE
    part = read_checkpoint(whole, folder.parent.name).parts.get(folder.name) if whole.is_file() else None
    return {} if part is None else part.sources


def _stamp(files: list[Path]) -> str:
    """By inode, so that a file keeps its hash when its folder is renamed."""
    states = [(file.name, file.stat()) for file in files]
    return " ".join(f"{name}:{state.st_size}:{state.st_mtime_ns}:{state.st_ino}" for name, state in states)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _content(file: Path) -> str:
    with file.open("rb") as stream:
        stream.seek(8 + int.from_bytes(stream.read(8), "little"))
        digest = hashlib.sha256()
        while block := stream.read(STEP):
            digest.update(block)
    return digest.hexdigest()


Data = npt.NDArray[np.uint8]
Weight = tuple[str, str, tuple[int, ...], Callable[[], Data]]  # name, dtype, shape, what gives its bytes


def _digest(weights: Iterator[Weight]) -> str:
    digest = hashlib.sha256()
    for name, dtype, shape, read in weights:
        digest.update(f"{name} {dtype} {shape}\n".encode())
        data = read()
        for begin in range(0, len(data), STEP):
            digest.update(data[begin : begin + STEP].data)
    return digest.hexdigest()


def _plain(files: list[Path]) -> Iterator[Weight]:
    where: dict[str, tuple[Path, Header, str]] = {}
    for file in files:
        header = read_header(file)
        names = [name for name in header.tensors if not name.endswith("position_ids")]  # older files: 0 to 76
        where |= {name.removeprefix("text_model."): (file, header, name) for name in names}
    for name in sorted(where):
        file, header, key = where[name]
        dtype, shape = header.tensors[key]
        yield name, dtype, shape, partial(_bytes, file, *header.spans[key])


def _inside(file: Path, sources: Mapping[str, Source]) -> Iterator[Weight]:
    header = read_header(file) if sources else None
    for name in sorted(sources):
        assert header is not None
        yield name, *_turned(file, header, sources[name])


def _turned(file: Path, header: Header, source: Source) -> tuple[str, tuple[int, ...], Callable[[], Data]]:
    """As the engine turns it when it reads the weight."""
    dtype, shape = header.tensors[source.key]
    begin, end = header.spans[source.key]
    if source.third is not None:
        shape = (shape[0] // 3, *shape[1:])
        length = math.prod(shape) * SIZES[dtype]
        begin += source.third * length
        end = begin + length
    if source.flat:
        shape = shape[:2]
    if not source.transposed:
        return dtype, shape, partial(_bytes, file, begin, end)

    def transposed() -> Data:
        rows = _bytes(file, begin, end).view(f"V{SIZES[dtype]}").reshape(shape).T
        return np.frombuffer(rows.tobytes(), np.uint8)

    return dtype, shape[::-1], transposed


def _bytes(file: Path, begin: int, end: int) -> Data:
    """Mapped, not read: a weight of 200 MB takes no memory of its own."""
    if begin == end:
        return np.empty(0, np.uint8)
    return np.memmap(file, np.uint8, "r", begin, (end - begin,))
