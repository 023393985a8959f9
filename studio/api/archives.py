"""ZIPs that are written whole before their first byte is sent, so that a refusal can still be told."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from fastapi import Response
from fastapi.responses import StreamingResponse

PIECE = 2**20


def send_archive(folder: Path, name: str, write: Callable[[IO[bytes]], None]) -> Response:
    """`folder`: where it lies meanwhile, without a name. Raises what `write` raises."""
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (sent after the return)
    try:
        write(file)
        size = file.seek(0, 2)
    except BaseException:
        file.close()
        raise
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        "content-length": str(size),
        "cache-control": "no-store",
    }
    return StreamingResponse(pieces(file), media_type="application/zip", headers=headers)


def pieces(file: IO[bytes]) -> Iterator[bytes]:
    """The file from its start; it is closed, and with that gone, once it was sent."""
    with file:
        file.seek(0)
        while piece := file.read(PIECE):
            yield piece
