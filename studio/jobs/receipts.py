"""Which weights made a picture: their identity when it was asked for, their hashes when it was made."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, select

from studio.errors import Conflict, StudioError
from studio.infotext import Fingerprints
from studio.library import Database
from studio.library.tables import weights
from studio.models import Models
from studio.models.checkpoint import FILE
from studio.models.folders import hash_of, own_weights
from studio.schema import Rendered, ResolvedRequest, WorkerStatus

NOISE = "torch.Generator(cpu), one for each picture, seeded with its seed"
STAMP = ("size", "mtime_ns", "inode")


class Weights:
    """The files behind a request. A file's hash is read once; another size, time or inode renews it."""

    def __init__(self, database: Database, models: Models) -> None:
        self._database, self._models = database, models
        self._hashing = threading.Lock()
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hashes")
        self._closing = threading.Event()

    def close(self) -> None:
        """Waits for the file that is being read, and reads no other: the database closes next."""
        self._closing.set()
        self._beside.shutdown(cancel_futures=True)

    def snapshot(self, request: ResolvedRequest) -> dict[str, Any]:
        """What the job was asked with: the stamp of each weight file by its name. Costs a stat for each."""
        return {name: _stamp(file) for name, file in self._files(request)}

    def check(self, request: ResolvedRequest, snapshot: Mapping[str, Any]) -> None:
        """Raises Conflict where a file is another one than when the job was queued."""
        if not snapshot:  # queued by a studio that did not write it down yet
            return
        now = self.snapshot(request)
        changed = [name for name in snapshot if now.get(name) != snapshot[name]]
        if changed:
            raise Conflict(
                f"{changed[0]} was replaced after the job was queued.",
                hint="Generate again: the job kept what it was asked with, and that is gone.",
                code="weights_changed",
            )

    def hashes(self, request: ResolvedRequest) -> dict[str, str]:
        """sha256 of each weight file by its name."""
        return {name: self._sha256(file) for name, file in self._files(request)}

    def model_hash(self, name: str) -> str:
        """Of a one-file checkpoint as other tools reckon it; of a folder's file hashes together."""
        folder = self._models.get(name).folder
        whole = folder / FILE
        files = [whole] if whole.is_file() else own_weights(folder)
        return hash_of({str(file.relative_to(folder)): self._sha256(file) for file in files})

    def lora_hash(self, name: str) -> str:
        return self._models.hashes.content(self._models.lora(name).file)

    def fingerprints(self, request: ResolvedRequest) -> Fingerprints:
        """For the text in a picture's file; empty where the weights are gone."""
        try:
            loras = {lora.name: self.lora_hash(lora.name) for lora in request.loras}
            return Fingerprints(self.model_hash(request.model), loras)
        except (OSError, StudioError):
            return Fingerprints()

    def warm(self, request: ResolvedRequest) -> None:
        """Reads the hashes beside the run, so that the first picture need not wait for them."""

        def work() -> None:
            with suppress(OSError, StudioError):  # told where they are needed
                for _, file in self._files(request):
                    if self._closing.is_set():
                        return
                    self._sha256(file)

        with suppress(RuntimeError):  # closed already
            self._beside.submit(work)

    def cache_key(self, request: ResolvedRequest, snapshot: Mapping[str, Any], pictures: list[str]) -> str:
        """Equal for jobs that make equal pictures. `pictures`: hashes of those that the request names."""
        asked = request.model_dump(
            mode="json",
            exclude={"init_image": True, "mask": True, "control": {"image"}, "product": {"image"}},
        )
        text = json.dumps([asked, snapshot, pictures], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _files(self, request: ResolvedRequest) -> Iterator[tuple[str, Path]]:
        yield from self._models.weight_files(request.model)
        if request.refiner is not None:
            yield from self._models.weight_files(request.refiner.model)
        for lora in request.loras:
            yield f"LoRA {lora.name}", self._models.lora(lora.name).file

    def _sha256(self, file: Path) -> str:
        stamp = _stamp(file)
        with self._hashing:
            with self._database.read() as connection:
                row = connection.execute(select(weights).where(weights.c.file == str(file))).first()
            if row is not None and [row.size, row.mtime_ns, row.inode] == stamp:
                return str(row.sha256)
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            fresh = dict(zip(STAMP, stamp, strict=True))
            with self._database.write() as connection:
                connection.execute(delete(weights).where(weights.c.file == str(file)))
                connection.execute(insert(weights).values(file=str(file), sha256=digest, **fresh))
        return digest


def receipt(
    hashes: Mapping[str, str], picture: Rendered, worker: WorkerStatus, versions: Mapping[str, str]
) -> dict[str, Any]:
    """All that decides a picture besides its request. `batch`: rows of its steps, None where not told."""
    return {
        "seed": picture.seed,
        "weights": dict(hashes),
        "versions": dict(versions) | dict(worker.versions),
        "device": worker.device,
        "dtype": worker.dtype,
        "backend": worker.backends.get("", worker.backend),
        "noise": NOISE,
        "batch": picture.rows,
        "notes": list(picture.notes),
        "checks": list(picture.checks),
    }


def _stamp(file: Path) -> list[int]:
    state = file.stat()
    return [state.st_size, state.st_mtime_ns, state.st_ino]
