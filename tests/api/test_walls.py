"""Who may speak to the studio. Each wall is also tried without it: then the same request gets through."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from serving import refused, served
from starlette.types import Message

from studio.api import walls
from studio.api.app import unwalled
from studio.api.walls import Walls
from studio.settings import Settings
from studio.studio import Studio

FOREIGN = "https://evil.example"


@pytest.fixture(scope="module")
def bare(studio: Studio) -> Iterator[httpx.Client]:
    """The same app without walls."""
    with served(unwalled(studio), studio.settings) as address, httpx.Client(base_url=address) as client:
        yield client


def stranger(client: httpx.Client, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    body = (
        '{"prompt":"' if method == "POST" else None
    )  # broken, so that nothing is queued where it gets through
    kind = {"content-type": "application/json"} if body else {}
    return client.request(method, path, content=body, headers={**kind, **headers})


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "10.0.0.7", ""]
)
def test_a_foreign_host_name_is_refused(
    client: httpx.Client, bare: httpx.Client, method: str, host: str
) -> None:
    path = (
        "/livez" if method == "GET" else f"/api/v1/jobs/{'0' * 32}" if method == "DELETE" else "/api/v1/jobs"
    )
    refused(stranger(client, method, path, {"host": host}), 421, "host_not_allowed")
    assert stranger(bare, method, path, {"host": host}).status_code in (200, 400, 404)


def test_our_own_host_names_are_answered(client: httpx.Client) -> None:
    port = urlsplit(str(client.base_url)).port
    for host in ("localhost", "LOCALHOST", f"localhost:{port}", "127.0.0.1", f"[::1]:{port}"):
        assert client.get("/livez", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": FOREIGN},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "http://[bad"},
        {"origin": "file://"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_another_sites_page_changes_nothing(
    client: httpx.Client, bare: httpx.Client, headers: dict[str, str]
) -> None:
    refused(stranger(client, "POST", "/api/v1/jobs", headers), 403, "foreign_origin")
    refused(stranger(client, "DELETE", f"/api/v1/jobs/{'0' * 32}", headers), 403, "foreign_origin")
    refused(stranger(bare, "POST", "/api/v1/jobs", headers), 400, "invalid_json")


def test_our_own_page_may_change_things(client: httpx.Client) -> None:
    origin = str(client.base_url).rstrip("/")
    for headers in ({"origin": origin, "sec-fetch-site": "same-origin"}, {}):
        refused(stranger(client, "POST", "/api/v1/jobs", headers), 400, "invalid_json")


def test_a_name_that_was_set_is_ours_behind_a_proxy(studio: Studio) -> None:
    settings = studio.settings.model_copy(update={"allowed_hosts": ("studio.lan",)})
    with (
        served(Walls(unwalled(studio), settings, None), settings) as address,
        httpx.Client(base_url=address) as client,
    ):
        assert client.get("/livez", headers={"host": "studio.lan"}).status_code == 200
        for host in ("studio.lan", "127.0.0.1"):
            own = {"host": host, "origin": "https://studio.lan"}
            refused(stranger(client, "POST", "/api/v1/jobs", own), 400, "invalid_json")
            foreign = {"host": host, "origin": FOREIGN}
            refused(stranger(client, "POST", "/api/v1/jobs", foreign), 403)


def test_a_foreign_preflight_is_refused(client: httpx.Client) -> None:
    headers = {"origin": FOREIGN, "access-control-request-method": "POST"}
    refused(client.options("/api/v1/jobs", headers=headers), 403)


async def reflecting(scope: object, receive: object, send: object) -> None:
    """An app that lets every origin read its answers, as Gradio does for names that are not localhost."""
    headers = [
        (b"access-control-allow-origin", FOREIGN.encode()),
        (b"access-control-allow-credentials", b"true"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b"secret"})  # type: ignore[operator]


def test_no_answer_lets_another_origin_read_it(settings: Settings) -> None:
    for app, let in ((reflecting, True), (Walls(reflecting, settings, None), False)):
        with served(app, settings) as address:
            answer = httpx.get(address, headers={"origin": FOREIGN})
            assert answer.status_code == 200
            assert ("access-control-allow-origin" in answer.headers) is let


def test_every_answer_has_the_headers_of_a_careful_site(client: httpx.Client) -> None:
    for answer in (client.get("/livez"), client.get("/nope"), client.get("/livez", headers={"host": "x"})):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "SAMEORIGIN"
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        assert "server" not in answer.headers


def test_a_websocket_is_closed(settings: Settings) -> None:
    import asyncio

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    asyncio.run(Walls(reflecting, settings, None)({"type": "websocket", "headers": []}, receive, send))
    assert [message["type"] for message in sent] == ["websocket.close"]


def raw(client: httpx.Client, data: bytes) -> bytes:
    parts = urlsplit(str(client.base_url))
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as line:
        line.sendall(data)
        answer = b""
        while b"\r\n\r\n" not in answer and (more := line.recv(65_536)):
            answer += more
    return answer


def test_two_host_headers_are_refused(client: httpx.Client) -> None:
    answer = raw(client, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 422"))


def test_a_body_that_stops_coming_is_given_up(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walls, "SLOW", 0.2)
    lines = (b"POST /api/v1/jobs HTTP/1.1", b"Host: localhost", b"Content-Type: application/json")
    head = b"\r\n".join((*lines, b"Content-Length: 99", b"", b"{"))
    assert raw(client, head).startswith(b"HTTP/1.1 408")


def test_headers_without_end_are_refused(client: httpx.Client) -> None:
    answer = raw(client, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + b";" * 1_000_000)
    assert answer.startswith(b"HTTP/1.1 400")


CHUNKED = b"POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begun", "more"),
    [
        (b"GET /", b"a" * 1000),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\n", b"a: b\r\n" * 100),
        (CHUNKED + b"1;", b"x" * 1000),
        (CHUNKED + b"0\r\n", b"a: b\r\n" * 100),
    ],
    ids=["address", "headers", "behind a chunk's size", "behind the body"],
)
def test_what_never_becomes_a_request_is_cut_off(client: httpx.Client, begun: bytes, more: bytes) -> None:
    parts = urlsplit(str(client.base_url))
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as line:
        line.sendall(begun)
        with pytest.raises(OSError):  # noqa: PT011 - reset or broken pipe, whichever comes first
            for _ in range(20_000):
                line.sendall(more)


@pytest.mark.parametrize(
    "twice",
    [b"Content-Length: 2\r\nContent-Length: 3", b"Content-Length: 2\r\nTransfer-Encoding: chunked"],
    ids=["two lengths", "length and chunks"],
)
def test_a_body_whose_end_two_readers_see_differently_is_refused(client: httpx.Client, twice: bytes) -> None:
    head = b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    assert raw(client, head + twice + b"\r\n\r\n{}").startswith(b"HTTP/1.1 400")


def test_a_body_in_many_small_chunks_arrives(client: httpx.Client) -> None:
    body = b'{"prompt": "' + b"a" * 900 + b'", "steps": 1}'

    def pieces() -> Iterator[bytes]:
        yield from (body[place : place + 1] for place in range(len(body)))
        yield b" " * 100_000

    answer = client.post("/api/v1/jobs", content=pieces(), headers={"content-type": "application/json"})
    assert answer.status_code == 202
