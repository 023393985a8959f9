"""A real server on a free port, with the executor that needs no model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from serving import STEP, ended, make_model, served

from studio.api.app import web
from studio.executors import FakeExecutor
from studio.settings import Settings
from studio.studio import Studio


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("home")
    make_model(home / "models" / "pocket")
    return Settings(home=home, port=0, host="127.0.0.1", rows=2, queue=6, upload_bytes=300_000)


@pytest.fixture(scope="session")
def studio(settings: Settings) -> Iterator[Studio]:
    with closing(Studio.open(settings, FakeExecutor(STEP))) as studio:
        studio.start()
        yield studio


@pytest.fixture(scope="session")
def address(studio: Studio) -> Iterator[str]:
    with served(web(studio), studio.settings) as address:
        yield address


@pytest.fixture(scope="session")
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def finished(client: httpx.Client) -> Callable[..., dict[str, Any]]:
    """Runs a request to its end and gives the job."""

    def run(**asked: Any) -> dict[str, Any]:
        answer = client.post("/api/v1/jobs", json={"prompt": "a red mug", "steps": 4, **asked})
        assert answer.status_code == 202, answer.text
        return ended(client, answer.json()["id"])

    return run
