"""Whatever happens to the worker: the job has one outcome, the next picture is that of a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import faulty
import psutil
import pytest

from studio.executors import LocalExecutor, local
from studio.executors.worker import work
from studio.schema import GenerationRequest, JobView
from studio.settings import ROOT, Settings
from studio.studio import Studio

sys.path.insert(0, str(Path(__file__).parent.parent / "engine"))
import tiny  # noqa: E402


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A real worker with a tiny model, faults at hand."""
    home = tmp_path_factory.mktemp("home")
    tiny.save_sd(home / "models" / "tiny")
    settings = Settings(home=home, model="tiny", device="cpu", executor="local", hang=3, presets_dirs=())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "work", partial(work, make=faulty.make))
        made = Studio.open(settings)
        made.start()
        yield made
        made.close()


def ask(studio: Studio, prompt: str) -> JobView:
    request = GenerationRequest(prompt=prompt, width=64, height=64, steps=4, seed=5, force=True)
    return studio.wait(studio.submit(request).id, 120)


@pytest.fixture(scope="module")
def fresh(studio: Studio) -> bytes:
    """The picture that a worker makes which has seen no fault."""
    return ask(studio, "a red mug").images[0].file.read_bytes()


def worker(studio: Studio) -> Any:
    assert isinstance(studio.executor, LocalExecutor) and studio.executor._worker is not None
    return studio.executor._worker._process.pid


@pytest.mark.parametrize("fault", ["kill once", "hang once"])
def test_a_job_whose_worker_is_killed_or_hangs_is_made_by_the_next_one(
    studio: Studio, fresh: bytes, fault: str
) -> None:
    before = worker(studio)
    job = ask(studio, fault)
    assert (job.state, job.attempts, len(job.images)) == ("completed", 2, 1)
    assert worker(studio) != before
    assert ask(studio, "a red mug").images[0].file.read_bytes() == fresh


@pytest.mark.parametrize(("fault", "code"), [("memory", "out_of_memory"), ("nan", "numerical")])
def test_a_job_that_runs_out_of_memory_or_of_numbers_fails_and_the_worker_goes_on(
    studio: Studio, fresh: bytes, fault: str, code: str
) -> None:
    before = worker(studio)
    job = ask(studio, fault)
    assert job.error is not None
    assert (job.state, job.error["code"], job.attempts) == ("failed", code, 1)
    assert worker(studio) == before
    assert ask(studio, "a red mug").images[0].file.read_bytes() == fresh


def test_a_lost_device_ends_the_worker_and_after_two_attempts_the_job(studio: Studio, fresh: bytes) -> None:
    before = worker(studio)
    job = ask(studio, "device")
    assert job.error is not None
    assert (job.state, job.error["code"], job.attempts) == ("failed", "worker_crashed", 2)
    assert ask(studio, "a red mug").images[0].file.read_bytes() == fresh
    assert worker(studio) != before


PARENT = """
import sys, time
from functools import partial
from pathlib import Path
import faulty
from studio.executors import LocalExecutor, local
from studio.executors.worker import work
from studio.settings import Settings

if __name__ == "__main__":
    local.work = partial(work, make=faulty.never)
    LocalExecutor(Settings(home=Path(sys.argv[1]), model="tiny", device="cpu")).start()
    time.sleep(600)
"""


def test_a_worker_that_is_busy_for_ever_is_gone_when_its_parent_is_killed(tmp_path: Path) -> None:
    script, busy = tmp_path / "parent.py", tmp_path / "reading"
    script.write_text(PARENT)
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    env = os.environ | {"PYTHONPATH": path}
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=env)
    with parent:
        until(busy.is_file)
        until(lambda: bool(busy.read_text()))
        left = psutil.Process(int(busy.read_text()))
        parent.kill()
    until(lambda: not left.is_running() or left.status() == psutil.STATUS_ZOMBIE, seconds=10)


def until(condition: Any, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.02)
