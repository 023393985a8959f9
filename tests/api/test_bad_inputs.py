"""Every bad input of one kind, one after the other: its code, no traceback, no path, no row, no file."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file
from serving import STEP, make_model, picture, refused, served

from studio.api.app import web
from studio.errors import StudioError
from studio.executors import FakeExecutor
from studio.settings import Settings
from studio.studio import Studio

MB = 2**20
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    home = tmp_path_factory.mktemp("bad")
    make_model(home / "models" / "pocket")
    with closing(Studio.open(Settings(home=home, port=0, host="127.0.0.1"), FakeExecutor(STEP))) as studio:
        studio.start()
        yield studio


@pytest.fixture(scope="module")
def door(house: Studio) -> Iterator[httpx.Client]:
    with served(web(house), house.settings) as address, httpx.Client(base_url=address, timeout=60) as client:
        yield client


@pytest.fixture(autouse=True)
def nothing_is_left(house: Studio) -> Iterator[None]:
    before = traces(house)
    yield
    assert traces(house) == before


def traces(studio: Studio) -> tuple[Any, ...]:
    folders = ("pictures", "uploads", "loras", "models")
    files = [str(file) for name in folders for file in sorted((studio.settings.home / name).rglob("*"))]
    return files, studio.jobs.by_state(), studio.library.counts()


# --- text ---

TEXTS: dict[str, tuple[bytes | str, int, str | None]] = {
    "A1": ("{", 400, "invalid_json"),
    "A2 list": ("[]", 422, "not_an_object"),
    "A2 null": ("null", 422, "not_an_object"),
    "A2 text": ('"x"', 422, "not_an_object"),
    "A4": ('{"seed":1,"seed":2}', 400, "duplicate_key"),
    "A5": ("[" * 100_000, 400, "invalid_json"),
    "A5 braces": ('{"a":' * 50_000, 400, "invalid_json"),
    "A7": ('{"promt":"x"}', 422, "unknown_field"),
    "A8": ("{}", 422, "missing_field"),
    "A10": ('{"prompt":"a","width":1e309}', 422, None),
    "A12 rounded": ('{"prompt":"a","seed":9007199254740993}', 422, None),
    "A12 digits": ('{"prompt":"a","seed":' + "9" * 5000 + "}", 400, "invalid_json"),
    "A13": ('{"prompt":"a","guidance":"inf"}', 422, None),
    "A14": ('{"prompt":"a","count":1001}', 422, None),
    "A15": ('{"prompt":"a","scheduler":"eulerr"}', 422, "scheduler_not_found"),
    "A16": ('{"prompt":"a","model":"../../etc"}', 404, "model_not_found"),
    "A17 none": ('{"prompt":""}', 422, "bad_length"),
    "A17 long": ('{"prompt":"%s"}' % ("x" * 10_001), 422, "bad_length"),
    "A20 nan": ('{"prompt":"(a:nan)"}', 422, None),
    "A20 inf": ('{"prompt":"(a:1e309)"}', 422, None),
    "L16": ('{"prompt":"a","loras":[{"name":"x","weight":1e6}]}', 422, None),
    "L16 comma": ('{"prompt":"a","loras":[{"name":"x","weight":"1,0"}]}', 422, None),
    "latin-1": ('{"prompt":"café"}'.encode("latin-1"), 400, "invalid_json"),
    "nul id": ('{"prompt":"a","init_image":"\\u0000"}', 404, "image_not_found"),
    "path id": ('{"prompt":"a","init_image":"../../etc/passwd"}', 404, "image_not_found"),
    "lone surrogate": ('{"prompt":"a","model":"\\ud800"}', 422, None),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("path", ["/api/v1/jobs", "/generate"])
def test_a_body_that_cannot_be(door: httpx.Client, path: str, name: str) -> None:
    body, status, code = TEXTS[name]
    refused(door.post(path, content=body, headers=JSON), status, code)


NUMBERS: dict[str, tuple[Any, ...]] = {
    "steps": (0, -1, 10**9, 1.5, "20abc", True), "width": (0, -64, 513, 65_536), "height": (0, 4096),
    "seed": (-2, 2**32, 2**53 + 1, 1.5, "0x10"), "guidance": (-5, 1e308, "inf"), "count": (0, 1001),
}  # fmt: skip
THEIRS = {  # our fields by the names of other doors
    "/sdapi/v1/txt2img": {"guidance": "cfg_scale", "count": "batch_size"},
    "/v1/images/generations": {"count": "n"},
}
LENIENT = {("/sdapi/v1/txt2img", "True"), ("/sdapi/v1/txt2img", "513"), ("/v1/images/generations", "True")}


@pytest.mark.parametrize(("field", "value"), [(name, one) for name, row in NUMBERS.items() for one in row])
def test_a_number_that_cannot_be(door: httpx.Client, field: str, value: Any) -> None:
    """A9 to A14 at every door; A1111's clients may send sizes it rounds and words for yes."""
    error = refused(door.post("/api/v1/jobs", json={"prompt": "a", field: value}), 422)
    assert error["field"] == field and any(sign.isdigit() for sign in error["message"])
    for path, names in THEIRS.items():
        if (path, str(value)) in LENIENT or (path.startswith("/v1/") and field in ("width", "height")):
            continue
        answer = door.post(path, json={"prompt": "a", names.get(field, field): value})
        assert answer.status_code in (400, 422) and "Traceback" not in answer.text, answer.text


