"""The company's folder of logos and artworks that must not turn up in pictures."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from studio.safety.protected_features import Picture
from studio.safety.protected_index import Index, Mark, mark_of

log = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
THRESHOLD = 0.82  # bench/protected.py: the marks' scores and those of pictures without any
LARGEST = 512  # px a side that is read of a protected picture
PLAIN = 24  # levels by which a mark differs from the ground its file shows
MOST = 10_000


class Protected:
    """Looks at the folder each time it is asked; learns anew when a file changed. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.names: tuple[str, ...] = ()
        self._stamp: tuple[tuple[str, int, int], ...] = ()
        self._index: Index | None = None
        self._lock = threading.Lock()

    def index(self) -> Index | None:
        """None: nothing is protected."""
        with self._lock:
            files = tuple(_files(self._folder))
            states = ((file.name, file.stat()) for file in files)
            stamp = tuple((name, state.st_size, state.st_mtime_ns) for name, state in states)
            if stamp != self._stamp:
                marks = {file.stem: mark for file in files if (mark := _mark(file)) is not None}
                self.names = tuple(marks)
                self._index = Index(list(marks.values())) if marks else None
                self._stamp = stamp
            return self._index


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    found = sorted(f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES and not f.is_symlink())
    if len(found) > MOST:
        log.warning("%d protected pictures; the first %d by name are looked for", len(found), MOST)
    yield from found[:MOST]


def _mark(file: Path) -> Mark | None:
    try:
        with Image.open(file, formats=["PNG", "JPEG", "WEBP"]) as opened:
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
    return mark_of(picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1])


def _shape(picture: Picture) -> Picture:
    """Where a mark on one plain ground is; all of it for an artwork, which has none."""
    colours = picture[..., :3].astype(np.int16)
    border = np.concatenate([colours[0], colours[-1], colours[:, 0], colours[:, -1]])
    ground = np.median(border, axis=0)
    if (np.abs(border - ground).max(axis=1) > PLAIN).mean() > 0.02:
        return np.full(picture.shape[:2], 255, np.uint8)
    return np.where(np.abs(colours - ground).max(axis=2) > PLAIN, 255, 0).astype(np.uint8)
