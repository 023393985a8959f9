"""The server is told to stop: the picture at hand is finished, the rest waits, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from serving import make_model

from studio.schema import GenerationRequest, Picture
from studio.settings import ROOT, Settings
from studio.studio import Studio


def start(home: Path, **more: str) -> subprocess.Popen[str]:
    env = os.environ | {"STUDIO_HOME": str(home), "STUDIO_EXECUTOR": "fake:0.05", "PORT": "0", **more}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "app.py"], cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_model(tmp_path / "models" / "pocket")
    return tmp_path


@pytest.fixture
def server(home: Path) -> Iterator[subprocess.Popen[str]]:
    process = start(home)
    yield process
    process.kill()
    process.communicate()


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return "http" + process.stdout.readline().partition("http")[2].split()[0]


def test_sigterm_finishes_the_picture_and_keeps_the_rest(home: Path, server: subprocess.Popen[str]) -> None:
    asked = {"prompt": "a mug", "count": 4, "steps": 20, "width": 64, "height": 64, "seed": 3}
    told: list[str] = []
    with httpx.Client(base_url=address_of(server), timeout=30) as client:
        job = client.post("/api/v1/jobs", json=asked).json()["id"]
        with client.stream("GET", f"/api/v1/jobs/{job}/events") as events:
            for line in events.iter_lines():
                told.append(line)
                if line == "event: progress" and server.poll() is None and told.count(line) == 2:
                    server.send_signal(signal.SIGTERM)
                    begun = time.monotonic()
        assert told[-3] == "event: server_restart" or "event: server_restart" in told[-4:]
    assert server.wait(30) == 0 and time.monotonic() - begun < 30
    studio = Studio.open(Settings(home=home, executor="fake"))
    kept = studio.job(job)
    assert kept.state == "queued" and len(kept.images) >= 1
    last = max(int(line.removeprefix("id: ")) for line in told if line.startswith("id: "))
    studio.start()
    more = list(studio.events(job, last))
    done = studio.wait(job, 20)
    assert done.state == "completed" and [row.index for row in done.images] == [0, 1, 2, 3]
    assert done.images[: len(kept.images)] == kept.images
    heard = [event.index for _, event in more if isinstance(event, Picture)]
    assert heard == [row.index for row in done.images if row.event > last]  # none twice, none left out
    fresh = studio.wait(studio.submit(GenerationRequest(**asked, force=True)).id, 20)
    assert [row.file.read_bytes() for row in fresh.images] == [row.file.read_bytes() for row in done.images]
    studio.close()


def test_a_second_server_of_one_home_says_so_and_stops(home: Path, server: subprocess.Popen[str]) -> None:
    address = address_of(server)
    second = start(home)
    try:
        _, said = second.communicate(timeout=60)
    finally:
        second.kill()
    assert second.returncode == 2
    assert f"serves this home folder already: {address.removeprefix('http://')}" in said
    assert str(home) not in said and "Traceback" not in said


def test_a_second_signal_ends_it_at_once(home: Path, server: subprocess.Popen[str]) -> None:
    with httpx.Client(base_url=address_of(server), timeout=30) as client:
        asked = {"prompt": "a mug", "steps": 150, "width": 64, "height": 64}
        client.post("/api/v1/jobs", json=asked)
        until = time.monotonic() + 20
        while client.get("/api/v1/jobs").json()[0]["progress"] == 0 and time.monotonic() < until:
            time.sleep(0.02)
    server.send_signal(signal.SIGTERM)
    time.sleep(1.5)  # it waits for the picture by now
    assert server.poll() is None
    server.send_signal(signal.SIGTERM)
    server.wait(2)
