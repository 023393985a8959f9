"""Webhooks: who is told what, how it is signed, what is tried again, and where none may lead."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from studio.errors import BadRequest, NotFound
from studio.people import Person, speaking
from studio.schema import GenerationRequest
from studio.settings import Settings
from studio.studio import Studio
from studio.webhooks import webhooks as module
from studio.webhooks.post import is_public, target_of
from studio.webhooks.webhooks import sign

ADA = Person("ada", frozenset({"generate", "read"}))
Told = list[tuple[dict[str, str], bytes]]


@contextmanager
def receiver(answers: list[int], location: str = "") -> Iterator[tuple[str, Told]]:
    """An address that answers with these statuses, the last one from then on; and what it was told."""
    told: Told = []

    class Ear(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append((dict(self.headers), self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(answers.pop(0) if len(answers) > 1 else answers[0])
            if location:
                self.send_header("location", location)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ear) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook?x=1", told
        server.shutdown()
        thread.join()


@pytest.fixture
def studio(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    monkeypatch.setattr(module, "LOOK", 0.02)
    monkeypatch.setattr(module, "WAITS", (0.05, 0.05))
    settings = Settings(home=home, executor="fake", rows=2, webhook_private=True)
    with closing(Studio.open(settings)) as opened:
        opened.start()
        yield opened


def until(true: Callable[[], Any]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def make(studio: Studio, prompt: str = "S3CR3T mug") -> str:
    return studio.wait(studio.submit(GenerationRequest(prompt=prompt, steps=2)).id, 20).id


def state(studio: Studio) -> str:
    last = studio.webhooks.list()[0].last
    return "" if last is None else str(last["state"])


def test_the_end_of_a_job_is_told_once_and_signed(studio: Studio) -> None:
    with receiver([200]) as (url, told):
        make(studio)  # before the hook: not told
        hook = studio.webhooks.add(url)
        id = make(studio)
        until(lambda: state(studio) == "sent")
        time.sleep(0.2)
    ((headers, body),) = told
    message = json.loads(body)
    assert message["event"] == "job.completed" and message["job"]["id"] == id
    assert message["job"]["images"][0]["url"].startswith("/api/v1/images/") and b"S3CR3T" not in body
    at = headers["X-Studio-Timestamp"]
    assert headers["X-Studio-Signature"] == "sha256=" + sign(hook.secret, at, body)
    assert abs(int(at) - time.time()) < 60 and headers["X-Studio-Delivery"] == message["delivery"]
    assert studio.webhooks.list()[0].secret == ""


def test_what_is_not_taken_is_tried_again_and_given_up_in_the_end(studio: Studio) -> None:
    with receiver([500, 404, 204]) as (url, told):
        studio.webhooks.add(url)
        make(studio)
        until(lambda: state(studio) == "sent")
    assert len(told) == 3 and len({body for _, body in told}) == 1
    with receiver([503]) as (url, told):
        studio.webhooks.remove(studio.webhooks.list()[0].id)
        studio.webhooks.add(url)
        make(studio)
        until(lambda: state(studio) == "failed")
    assert len(told) == 3


def test_a_redirect_is_not_followed(studio: Studio) -> None:
    with receiver([200]) as (inner, reached), receiver([307], inner) as (url, told):
        studio.webhooks.add(url)
        make(studio)
        until(lambda: state(studio) == "failed")
    assert told and not reached


def test_a_delivery_outlives_the_process(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.02)
    settings = Settings(home=home, executor="fake", webhook_private=True)
    with receiver([200]) as (url, told):
        with closing(Studio.open(settings)) as studio:
            studio.executor.start()
            studio.jobs.start()  # and nobody who tells
            studio.webhooks.add(url)
            id = make(studio)
        with closing(Studio.open(settings)) as studio:
            studio.start()
            until(lambda: told)
    assert json.loads(told[0][1])["job"]["id"] == id


def test_a_hook_hears_of_its_owners_jobs_only(studio: Studio) -> None:
    with receiver([200]) as (url, told):
        with speaking(ADA):
            studio.webhooks.add(url)
        make(studio)
        with speaking(ADA):
            mine = make(studio)
            until(lambda: state(studio) == "sent")
        assert [json.loads(body)["job"]["id"] for _, body in told] == [mine]
        assert studio.webhooks.list() == []
        with speaking(ADA):
            id = studio.webhooks.list()[0].id
        with pytest.raises(NotFound):
            studio.webhooks.remove(id)


INWARD = [
    "http://127.0.0.1/", "http://localhost:1/", "http://169.254.169.254/latest", "http://0177.0.0.1/",
    "http://2130706433/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:7f00:1::]/", "http://10.0.0.7/", "http://0.0.0.0/", "http://[fe80::1]/",
    "http://127%2e0%2e0%2e1/", "file:///etc/passwd", "gopher://127.0.0.1/", "http://me:pass@example.com/",
    "http:///x", "//x", "http://a b/", "http://x\r\ny/", "http://[", "http://127.0.0.1:99999/",
    "http://" + "a" * 3000,
]  # fmt: skip


@pytest.mark.parametrize("url", INWARD)
def test_no_hook_leads_into_our_own_network(url: str) -> None:
    with pytest.raises(BadRequest) as caught:
        target_of(url, private=False)
    assert caught.value.code == "url_not_allowed"
    said = f"{caught.value.message} {caught.value.hint}"
    assert "127.0.0.1" not in said and "169.254" not in said


def test_a_name_that_leads_inward_later_is_not_followed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: public when the hook was made, loopback when it is used."""
    monkeypatch.setattr(module, "LOOK", 0.02)
    real, inward = socket.getaddrinfo, threading.Event()

    def lookup(host: str, *rest: Any, **more: Any) -> Any:
        if host == "rebind.example":
            host = "127.0.0.1" if inward.is_set() else "93.184.215.14"
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with receiver([200]) as (url, told), closing(Studio.open(Settings(home=home, executor="fake"))) as studio:
        studio.start()
        with pytest.raises(BadRequest):
            studio.webhooks.add(url)
        studio.webhooks.add(url.replace("127.0.0.1", "rebind.example"))
        inward.set()
        make(studio)
        until(lambda: (studio.webhooks.list()[0].last or {}).get("attempts"))
        assert not told
        assert target_of(url, private=True).ip == "127.0.0.1"  # the same address where it is allowed


def test_public_addresses_are_public() -> None:
    from ipaddress import ip_address

    for text in ("93.184.215.14", "2606:4700::1111", "64:ff9b::5db8:d70e"):
        assert is_public(ip_address(text))
    for text in ("224.0.0.1", "100.64.0.1", "fc00::1", "::", "2001:0:53aa:64c:0:fbff:a247:28f1"):
        assert not is_public(ip_address(text))
