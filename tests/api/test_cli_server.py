"""`studio generate` while a studio runs: that one makes the pictures."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Timer

import pytest
from PIL import Image
from serving import STEP, make_model, picture, served

from studio import cli
from studio.api.app import web
from studio.cli import generate as verb
from studio.cli.server import running
from studio.executors import FakeExecutor
from studio.library.home import served_alone
from studio.settings import Settings
from studio.studio import Studio

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    make_model(tmp_path / "home" / "models" / "pocket")
    settings = Settings(home=tmp_path / "home", port=0, host="127.0.0.1")
    with closing(Studio.open(settings, FakeExecutor(STEP))) as studio:
        studio.start()
        yield studio


@pytest.fixture
def address(studio: Studio) -> Iterator[str]:
    with served(web(studio), studio.settings) as address:
        yield address


@pytest.fixture
def run(studio: Studio, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("STUDIO_HOME", str(studio.settings.home))
    monkeypatch.setenv("STUDIO_EXECUTOR", "fake")

    def go(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["studio", "generate", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capfd.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return go


def test_the_server_of_this_home_makes_the_pictures(
    studio: Studio, address: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb, "open_studio", None)  # it must not be needed
    with served_alone(studio.settings.home, address.removeprefix("http://")):
        assert running(studio.settings.home) == address
        (tmp_path / "edges.png").write_bytes(picture())
        status, out, err = run(
            "a red mug", "--count", "2", "--seed", "7", "--steps", "3",
            "--canny", str(tmp_path / "edges.png"), "--low", "40", "--high", "90",
        )  # fmt: skip
    assert status == 0, err
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["seed"] for row in rows] == [7, 8] and set(rows[0]) == {"path", "seed", "seconds"}
    job = studio.jobs_list(1)[0]
    assert job.request.control is not None and job.request.control.low == 40
    assert [row["path"] for row in rows] == [str(image.file) for image in job.images]


def test_a_server_named_by_its_address_gives_its_pictures_into_a_folder(
    studio: Studio, address: str, run: Run, tmp_path: Path
) -> None:
    status, out, err = run("a mug", "--server", address, "--steps", "2", "--out", str(tmp_path / "out"))
    assert status == 0, err
    path = Path(json.loads(out)["path"])
    with Image.open(path) as image:
        assert path.parent == tmp_path / "out" and image.size == (64, 64)
    assert len(studio.jobs_list()) == 1


def test_what_the_server_refuses_is_said_in_its_words(address: str, run: Run) -> None:
    status, out, err = run("a mug", "--server", address, "--model", "nope")
    assert (status, out) == (2, "") and "No model 'nope'" in err and "pocket" in err


def test_a_server_that_is_not_there_is_named(run: Run) -> None:
    status, _, err = run("a mug", "--server", "http://127.0.0.1:9")
    assert status == 1 and "does not answer" in err and "studio serve" in err


def test_a_server_told_to_stop_says_that_the_job_goes_on(studio: Studio, address: str, run: Run) -> None:
    stop = Timer(1.0, studio.jobs.drain)
    stop.start()
    status, _, err = run("a mug", "--server", address, "--steps", "150", "--count", "20")
    stop.join()
    assert status == 1 and "goes on when it starts again" in err


def test_a_server_that_asks_for_a_key_says_where_it_goes(
    studio: Studio, address: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.accounts.add_user("ana", "long enough a password")
    status, _, err = run("a mug", "--server", address)
    assert status == 2 and "STUDIO_KEY" in err
    monkeypatch.setenv("STUDIO_KEY", studio.accounts.add_key("laptop", ["read", "generate"], "ana")[1])
    assert run("a mug", "--server", address, "--steps", "2")[0] == 0


def test_alone_means_in_this_process(studio: Studio, address: str, run: Run) -> None:
    with served_alone(studio.settings.home, "127.0.0.1:9"):  # nobody answers there
        assert run("a mug", "--steps", "2")[0] == 1
    assert running(studio.settings.home) == ""
