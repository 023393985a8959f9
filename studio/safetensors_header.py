"""Judge a safetensors file from its first bytes, before anything loads it. No torch.

Decided by content, never by the name: a pickle called `.safetensors` is refused here. Source of the layout:
https://github.com/huggingface/safetensors (8 bytes little-endian header length, JSON header, tensor bytes).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from studio.errors import BadRequest, NotFound, UnsafeFormat

MAX_HEADER = 8 * 2**20  # bytes
MAX_TENSORS = 20_000
MAX_SEPARATORS = 24 * MAX_TENSORS  # commas and brackets outside strings, about 10 a tensor
MAX_STRINGS = 8 * MAX_TENSORS  # five a tensor: its name, three keys, its dtype
MAX_DEPTH = 3
SIZES: Mapping[str, int] = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4,
    "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip
HINT = "Use a .safetensors file as the training tool wrote it; download it again if it was copied in part."

# An unfinished string runs to the end of the header, so that no start is tried twice: linear time.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


@dataclass(frozen=True)
class Header:
    """`tensors`: name -> (dtype as safetensors spells it, shape). `metadata`: untrusted notes.

    `spans`: name -> first byte of its data in the file and the one after its last.
    """

    tensors: Mapping[str, tuple[str, tuple[int, ...]]]
    metadata: Mapping[str, str]
    spans: Mapping[str, tuple[int, int]]


def read_header(path: Path) -> Header:
    """What the file says it holds, with every byte accounted for.

    Raises NotFound (`file_missing`), UnsafeFormat (`unsafe_format`) for bytes that are no safetensors at all,
    BadRequest (`file_incomplete`, `bad_header`, `no_tensors`) for those that do not add up.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or not 2 <= length <= MAX_HEADER:
                _refuse_format(start, size)
            if (first := file.read(1)) != b"{":
                _refuse_format(start, size)
            if 8 + length > size:
                raise _incomplete(8 + length - size)
            raw = first + file.read(length - 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise NotFound("The weights file is gone.", hint="Add it again.", code="file_missing") from None
    return _judge(_parse(raw), begin=8 + length, body=size - 8 - length)


def _refuse_format(start: bytes, size: int) -> NoReturn:
    kind = "not a safetensors file"
    if start[:2] == b"PK" or start[:1] == b"\x80":
        kind = "a pickle or zip archive, which can run code when it is opened"
    raise UnsafeFormat(f"This is {kind} ({size} bytes).", hint="Only safetensors weights are read. " + HINT)


def _bad(message: str) -> BadRequest:
    return BadRequest(f"Damaged safetensors header: {message}.", hint=HINT, code="bad_header")


def _incomplete(missing: int) -> BadRequest:
    return BadRequest(f"File incomplete: {missing} bytes missing.", hint=HINT, code="file_incomplete")


def _parse(raw: bytes) -> dict[str, Any]:
    skeleton = _skeleton(raw)
    if sum(skeleton.count(mark) for mark in (b",", b"[", b"{", b"]", b"}")) > MAX_SEPARATORS:
        raise _bad(f"more than {MAX_TENSORS} tensors")
    depth = deepest = 0
    for byte in skeleton.translate(None, _NOT_BRACKETS):
        depth += (byte in b"[{") - (byte in b"]}")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise _bad(f"brackets {deepest} deep where {MAX_DEPTH} are normal")

    def no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise _bad("a name is given twice")
        return found

    try:
        parsed = json.loads(raw, object_pairs_hook=no_twins)
    except (ValueError, RecursionError):
        raise _bad("it is not JSON") from None
    if not isinstance(parsed, dict):
        raise _bad("it is not an object")
    return parsed


def _skeleton(raw: bytes) -> bytes:
    """The header without its strings: what decides how much memory parsing it takes."""
    pieces: list[bytes] = []
    end = 0
    for string in _STRING.finditer(raw):
        pieces.append(raw[end : string.start()])
        end = string.end()
        if len(pieces) > MAX_STRINGS:
            raise _bad(f"more than {MAX_TENSORS} tensors")
    return b"".join(pieces) + raw[end:]


def _judge(parsed: dict[str, Any], begin: int, body: int) -> Header:
    metadata = parsed.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _bad("the metadata is not text")
    if not parsed:
        raise BadRequest("The file holds no tensors.", hint=HINT, code="no_tensors")
    if len(parsed) > MAX_TENSORS:
        raise _bad(f"{len(parsed)} tensors, at most {MAX_TENSORS} are read")
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
    spans: dict[str, tuple[int, int]] = {}
    for number, (name, entry) in enumerate(parsed.items(), start=1):
        dtype, shape, (first, after) = _entry(entry, number)
        tensors[name] = (dtype, shape)
        spans[name] = (begin + first, begin + after)
    _tile(sorted((first - begin, after - begin) for first, after in spans.values()), body)
    return Header(tensors, metadata, spans)


def _entry(entry: Any, number: int) -> tuple[str, tuple[int, ...], tuple[int, int]]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _bad(f"tensor {number} lacks dtype, shape or data_offsets")
    dtype, shape, span = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in SIZES:
        raise _bad(f"tensor {number} has a dtype that is not known")
    if not _is_whole(shape) or len(shape) > 8 or not _is_whole(span) or len(span) != 2 or span[0] > span[1]:
        raise _bad(f"tensor {number} has a shape or a range that cannot be")
    need = math.prod(shape) * SIZES[dtype]
    if need != span[1] - span[0]:
        raise _bad(f"tensor {number} is {span[1] - span[0]} bytes where its shape needs {need}")
    return dtype, tuple(shape), (span[0], span[1])


def _is_whole(values: Any) -> bool:
    """A list of whole numbers that a file offset can hold."""
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**48 for value in values)


def _tile(ranges: list[tuple[int, int]], body: int) -> None:
    end = 0
    for begin, stop in ranges:
        if begin != end:
            raise _bad(f"tensor bytes {'overlap' if begin < end else 'leave a gap'} at {begin}")
        end = stop
    if end > body:
        raise _incomplete(end - body)
    if end < body:
        raise _bad(f"{body - end} trailing bytes")
