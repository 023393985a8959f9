"""What goes between the studio and the process that reads a file: JSON and bytes, each with its length.

No pickle: what the other side says is as untrusted as the file it read.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

from studio import errors
from studio.errors import BadRequest, StudioError

HEAD = struct.Struct(">IQ")  # bytes of the JSON, bytes of the rest
MOST_WORDS = 2**20
MOST_BYTES = 2**30
KINDS: Mapping[str, type[StudioError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, StudioError)
}


class Hung(Exception):
    """The other side ended, or said what cannot be."""


def send(line: socket.socket, words: Mapping[str, Any], data: bytes | memoryview = b"") -> None:
    told = json.dumps(words).encode()
    line.sendall(HEAD.pack(len(told), len(data)) + told)
    if data:  # sending nothing to one who has read all and gone would fail
        line.sendall(data)


def receive(line: socket.socket) -> tuple[dict[str, Any], bytes]:
    """Raises Hung."""
    told, size = HEAD.unpack(read(line, HEAD.size))
    if told > MOST_WORDS or size > MOST_BYTES:
        raise Hung
    try:
        words = json.loads(read(line, told))
    except ValueError:
        raise Hung from None
    if not isinstance(words, dict):
        raise Hung
    return words, read(line, size)


def read(line: socket.socket, size: int) -> bytes:
    data = bytearray(size)
    view, got = memoryview(data), 0
    while got < size:
        more = line.recv_into(view[got:])
        if not more:
            raise Hung
        got += more
    return bytes(data)


def as_words(error: StudioError) -> dict[str, Any]:
    return {"kind": type(error).__name__, **error.as_dict()}


def as_error(words: Mapping[str, Any]) -> StudioError:
    """A refusal as the studio raises it; of an unknown kind, a plain one."""
    kind = KINDS.get(str(words.get("kind")), BadRequest)
    field = words.get("field")
    return kind(
        str(words.get("message", ""))[:500],
        hint=str(words.get("hint", ""))[:500],
        field=None if field is None else str(field)[:100],
        code=str(words.get("code", kind.code))[:60],
    )
