"""Between the first second and the web app: somebody answers."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest
from serving import refused

from studio.api.porch import Porch
from studio.api.port import taken
from studio.settings import ROOT, Settings


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with taken(Settings(port=0, host="127.0.0.1")) as listener, closing(Porch(listener)):
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx.Client(base_url=address) as client:
            yield client


def test_the_process_is_alive_and_not_ready(client: httpx.Client) -> None:
    assert client.get("/livez").json() == {"status": "ok"}
    assert client.head("/livez").content == b""
    answer = client.get("/readyz")
    refused(answer, 503, "not_ready")
    assert answer.headers["retry-after"] == "1"
    refused(client.post("/api/v1/jobs", json={"prompt": "a"}), 503, "not_ready")


def test_a_visitor_sees_that_the_page_is_coming(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.status_code == 503 and "is starting" in page.text and "refresh" in page.text


def test_noise_does_not_end_it(client: httpx.Client) -> None:
    place = (client.base_url.host, client.base_url.port)
    for noise in (b"", b"\0\xff" * 10, b"GET\r\n\r\n", b"\r\n\r\n"):
        with socket.create_connection(place) as line:
            line.sendall(noise)
    assert client.get("/livez").status_code == 200


def test_who_comes_after_it_left_waits_for_the_server() -> None:
    with taken(Settings(port=0, host="127.0.0.1")) as listener:
        Porch(listener).close()
        with socket.create_connection(listener.getsockname(), timeout=0.3) as line:
            line.sendall(b"GET /livez HTTP/1.1\r\n\r\n")
            with pytest.raises(TimeoutError):
                line.recv(1)


def test_it_needs_nothing_heavy() -> None:
    code = (
        "import sys, studio.api.porch, studio.api.port\n"
        "heavy = {'fastapi', 'uvicorn', 'sqlalchemy', 'numpy', 'gradio', 'torch'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
