"""Picture files: whole or not there. Names are ids that we drew, never anything a person sent."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterable
from pathlib import Path

from studio.errors import NotFound

ID = re.compile(r"[0-9a-f]{32}")


def new_id() -> str:
    """32 hex digits: 48 bits of milliseconds, so that names sort by age, then 80 drawn ones."""
    return f"{int(time.time() * 1000) & 0xFFFFFFFFFFFF:012x}{secrets.token_hex(10)}"


def is_id(text: str) -> bool:
    return ID.fullmatch(text) is not None


def write_whole(file: Path, data: bytes) -> None:
    """On disk under its final name when this returns; a crash before that leaves only a `.tmp`."""
    rough = file.with_suffix(file.suffix + ".tmp")
    try:
        with rough.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        rough.rename(file)
    except OSError:
        rough.unlink(missing_ok=True)
        raise
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Makes a rename in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_file(file: Path) -> bytes:
    """Raises NotFound for a file that is gone, and for a link, which may point out of the library."""
    try:
        handle = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        raise NotFound("The picture's file is gone from the library.", code="image_not_found") from None
    with open(handle, "rb") as stream:
        return stream.read()


def sweep(folder: Path) -> None:
    """Removes what writers that were killed left half-written."""
    for rough in folder.glob("*.tmp"):
        rough.unlink(missing_ok=True)


def set_aside(files: Iterable[Path], folder: Path) -> None:
    """Moved and not removed: after a lost database they are all there is."""
    for file in files:
        folder.mkdir(exist_ok=True)
        file.rename(folder / file.name)
