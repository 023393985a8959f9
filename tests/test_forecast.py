"""Memory and time of a run before it begins, and what is refused at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from folders import make_model

from studio.errors import DoesNotFit
from studio.executors import FakeExecutor
from studio.models.forecast import machine_memory
from studio.schema import GenerationRequest, WorkerStatus
from studio.settings import Settings
from studio.studio import Studio

PROCESS = 400 * 2**20


class Worker(FakeExecutor):
    """Says of itself what a worker on a CPU says."""

    def status(self) -> WorkerStatus:
        return replace(
            super().status(), device="cpu", dtype="float32", process=PROCESS, paces={"pocket 128x128": 0.25}
        )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_model(tmp_path / "models" / "pocket")
    return tmp_path


@pytest.fixture
def studio(home: Path) -> Iterator[Studio]:
    with closing(Studio.open(Settings(home=home, memory="1GiB"), Worker(0))) as made:
        yield made


def asked(**fields: Any) -> GenerationRequest:
    return GenerationRequest(**{"prompt": "a red mug", "steps": 10, **fields})


def test_a_forecast_holds_memory_policy_and_time(studio: Studio) -> None:
    told = studio.forecast(asked(count=2, guidance=3.0))
    assert (told.fits, told.tight, told.rows, told.there) == (True, False, 4, 2**30)
    assert PROCESS < told.bytes < told.there
    assert told.seconds == pytest.approx(0.25 * 10 * 2)
    assert studio.forecast(asked(width=256)).seconds is None


def test_more_pixels_take_more_and_then_smaller_steps(studio: Studio) -> None:
    outlooks = [studio.forecast(asked(width=side, height=side, count=8)) for side in (128, 256, 2048)]
    assert [told.fits for told in outlooks] == [True, True, False]
    assert outlooks[0].bytes < outlooks[-1].bytes
    assert [told.tight for told in outlooks] == [False, True, True]


def test_what_cannot_fit_is_refused_before_it_is_queued(studio: Studio) -> None:
    with pytest.raises(DoesNotFit, match=r"2048 x 2048 px needs at least .* 1\.00 GiB is there") as refused:
        studio.submit(asked(width=2048, height=2048))
    assert "px fits" in refused.value.hint and "STUDIO_MEMORY" in refused.value.hint
    assert studio.jobs_list() == []


def test_without_a_budget_the_machine_is_the_limit(home: Path) -> None:
    with closing(Studio.open(Settings(home=home), Worker(0))) as made:
        assert made.forecast(asked()).there == machine_memory() > 2**29


def test_a_worker_that_has_not_said_where_it_runs_refuses_nothing(home: Path) -> None:
    with closing(Studio.open(Settings(home=home, memory="1MiB"), FakeExecutor(0))) as made:
        told = made.forecast(asked(width=2048, height=2048))
    assert (told.fits, told.there) == (True, 0)
