"""Bad input over HTTP (RELIABILITY A rows): the coded answer, and nothing written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from serving import refused

JSON = {"content-type": "application/json"}


@pytest.fixture(autouse=True)
def nothing_is_written(client: httpx.Client) -> Iterator[None]:
    before = client.get("/api/v1/jobs?limit=1").json()
    yield
    assert client.get("/api/v1/jobs?limit=1").json() == before


def post(client: httpx.Client, body: str | bytes, path: str = "/api/v1/jobs") -> httpx.Response:
    return client.post(path, content=body, headers=JSON)


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/generate"])
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("{", 400, "invalid_json"),
        ("", 400, "invalid_json"),
        (b"\xff\xfe", 400, "invalid_json"),
        ("[]", 422, "not_an_object"),
        ("null", 422, "not_an_object"),
        ('"x"', 422, "not_an_object"),
        ('{"prompt":"a","seed":1,"seed":2}', 400, "duplicate_key"),
        ("[" * 100_000, 400, "invalid_json"),
        ('{"promt":"x","prompt":"y"}', 422, "unknown_field"),
        ("{}", 422, "missing_field"),
        ('{"prompt":""}', 422, "bad_length"),
        ('{"prompt":"%s"}' % ("x" * 10_001), 422, "bad_length"),
        ('{"prompt":"a","width":1e309}', 422, None),
        ('{"prompt":"a","guidance":NaN}', 422, None),
        ('{"prompt":"a","scheduler":"eulerr"}', 422, None),
        ('{"prompt":"a","model":"nope"}', 404, "model_not_found"),
        ('{"prompt":"a","preset":"nope"}', 404, None),
        ('{"prompt":"a","loras":[{"name":"nope"}]}', 404, "lora_not_found"),
        ('{"prompt":"a","control":{"image":"nope"}}', 404, None),
        ('{"prompt":"a","init_image":"../x"}', 404, None),
        ('{"prompt":"a","mask":"x"}', 422, None),
        ('{"prompt":"(a:nan)"}', 422, None),
    ],
)  # fmt: skip
def test_a_bad_body_is_told_what_is_wrong(
    client: httpx.Client, path: str, body: str | bytes, status: int, code: str | None
) -> None:
    refused(post(client, body, path), status, code)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("steps", [0, -1, 1_000_000_000, 1.5, "20abc", True]),
        ("width", [0, -64, 513, 65_536]),
        ("seed", [-2, 4_294_967_296, 9_007_199_254_740_993, 1.0, "0x10"]),
        ("guidance", [-5, 1e308, "inf"]),
        ("count", [0, 1001]),
    ],
)
def test_a_value_out_of_range_names_its_field(client: httpx.Client, field: str, values: list[Any]) -> None:
    for value in values:
        error = refused(client.post("/api/v1/jobs", json={"prompt": "a", field: value}), 422)
        assert error["field"] == field and any(figure.isdigit() for figure in error["message"])


def test_a_size_between_two_steps_names_both(client: httpx.Client) -> None:
    error = refused(client.post("/api/v1/jobs", json={"prompt": "a", "width": 513}), 422)
    assert "512" in error["hint"] and "520" in error["hint"]


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
@pytest.mark.parametrize("path", ["/api/v1/jobs", "/generate"])
def test_only_json_changes_anything(client: httpx.Client, path: str, kind: str) -> None:
    answer = client.post(path, content=b'{"prompt":"a"}', headers={"content-type": kind})
    refused(answer, 415, "unsupported_media")


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/generate"])
def test_a_huge_body_is_refused_before_it_is_read(client: httpx.Client, path: str) -> None:
    begun = time.monotonic()
    refused(post(client, b"x" * 50_000_000, path), 413, "too_large")
    assert time.monotonic() - begun < 5


def test_a_huge_body_without_a_length_is_counted(client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 100_000

    refused(client.post("/api/v1/jobs", content=chunks(), headers=JSON), 413, "too_large")


@pytest.mark.parametrize("path", ["/nope", "/api/v1/nope", "/api", "/docs/x", "/api/v1/jobs/a/events/b"])
def test_an_unknown_address_is_refused_in_the_one_form(client: httpx.Client, path: str) -> None:
    refused(client.get(path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/v1/jobs", {"GET", "POST"}),
        ("POST", f"/api/v1/jobs/{'0' * 32}", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("DELETE", "/api/v1/models", {"GET"}),
        ("GET", "/generate", {"POST"}),
        ("POST", "/livez", {"GET", "HEAD"}),
        ("GET", "/api/v1/uploads", {"POST"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(
    client: httpx.Client, method: str, path: str, allowed: set[str]
) -> None:
    answer = client.request(method, path)
    refused(answer, 405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("verb", ["GET", "DELETE"])
def test_an_unknown_job_is_not_found(client: httpx.Client, verb: str) -> None:
    refused(client.request(verb, f"/api/v1/jobs/{'0' * 32}"), 404, "job_not_found")
    refused(client.get(f"/api/v1/jobs/{'0' * 32}/events"), 404, "job_not_found")
