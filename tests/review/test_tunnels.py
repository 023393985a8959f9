"""Tunnels: a real one over SSH on loopback, and Gradio's client program as a stand-in that says its lines."""

from __future__ import annotations

import hashlib
import json
import platform
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, expect
from rooms import Rooms, Shelf
from ssh_server import Server, serving
from test_room import STUDIO_PATHS

from studio.errors import BadRequest
from studio.review.links import LinkView
from studio.review.review import Review
from studio.review.tunnels.gradio_share import MACHINES, GradioShare, TunnelFailed
from studio.review.tunnels.ssh import parted
from studio.settings import Settings


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("ssh")) as server:
        yield server


@pytest.fixture(scope="module")
def tunnelled(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    settings = Settings(
        home=tmp_path_factory.mktemp("home"), review_port=0, review_ssh=f"client@127.0.0.1:{server.port}",
        review_ssh_port=0, review_ssh_key=str(server.key), review_known_hosts=str(server.known_hosts),
    )  # fmt: skip
    with closing(Review(settings, Shelf().give)) as review:
        review.start()
        yield Rooms(review)


def once(rooms: Rooms, id: str, told: Callable[[LinkView], bool], seconds: float = 60) -> LinkView:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if told(link := rooms.review.get(id)):
            return link
        time.sleep(0.05)
    raise AssertionError(rooms.review.get(id))


def reaches(url: str) -> bool:
    place = urlsplit(url)
    try:
        with socket.create_connection((str(place.hostname), place.port or 80), 2):
            return True
    except OSError:
        return False


def test_a_client_with_a_phone_reviews_through_a_real_tunnel(tunnelled: Rooms, browser: Browser) -> None:
    link = tunnelled.share(3, title="Spring launch", tunnel="ssh")
    own = link.url
    link = once(tunnelled, link.id, lambda link: link.tunnel_state == "open")
    assert urlsplit(link.url).port != urlsplit(own).port and urlsplit(link.url).path == urlsplit(own).path
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(30_000)
    faults: list[str] = []
    asked: set[str] = set()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    page.goto(link.url)
    expect(page.locator("h1")).to_have_text("Spring launch")
    page.fill("#name", "Ann")
    page.click("form.name button")
    first = page.locator("article").first
    first.locator("button.pin").click()
    sheet = first.locator(".sheet")
    for key in ("ArrowLeft", "ArrowLeft", "ArrowDown", "Enter"):
        sheet.press(key)
    first.locator("textarea").fill("A little <b>larger</b>")
    first.locator("button.send").click()
    expect(page.locator("article").first.locator(".comments li .text")).to_have_text("A little <b>larger</b>")
    page.locator("article").first.locator(".verdict .yes").click()
    expect(page.locator("article").first.locator(".names.yes")).to_contain_text("Ann")
    page.locator("article").nth(1).get_by_text("Compare versions").click()
    page.locator(".compare input").fill("20")
    cut = page.locator(".compare").evaluate("node => getComputedStyle(node).getPropertyValue('--cut')")
    assert cut.strip() == "20%"
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    context.close()
    assert not faults and asked == {urlsplit(link.url).netloc}
    said = [line for line in tunnelled.review.trail(link.id) if line.kind in ("comment", "approved")]
    assert [(line.kind, line.name) for line in said] == [("comment", "Ann"), ("approved", "Ann")]
    assert (said[0].x, said[0].y) == (0.46, 0.52)
    assert tunnelled.review.verdicts()[link.images[0]].state == "approved"


def test_through_the_tunnel_there_is_nothing_but_the_room(tunnelled: Rooms, client: httpx.Client) -> None:
    link = tunnelled.share(tunnel="ssh")
    link = once(tunnelled, link.id, lambda link: link.tunnel_state == "open")
    base = link.url.rsplit("/r/", 1)[0]
    for path in STUDIO_PATHS:
        for method in ("GET", "POST", "DELETE"):
            assert client.request(method, base + path.format(id="0" * 32)).status_code == 404
    assert client.get(link.url, headers={"host": "evil.example"}).status_code == 421


def test_closing_the_last_link_closes_the_tunnel(tunnelled: Rooms) -> None:
    for link in tunnelled.review.all():
        if link.state == "live":
            tunnelled.review.carry(link.id, None)
    link = tunnelled.share(tunnel="ssh", expires=600)
    url = once(tunnelled, link.id, lambda link: link.tunnel_state == "open").url
    assert reaches(url)
    tunnelled.review.revoke(link.id)
    until = time.monotonic() + 30
    while reaches(url) and time.monotonic() < until:
        time.sleep(0.05)
    assert not reaches(url)


def test_a_broken_tunnel_is_shown_and_opened_again(tunnelled: Rooms, server: Server) -> None:
    link = tunnelled.share(tunnel="ssh")
    once(tunnelled, link.id, lambda link: link.tunnel_state == "open")
    server.stop()
    broken = once(tunnelled, link.id, lambda link: link.tunnel_state == "broken")
    assert broken.tunnel_problem and reaches(broken.url)  # the address in the own network goes on
    server.start()
    again = once(tunnelled, link.id, lambda link: link.tunnel_state == "open")
    assert httpx.get(again.url, timeout=20).status_code == 200


def test_a_server_with_another_key_is_not_trusted(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = tmp_path / "known_hosts"
    stranger.write_text(server.known_hosts.read_text().replace(f":{server.port}", ":1"))
    settings = Settings(
        home=tmp_path, review_port=0, review_ssh=f"client@127.0.0.1:{server.port}", review_ssh_port=0,
        review_ssh_key=str(server.key), review_known_hosts=str(stranger),
    )  # fmt: skip
    with closing(Review(settings, Shelf().give)) as review:
        review.start()
        rooms = Rooms(review)
        link = rooms.share(tunnel="ssh")
        broken = once(rooms, link.id, lambda link: link.tunnel_state == "broken")
        assert "known hosts" in broken.tunnel_problem


@pytest.mark.parametrize("target", ["", "user@", "user@host:port", "user@host:0"])
def test_a_server_that_is_none_is_named(target: str) -> None:
    with pytest.raises(BadRequest):
        parted(target)


SCRIPT = """#!/bin/sh
printf '%s\\n' "$*" > "{folder}/arguments"
echo 'login to server success'
echo 'start proxy success: https://0123abcd.share.example'
exec sleep 600
"""
PLACES = json.dumps([{"host": "share.example", "port": 7000, "root_ca": "PEM"}]).encode()


class Internet:
    """Answers by address; what is not there is no connection."""

    def __init__(self, **answers: bytes) -> None:
        self.answers, self.asked = answers, list[str]()

    def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        for part, answer in self.answers.items():
            if part in url:
                return answer
        raise URLError(OSError(101, "Network is unreachable"))


@pytest.fixture
def program(tmp_path: Path) -> bytes:
    return SCRIPT.format(folder=tmp_path).encode()


def share(tmp_path: Path, program: bytes, internet: Internet) -> GradioShare:
    machine = platform.machine().lower()
    kind = f"{platform.system().lower()}_{MACHINES.get(machine, machine)}"
    return GradioShare(tmp_path / "cache", {kind: hashlib.sha256(program).hexdigest()}, internet)


def test_gradios_tunnel_gets_the_rooms_port_alone(tmp_path: Path, program: bytes) -> None:
    internet = Internet(**{"tunnel-request": PLACES, "frpc_": program})
    tunnel = share(tmp_path, program, internet)
    assert tunnel.open(7870) == "https://0123abcd.share.example"
    said = (tmp_path / "arguments").read_text().split()
    assert said[said.index("-l") + 1] == "7870" and said[said.index("-i") + 1] == "127.0.0.1"
    assert said[said.index("--server_addr") + 1] == "share.example:7000" and "--tls_enable" in said
    assert tunnel.broken() is None
    process: Any = tunnel._process
    tunnel.close()
    assert process.poll() is not None
    tunnel = share(tmp_path, program, internet)  # the second time from the cache
    tunnel.open(7870)
    assert sum("frpc_" in url for url in internet.asked) == 1
    killed: Any = tunnel._process
    killed.kill()
    killed.wait()
    problem = tunnel.broken()
    assert problem is not None and "ended" in problem.message
    tunnel.close()


def test_a_changed_program_is_never_started_not_even_from_the_cache(tmp_path: Path, program: bytes) -> None:
    internet = Internet(**{"tunnel-request": PLACES, "frpc_": program})
    tunnel = share(tmp_path, program, internet)
    tunnel.open(7870)
    tunnel.close()
    (tmp_path / "arguments").unlink()
    (cached,) = (tmp_path / "cache").iterdir()
    cached.chmod(cached.stat().st_mode | stat.S_IWUSR)
    cached.write_bytes(program + b"\n# a stranger was here\n")
    with pytest.raises(TunnelFailed) as refused:
        share(tmp_path, program, internet).open(7870)
    assert refused.value.code == "tunnel_checksum" and not (tmp_path / "arguments").exists()
    tunnel = share(tmp_path, program, internet)  # it was removed, and fetched anew
    assert tunnel.open(7870)
    tunnel.close()
    with pytest.raises(TunnelFailed) as refused:
        share(tmp_path / "new", b"other bytes", internet).open(7870)
    assert refused.value.code == "tunnel_checksum" and not (tmp_path / "new" / "cache").exists()


def test_without_internet_it_says_so_and_what_else_there_is(tmp_path: Path, program: bytes) -> None:
    with pytest.raises(TunnelFailed) as refused:
        share(tmp_path, program, Internet()).open(7870)
    assert "cannot be fetched" in refused.value.message and "offline package" in refused.value.hint
    with pytest.raises(TunnelFailed) as refused:
        share(tmp_path, program, Internet(frpc_=program)).open(7870)
    assert "cannot be reached" in refused.value.message


def test_a_program_that_gives_no_address_is_ended(tmp_path: Path) -> None:
    program = b"#!/bin/sh\necho 'login to server failed: no such host'\nexec sleep 600\n"
    tunnel = share(tmp_path, program, Internet(**{"tunnel-request": PLACES, "frpc_": program}))
    with pytest.raises(TunnelFailed) as refused:
        tunnel.open(7870)
    assert "no such host" in refused.value.message and tunnel._process is None
