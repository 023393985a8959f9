"""A worker that holds a run and does nothing is ended and replaced; one that computes is left alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from studio.errors import WorkerCrashed
from studio.executors import local
from studio.executors.local import LocalExecutor
from studio.executors.worker import Submit
from studio.schema import Done, ResolvedRequest, Started, WorkerStatus
from studio.settings import Settings

PATIENCE = 2  # s


def act(settings: Settings, pipe: Connection[Any, Any]) -> None:
    """Stands in for the engine's process: does what the prompt says."""
    pipe.send(WorkerStatus(ready=True))
    while True:
        command = pipe.recv()
        if not isinstance(command, Submit):
            continue
        pipe.send((command.run, Started()))
        until = time.monotonic() + 3 * PATIENCE
        if command.request.prompt == "hang":
            time.sleep(3600)
        while command.request.prompt == "compute" and time.monotonic() < until:
            sum(range(10_000))
        pipe.send((command.run, Done(1.0)))


@pytest.fixture
def executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalExecutor]:
    monkeypatch.setattr(local, "work", act)
    monkeypatch.setattr(local, "LOOK", 0.1)
    made = LocalExecutor(Settings(home=tmp_path, hang=PATIENCE))
    made.start()
    yield made
    made.close()


def run(executor: LocalExecutor, prompt: str) -> list[type]:
    request = ResolvedRequest(
        prompt=prompt, model="pocket", negative_prompt="", width=64, height=64, steps=1, guidance=5.0,
        scheduler="pndm", seed=0,
    )  # fmt: skip
    return [type(event) for event in executor.run(request, {})]


def test_a_worker_that_hangs_is_replaced(executor: LocalExecutor) -> None:
    with pytest.raises(WorkerCrashed):
        run(executor, "hang")
    assert run(executor, "work") == [Started, Done]


def test_a_worker_in_a_long_step_is_not_disturbed(executor: LocalExecutor) -> None:
    assert run(executor, "compute") == [Started, Done]


def test_a_worker_with_nothing_to_do_may_be_silent(executor: LocalExecutor) -> None:
    assert run(executor, "work") == [Started, Done]
    worker = executor._worker
    time.sleep(1.5 * PATIENCE)
    assert run(executor, "work") == [Started, Done] and executor._worker is worker