FOREIGN: dict[str, tuple[str, Any, int]] = {
    "unit list": ("/sdapi/v1/txt2img", {"alwayson_scripts": {"controlnet": {"args": 7}}}, 422),
    "unit": ("/sdapi/v1/txt2img", {"alwayson_scripts": {"controlnet": {"args": [{"image": "zz"}]}}}, 422),
    "batches": ("/sdapi/v1/txt2img", {"n_iter": 0}, 422),
    "sampler": ("/sdapi/v1/txt2img", {"sampler_name": "eulerr"}, 400),
    "script": ("/sdapi/v1/txt2img", {"script_name": "x/y/z"}, 422),
    "checkpoint": ("/sdapi/v1/txt2img", {"override_settings": {"sd_model_checkpoint": "../x"}}, 404),
    "address": ("/sdapi/v1/img2img", {"init_images": ["http://169.254.169.254/x"]}, 422),
    "no picture": ("/sdapi/v1/img2img", {}, 404),
    "weight": ("/sdapi/v1/txt2img", {"prompt": "(a:nan)"}, 422),
    "long": ("/sdapi/v1/txt2img", {"prompt": "x" * 10_001}, 422),
    "size": ("/v1/images/generations", {"size": "513x513"}, 400),
    "huge size": ("/v1/images/generations", {"size": "65536x64"}, 400),
    "format": ("/v1/images/generations", {"output_format": "gif"}, 400),
    "background": ("/v1/images/generations", {"background": "transparent", "output_format": "jpeg"}, 400),
    "model": ("/v1/images/generations", {"model": "../x"}, 404),
    "effort and steps": ("/v1/images/generations", {"quality": "low", "steps": 0}, 400),
    "nothing": ("/v1/images/generations", {"prompt": ""}, 400),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_wish_of_another_door_that_cannot_be(door: httpx.Client, name: str) -> None:
    path, asked, status = FOREIGN[name]
    answer = door.post(path, json={"prompt": "a", "steps": 1, **asked})
    assert answer.status_code == status, answer.text
    assert "Traceback" not in answer.text and "/root" not in answer.text


@pytest.mark.parametrize("name", ["A1", "A2 list", "A2 null", "A4", "A5", "A12 digits", "latin-1"])
@pytest.mark.parametrize("path", THEIRS)
def test_a_body_that_another_door_cannot_read(door: httpx.Client, path: str, name: str) -> None:
    answer = door.post(path, content=TEXTS[name][0], headers=JSON)
    assert answer.status_code in (400, 422) and "Traceback" not in answer.text, answer.text


@pytest.mark.parametrize("key", ["", "x" * 256, "a b\tc"])
def test_an_idempotency_key_that_cannot_be(door: httpx.Client, key: str) -> None:
    refused(door.post("/api/v1/jobs", json={"prompt": "a"}, headers={"idempotency-key": key}), 422)


IDS = [
    "../x",
    "%2e%2e%2fx",
    "..%5cx",
    "%00",
    "%2fetc%2fpasswd",
    "C:%5cx",
    "x" * 4096,
    "%ff",
    "0" * 31,
    "G" * 32,
    " ",
]


@pytest.mark.parametrize("id", IDS, ids=lambda id: id[:12])
def test_an_id_that_cannot_be_is_one_that_is_not_there(door: httpx.Client, id: str) -> None:
    for kind in ("jobs", "images"):
        unknown = door.get(f"/api/v1/{kind}/{'0' * 32}")
        answer = door.get(httpx.URL(str(door.base_url)).copy_with(raw_path=f"/api/v1/{kind}/{id}".encode()))
        refused(answer, 404)
        assert answer.content == unknown.content or answer.json()["error"]["code"] == "no_route"


# --- pictures ---


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def claimed(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def noted(count: int, size: int) -> bytes:
    png, note = picture(), chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(size), 9))
    return png[:33] + note * count + png[33:]


