from __future__ import annotations

import json
import pickle
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

from studio.errors import BadRequest, NotFound, StudioError, UnsafeFormat
from studio.safetensors_header import MAX_HEADER, MAX_TENSORS, read_header

ONE = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def file_of(path: Path, header: Any, body: bytes) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + body)
    return path


def refused(path: Path) -> StudioError:
    with pytest.raises(StudioError) as caught:
        read_header(path)
    assert str(path.parent) not in caught.value.message + caught.value.hint
    return caught.value


def test_a_good_file_gives_names_types_shapes_and_notes(tmp_path: Path) -> None:
    note = {"__metadata__": {"ss_output_name": "<img src=x onerror=alert(1)>", "tags": '{"[": ["{", "\\""]}'}}
    header = read_header(file_of(tmp_path / "good", ONE | note, bytes(8)))
    assert header.tensors == {"a": ("F32", (2,))}
    assert header.metadata["ss_output_name"] == "<img src=x onerror=alert(1)>"


@pytest.mark.parametrize("data", [b"", bytes(8), b"\x01", b"hello, this is no model"])
def test_bytes_that_are_no_safetensors_are_an_unsafe_format(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(data)
    error = refused(path)
    assert isinstance(error, UnsafeFormat) and f"({len(data)} bytes)" in error.message


@pytest.mark.parametrize("name", ["lora.safetensors", "lora.SafeTensors", "lora.ckpt", "lora.pt"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_is_refused_whatever_its_name(tmp_path: Path, name: str, protocol: int) -> None:
    (tmp_path / name).write_bytes(pickle.dumps({"w": [1.0] * 50}, protocol=protocol))
    assert isinstance(refused(tmp_path / name), UnsafeFormat)


def test_a_zip_is_refused_and_called_what_it_is(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.safetensors", "w") as archive:
        archive.writestr("data.pkl", b"x")
    error = refused(tmp_path / "x.safetensors")
    assert isinstance(error, UnsafeFormat) and "zip" in error.message


def test_a_short_body_says_how_many_bytes_are_missing(tmp_path: Path) -> None:
    error = refused(file_of(tmp_path / "x", ONE, bytes(4)))
    assert error.code == "file_incomplete" and error.message == "File incomplete: 4 bytes missing."


def test_a_header_cut_in_the_middle_is_an_incomplete_file(tmp_path: Path) -> None:
    path = file_of(tmp_path / "x", ONE, bytes(8))
    path.write_bytes(path.read_bytes()[:30])
    assert refused(path).code == "file_incomplete"


def test_trailing_bytes_are_refused_with_their_count(tmp_path: Path) -> None:
    error = refused(file_of(tmp_path / "x", ONE, bytes(16)))
    assert error.code == "bad_header" and "8 trailing bytes" in error.message


def two(first: list[int], second: list[int]) -> dict[str, Any]:
    return {
        "a": {"dtype": "F32", "shape": [2], "data_offsets": first},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": second},
    }


@pytest.mark.parametrize(
    "header",
    [
        two([0, 8], [4, 12]),
        two([0, 8], [0, 8]),
        two([0, 8], [12, 20]),
        two([0, 8], [16, 8]),
        two([0, 8], [-8, 0]),
        {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [2**33, 2**33], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [2**64], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [True, 2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}},
        {"a": {"dtype": "Q4", "shape": [2], "data_offsets": [0, 8]}},
        {"a": {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [2]}},
        {"a": ONE["a"] | {"extra": 1}},
        {"a": [1, 2]},
        ONE | {"__metadata__": {"x": 1}},
        ONE | {"__metadata__": []},
        b'{"a": 1',
        b"{'a': 1}",
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        b'{"a":' + b"[" * 50_000,
        b'{"a":' + b"9" * 50_000 + b"}",
        b'{"\xff":1}',
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_headers_that_do_not_add_up_are_refused(tmp_path: Path, header: Any) -> None:
    error = refused(file_of(tmp_path / "x", header, bytes(20)))
    assert isinstance(error, BadRequest) and error.code in {"bad_header", "file_incomplete"}


@pytest.mark.parametrize("header", [{}, {"__metadata__": {"a": "b"}}])
def test_a_file_without_tensors_is_refused(tmp_path: Path, header: Any) -> None:
    assert refused(file_of(tmp_path / "x", header, b"")).code == "no_tensors"


def test_a_header_over_its_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes((MAX_HEADER + 1).to_bytes(8, "little") + b"{" + bytes(100))
    assert isinstance(refused(path), UnsafeFormat)


def test_too_many_tensors_are_refused(tmp_path: Path) -> None:
    header = {str(i): {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(MAX_TENSORS + 1)}
    assert "20001 tensors" in refused(file_of(tmp_path / "x", header, b"")).message


@pytest.mark.parametrize("filling", [b"[],", b'"\\', b'"\\"', b"1,", b"{"])
def test_a_hostile_header_costs_little_memory(tmp_path: Path, filling: bytes) -> None:
    raw = (b'{"a":[' + filling * (MAX_HEADER // len(filling)))[: MAX_HEADER - 2]
    path = file_of(tmp_path / "x", raw, b"")
    tracemalloc.start()
    try:
        refused(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 * 2**20


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    error = refused(tmp_path / "gone.safetensors")
    assert isinstance(error, NotFound) and error.code == "file_missing"
