"""The company's folder of logos and artworks that must not turn up in pictures."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from studio.safety.protected_features import Picture
from studio.safety.protected_index import LEARNED, Index, learned
from studio.safety.protected_poses import mark_of

log = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
THRESHOLD = 0.82  # bench/protected.py: the marks' scores and those of pictures without any
LARGEST = 512  # px a side that is read of a protected picture
PLAIN = 24  # levels by which a mark differs from the ground its file shows
MOST = 10_000
AGAIN = (
    10.0  # s after which each file is looked at again, for one written over leaves the folder's time alone
)
VERSION = 1  # of how marks are learned; one more whenever that changes
ROW = np.dtype([("name", "S255"), ("bytes", "i8"), ("changed", "i8"), ("mark", LEARNED)])

Rows = np.ndarray[tuple[int], np.dtype[np.void]]


@dataclass(frozen=True, order=True)
class File:
    """`changed`: ns."""

    name: str
    bytes: int
    changed: int


class Protected:
    """Looks at the folder each time it is asked; learns what is new or changed. Thread-safe.

    What was learned is kept in a file beside the folder: a picture takes some ms, 10,000 take a minute.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept = folder.with_name(f"{folder.name}-learned-{VERSION}.npy")
        self.names: tuple[str, ...] = ()
        self._folder_changed, self._looked = -1, 0.0
        self._files: tuple[File, ...] | None = None
        self._index: Index | None = None
        self._lock = threading.Lock()

    def index(self) -> Index | None:
        """None: nothing is protected."""
        with self._lock:
            changed = self._folder.stat().st_mtime_ns if self._folder.is_dir() else -1
            if changed != self._folder_changed or time.monotonic() - self._looked > AGAIN:
                files = _files(self._folder) if changed != -1 else ()
                if files != self._files:
                    self._learn(files)
                self._files, self._folder_changed, self._looked = files, changed, time.monotonic()
            return self._index

    def _learn(self, files: tuple[File, ...]) -> None:
        old = _read(self._kept)
        known = {file: number for number, file in enumerate(_files_of(old))}
        new = {file: mark for file in files if file not in known and (mark := _mark(self._folder, file))}
        there = [file for file in files if file in known or file in new]
        rows = old
        if new or there != list(known):
            rows = np.array([old[known[file]] if file in known else new[file] for file in there], ROW)
            rows = _write(self._kept, rows)
        self.names = tuple(Path(file.name).stem for file in there)
        self._index = Index(rows["mark"]) if there else None


def _read(file: Path) -> Rows:
    """Mapped rather than read: 22 kB a picture, of which a check needs a few."""
    nothing = np.zeros(0, ROW)
    try:
        rows = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        return nothing
    except (OSError, ValueError, EOFError):
        log.warning("%s cannot be read; the protected pictures are learned anew", file.name)
        return nothing
    return rows if rows.dtype == ROW and rows.ndim == 1 else nothing


def _write(file: Path, rows: Rows) -> Rows:
    """The same, mapped; as they are where the disk is full."""
    half = file.with_name(f"{file.name}.{os.getpid()}.part")
    if not len(rows):
        file.unlink(missing_ok=True)
        return rows
    try:
        with half.open("wb") as out:
            np.save(out, rows, allow_pickle=False)
        half.replace(file)
    except OSError as error:
        half.unlink(missing_ok=True)
        log.warning("%s cannot be written (%s); learned again at the next start", file.name, error.strerror)
        return rows
    return _read(file)


def _files_of(rows: Rows) -> list[File]:
    columns = (rows[name].tolist() for name in ("name", "bytes", "changed"))
    return [File(os.fsdecode(name), size, changed) for name, size, changed in zip(*columns, strict=True)]


def _files(folder: Path) -> tuple[File, ...]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.lower().endswith(SUFFIXES) and entry.is_file(follow_symlinks=False):
                state = entry.stat()
                found.append(File(entry.name, state.st_size, state.st_mtime_ns))
    if len(found) > MOST:
        log.warning("%d protected pictures; the first %d by name are looked for", len(found), MOST)
    return tuple(sorted(found)[:MOST])


def _mark(folder: Path, file: File) -> np.ndarray[tuple[()], np.dtype[np.void]] | None:
    try:
        with Image.open(folder / file.name, formats=["PNG", "JPEG", "WEBP"]) as opened:
            opened.thumbnail((LARGEST, LARGEST))
            picture = np.array(opened.convert("RGBA"))
    except (OSError, ValueError, Image.DecompressionBombError):
        log.warning("protected picture %s cannot be read; it is left out", file.name)
        return None
    if picture[..., 3].min() == 255:
        picture[..., 3] = _shape(picture)
    rows, columns = np.nonzero(picture[..., 3] > 127)
    if len(rows) == 0:
        log.warning("protected picture %s shows nothing; it is left out", file.name)
        return None
    mark = mark_of(picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1])
    return np.array((os.fsencode(file.name), file.bytes, file.changed, learned(mark)), ROW)


def _shape(picture: Picture) -> Picture:
    """Where a mark on one plain ground is; all of it for an artwork, which has none."""
    colours = picture[..., :3].astype(np.int16)
    border = np.concatenate([colours[0], colours[-1], colours[:, 0], colours[:, -1]])
    ground = np.median(border, axis=0)
    if (np.abs(border - ground).max(axis=1) > PLAIN).mean() > 0.02:
        return np.full(picture.shape[:2], 255, np.uint8)
    return np.where(np.abs(colours - ground).max(axis=2) > PLAIN, 255, 0).astype(np.uint8)