def moving() -> bytes:
    out = BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:])
    return out.getvalue()


PICTURES: dict[str, tuple[bytes, int, str]] = {
    "I1": (b"", 422, "unsupported_image"),
    "I3": (claimed(20_000, 20_000), 422, "too_many_pixels"),
    "I4": (claimed(10_000, 10_000), 422, "too_many_pixels"),
    "I6 one": (noted(1, 50 * MB), 422, "metadata_too_large"),
    "I6 many": (noted(100, MB), 422, "metadata_too_large"),
    "I7 svg": (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", 422, "unsupported_image"),
    "I7 html": (b"<!doctype html><script>1</script>", 422, "unsupported_image"),
    "I7 eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 422, "unsupported_image"),
    "I7 psd": (b"8BPS\0\1" + bytes(30), 422, "unsupported_image"),
    "I7 fits": (b"SIMPLE  =                    T" + bytes(80), 422, "unsupported_image"),
    "I7 pdf": (b"%PDF-1.7\n", 422, "unsupported_image"),
    "gif": (picture(kind="GIF"), 422, "unsupported_image"),
    "moving": (moving(), 422, "unsupported_image"),
    "truncated": (picture()[:60], 422, "unsupported_image"),
    "I13": (picture() + bytes(21 * MB), 413, "too_large"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_that_cannot_be(door: httpx.Client, name: str) -> None:
    data, status, code = PICTURES[name]
    refused(door.post("/api/v1/uploads", files={"file": ("x.png", data, "image/png")}), status, code)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_that_another_door_cannot_take(door: httpx.Client, name: str) -> None:
    data, status, code = PICTURES[name]
    text = base64.b64encode(data).decode()
    for path, asked in (
        ("/sdapi/v1/img2img", {"prompt": "a", "init_images": [text]}),
        ("/sdapi/v1/png-info", {"image": text}),
        ("/sdapi/v1/extra-single-image", {"image": text, "upscaling_resize": 2}),
        ("/controlnet/detect", {"controlnet_module": "canny", "controlnet_input_images": [text]}),
    ):
        answer = door.post(path, json=asked)
        assert (answer.status_code, answer.json()["error"]) == (status, code), (path, answer.text)
    edit = door.post("/v1/images/edits", data={"prompt": "a"}, files={"image": ("x.png", data)})
    assert edit.status_code in (400, 413) and edit.json()["error"]["code"] == code, edit.text
    refused(door.post("/api/v1/infotext", files={"file": ("x.png", data)}), status, code)


@pytest.mark.parametrize("name", ["no file", "text", "junk", "boundary", "parts"])
def test_a_form_that_cannot_be(door: httpx.Client, name: str) -> None:
    kind = "multipart/form-data; boundary=b"
    bodies = {
        "no file": (b"--b--\r\n", kind),
        "text": (b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n', kind),
        "junk": (b"\0\xff" * 500, kind),
        "boundary": (b"x", "multipart/form-data; boundary=" + "b" * 5000),
        "parts": (
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n' * 5000 + b"--b--\r\n",
            kind,
        ),
    }
    body, kind = bodies[name]
    answer = door.post("/api/v1/uploads", content=body, headers={"content-type": kind})
    assert answer.status_code in (400, 413, 422), answer.text
    refused(answer, answer.status_code)


# --- weights ---


def weights(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + body


def tensor(shape: list[int], span: list[int], kind: str = "F16") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": span}


def header(**tensors: Any) -> bytes:
    return json.dumps(tensors).encode()


WEIGHTS: dict[str, tuple[bytes, str]] = {
    "L1": (b"", "unsafe_format"),
    "L1 zeros": (bytes(8), "unsafe_format"),
    "L3": (weights(header(a=tensor([4], [0, 8])), bytes(4)), "file_incomplete"),
    "L4": (weights(header(a=tensor([4], [0, 8])), bytes(16)), "bad_header"),
    "L5 overlap": (weights(header(a=tensor([4], [0, 8]), b=tensor([4], [4, 12])), bytes(12)), "bad_header"),
    "L5 reversed": (weights(header(a=tensor([4], [8, 0])), bytes(8)), "bad_header"),
    "L5 gap": (weights(header(a=tensor([4], [4, 12])), bytes(12)), "bad_header"),
    "L5 huge": (weights(header(a=tensor([2**40], [0, 8])), bytes(8)), "bad_header"),
    "L5 product": (weights(header(a=tensor([2**33, 2**33], [0, 8])), bytes(8)), "bad_header"),
    "L7": (weights(b"{}"), "no_tensors"),
    "L12": (weights(b"[" * 50_000), "unsafe_format"),
    "L12 inside": (weights(b'{"a":' + b"[" * 50_000), "bad_header"),
    "L13 pickle": (b"\x80\x04\x95" + bytes(60), "unsafe_format"),
    "L13 zip": (b"PK\3\4" + bytes(60), "unsafe_format"),
    "html": (b"<!doctype html><title>404</title>" + bytes(60), "unsafe_format"),
    "no lora": (weights(header(a=tensor([4], [0, 8])), bytes(8)), "not_a_lora"),
}


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("suffix", [".safetensors", ".SafeTensors", ".ckpt"])
def test_weights_that_cannot_be(house: Studio, tmp_path: Path, name: str, suffix: str) -> None:
    data, code = WEIGHTS[name]
    (tmp_path / f"x{suffix}").write_bytes(data)
    with pytest.raises(StudioError) as caught:
        house.add_lora(tmp_path / f"x{suffix}")
    assert caught.value.status == 422 and caught.value.code in (code, "lora_unusable")
    assert str(tmp_path) not in json.dumps(caught.value.as_dict())


def test_weights_with_numbers_that_are_none(house: Studio, tmp_path: Path) -> None:
    down, up = np.full((4, 160), np.nan, np.float16), np.ones((160, 4), np.float16)
    save_file(
        {"unet.attn2.to_k.lora_A.weight": down, "unet.attn2.to_k.lora_B.weight": up},
        tmp_path / "x.safetensors",
    )
    with pytest.raises(StudioError) as caught:
        house.add_lora(tmp_path / "x.safetensors")
    assert caught.value.code == "non_finite"
