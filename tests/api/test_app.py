"""app.py as a newcomer starts it: one process with the page, the walls around Gradio's routes too."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from serving import make_model, refused

from studio.accounts import Accounts
from studio.api.port import CannotStart, check_bind, read_options, taken
from studio.errors import BadRequest
from studio.library import Database
from studio.settings import ROOT, Settings


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("HOST", "PORT")}
    return {**kept, "STUDIO_HOME": str(home), "STUDIO_EXECUTOR": "fake", **more}


def run(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "app.py", *arguments], cwd=ROOT, env=environment(home, **more), capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip


def free_port() -> int:
    with closing(socket.socket()) as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    home, port = tmp_path_factory.mktemp("home"), free_port()
    make_model(home / "models" / "pocket")
    process = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=environment(home, PORT=str(port)),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert f"http://127.0.0.1:{port}" in process.stdout.readline()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        assert client.get("/livez").status_code == 200
        until = time.monotonic() + 150
        while (answer := client.get("/readyz")).status_code != 200:
            assert process.poll() is None and time.monotonic() < until, answer.text
            time.sleep(0.2)
        yield client
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    process.stdout.close()


def test_the_page_is_there(started: httpx.Client) -> None:
    page = started.get("/")
    assert page.status_code == 200 and "gradio" in page.text
    assert started.get("/zh/").status_code == 200


def test_the_walls_stand_around_gradios_routes_too(started: httpx.Client) -> None:
    for path in (
        "/gradio_api/queue/join",
        "/gradio_api/upload",
        "/gradio_api/run/predict",
        "/zh/gradio_api/cancel",
    ):
        foreign = {"origin": "https://evil.example"}
        refused(started.post(path, json={}, headers=foreign), 403, "foreign_origin")
        refused(started.post(path, content=b"{}", headers={"content-type": "text/plain"}), 415)
        refused(started.post(path, json={}, headers={"host": "evil.example"}), 421)
    answer = started.get("/config", headers={"origin": "https://evil.example"})
    assert answer.status_code == 200 and "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "file", ["/etc/passwd", "/etc/nosuch", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "C:%5cx"]
)
def test_no_file_of_the_machine_is_served(started: httpx.Client, file: str) -> None:
    answer = started.get(f"/gradio_api/file={file}")
    refused(answer, 404)
    assert answer.content == started.get("/gradio_api/file=/nowhere/at/all").content


def test_a_taken_port_is_said_in_one_sentence(tmp_path: Path) -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = run(tmp_path, PORT=str(port))
    assert done.returncode == 2 and f"Port {port} is taken" in done.stderr
    assert f"PORT={port + 1}" in done.stderr and "Traceback" not in done.stderr


def test_a_home_that_cannot_be_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    done = run(tmp_path / "file", PORT="0")
    assert done.returncode == 2 and "STUDIO_HOME" in done.stderr and "Traceback" not in done.stderr


def test_share_is_refused_with_the_way_to_go(tmp_path: Path) -> None:
    done = run(tmp_path, "--share", PORT="0")
    assert done.returncode == 2 and "review room" in done.stderr and "Traceback" not in done.stderr


def test_an_address_that_others_reach_needs_somebody_who_can_sign_in(tmp_path: Path) -> None:
    hosts = ("0.0.0.0", "192.168.1.5", "::", "studio.lan")
    for host in hosts:
        with pytest.raises(CannotStart) as refusal:
            check_bind(Settings(host=host, home=tmp_path))
        for way in ("studio users add", "SSH tunnel", "STUDIO_INSECURE_LAN=1"):
            assert way in refusal.value.hint
        check_bind(Settings(host=host, home=tmp_path, insecure_lan=True))
    with closing(Database(tmp_path / "studio.db")) as database:
        Accounts(database).add_key("ci", ["read"])
    for host in (*hosts, "127.0.0.1", "127.0.0.9", "::1", "localhost"):
        check_bind(Settings(host=host, home=tmp_path))


def test_others_are_refused_before_anything_starts(tmp_path: Path) -> None:
    done = run(tmp_path, "--host", "0.0.0.0", PORT="0")
    assert done.returncode == 2 and "studio users add" in done.stderr and "Traceback" not in done.stderr


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "1234")
    assert read_options(["--port", "2345"]).port == 2345
    assert read_options([]).port == 1234


def test_a_setting_that_cannot_be_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "abc")
    with pytest.raises(BadRequest, match="PORT cannot be 'abc'"):
        read_options([])
    monkeypatch.setenv("PORT", "7860")
    monkeypatch.setenv("STUDIO_ROWS", "0")
    with pytest.raises(BadRequest, match="STUDIO_ROWS cannot be '0'"):
        read_options([])


def test_an_address_of_another_machine_cannot_be_taken() -> None:
    with pytest.raises(CannotStart, match="Cannot listen"):
        taken(Settings(host="192.0.2.1", port=0, insecure_lan=True))


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_run_starts_what_python_starts() -> None:
    said = subprocess.run(["make", "-n", "run"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "app.py" in said and "HOST=127.0.0.1 PORT=7860" in said
