"""Copies of networks in the type they are computed in, one file each, beside the models they were made from.

Casting a float16 SD 1.5 to bfloat16 takes 6 s at each start, a file of bfloat16 is only mapped. Named by the
network's content hash, so two models with one VAE have one copy, and a changed model has none.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from studio.models.hashes import Hashes

ENDING = ".safetensors"
SHARE = 5  # of a small disk, one part in so many stays free: the library goes first


class Copies:
    """`most`: bytes of all copies, 0 = none are made. `spare`: that stay free on the disk.

    For any number of processes: a file comes by rename, and who has one mapped keeps it though it leaves.
    """

    def __init__(self, folder: Path, hashes: Hashes, most: int, spare: int) -> None:
        self._folder, self._hashes, self._most, self._spare = folder, hashes, most, spare

    def find(self, network: Path, dtype: str) -> Path | None:
        """The copy of the network in the folder `network`; None where its hash is not known already."""
        known = self._hashes.known(network)
        file = self._file(known, dtype)
        if not known or not file.is_file():
            return None
        with contextlib.suppress(OSError):
            os.utime(file)  # the one not used for longest leaves first
        return file

    def place(self, network: Path, dtype: str, size: int) -> Path | None:
        """Where a copy of `size` bytes may go; None where it is there, or there is no room for it.

        Reckons the hash. Copies that were not used for longest leave for it.
        """
        if not 0 < size <= self._most:
            return None
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._file(self._hashes.network(network), dtype)
        if file.is_file():
            return None
        held = sorted(((state.st_mtime, state.st_size, path) for path, state in self._held()), reverse=True)
        while held and sum(one for _, one, _ in held) + size > self._most:
            held.pop()[2].unlink(missing_ok=True)
        disk = shutil.disk_usage(self._folder)
        return file if disk.free - size >= min(self._spare, disk.total // SHARE) else None

    def drop(self, file: Path) -> None:
        """One that cannot be read."""
        with contextlib.suppress(OSError):
            file.unlink()

    def sweep(self, networks: Iterable[Path]) -> None:
        """Copies of no network among these leave."""
        held = list(self._held())
        if held:
            known = {self._hashes.known(network) for network in networks}
            for file, _ in held:
                if file.name.partition(".")[0] not in known:
                    self.drop(file)

    def _file(self, digest: str, dtype: str) -> Path:
        return self._folder / f"{digest}.{dtype}{ENDING}"

    def _held(self) -> Iterator[tuple[Path, os.stat_result]]:
        for file in self._folder.glob(f"*{ENDING}"):
            with contextlib.suppress(OSError):
                yield file, file.stat()
