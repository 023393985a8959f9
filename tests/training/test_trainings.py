from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch
from school import asked

import studio.executors.lessons  # noqa: F401  # before pytest looks through sys.modules, not meanwhile
from studio import uploads
from studio.errors import Conflict
from studio.executors import InlineExecutor
from studio.models import Models
from studio.schema import Cancelled, Done, Epoch, GenerationRequest, Learned, Picture, Trained
from studio.settings import Settings
from studio.studio import Studio
from studio.training.runs import Run
from studio.trainings import RunView, Trainings

pytest_plugins = ("school",)


@pytest.fixture
def home(lesson_home: Path) -> Path:
    return lesson_home


@pytest.fixture
def studio(home: Path) -> Iterator[Studio]:
    """The engine and the trainings on one thread of this process, with a tiny random model."""
    torch.set_num_threads(1)
    opened = Studio.open(Settings(home=home, model="sd", device="cpu", executor="inline", rows=2))
    opened.start()
    opened.trainings.start()
    while not opened.executor.ready():
        time.sleep(0.05)
    yield opened
    opened.close()


def request_for(studio: Studio, **options: object) -> RunView:
    dataset = studio.trainings.datasets()[0].id
    return studio.trainings.submit(asked(dataset=dataset, size=16, **options))


def events(studio: Studio, id: str) -> list[object]:
    return [event for _, event in studio.trainings.events(id)]


def test_a_training_and_pictures_share_the_engine_and_both_end(studio: Studio) -> None:
    run = request_for(studio, epochs=2)
    job = studio.submit(GenerationRequest(prompt="a mug", width=64, height=64, steps=4, count=4, seed=1))
    told = events(studio, run.id)
    assert studio.wait(job.id, 120).state == "completed"
    assert [type(event) for event in told[-2:]] == [Trained, Done]
    assert sum(isinstance(event, Epoch) for event in told) == 2
    view = studio.trainings.get(run.id)
    assert (view.state, view.lora, view.step, view.of, len(view.epochs)) == ("completed", "brand", 8, 8, 2)
    styled = GenerationRequest(
        prompt="a mug",
        width=64,
        height=64,
        steps=2,
        seed=1,
        loras=[{"name": "brand", "weight": 1.0}],  # type: ignore[list-item]
    )
    assert studio.wait(studio.submit(styled).id, 120).state == "completed"
    assert any(isinstance(event, Picture) for _, event in studio.events(job.id))


def test_a_run_pauses_and_goes_on_with_what_it_learned(studio: Studio) -> None:
    run = request_for(studio, epochs=4)
    for _, event in studio.trainings.events(run.id):
        if isinstance(event, Learned) and event.step >= 5:
            break
    studio.trainings.pause(run.id)
    assert isinstance(events(studio, run.id)[-1], Cancelled)
    paused = studio.trainings.get(run.id)
    assert paused.state == "paused" and paused.step >= 5 and len(paused.epochs) >= 1
    with pytest.raises(Conflict):
        studio.trainings.pause(run.id)
    let_go(studio, run.id)
    studio.trainings.resume(run.id)
    told = events(studio, run.id)
    first = next(event for event in told if isinstance(event, Learned))
    assert first.step > 1 and isinstance(told[-1], Done)
    assert [step for step, _ in studio.trainings.losses(run.id)] == list(range(1, 17))


def let_go(studio: Studio, run: str) -> None:
    """Waits until the engine has written the checkpoint of a paused run."""
    until = time.monotonic() + 60
    while Run(studio.settings.home / "training" / run).is_busy() and time.monotonic() < until:
        time.sleep(0.05)


def test_the_end_of_a_run_is_told_again_after_a_restart(home: Path, studio: Studio) -> None:
    run = request_for(studio, epochs=1)
    assert isinstance(events(studio, run.id)[-1], Done)
    later = Trainings(home, studio.models, studio.executor, uploads.clean)
    with closing(later.events(run.id)) as told:
        assert [type(event) for _, event in told] == [Done]


def test_two_runs_wait_for_each_other(studio: Studio) -> None:
    first, second = request_for(studio, epochs=2), request_for(studio, epochs=1, name="other")
    assert studio.trainings.get(second.id).position in (0, 1)
    assert isinstance(events(studio, first.id)[-1], Done)
    assert isinstance(events(studio, second.id)[-1], Done)


def test_a_run_that_a_stopped_studio_left_goes_on(home: Path, studio: Studio) -> None:
    run = request_for(studio, epochs=30, repeats=20)
    for _, event in studio.trainings.events(run.id):
        if isinstance(event, Learned):
            break
    studio.close()
    settings = Settings(home=home, model="sd", device="cpu", executor="inline")
    executor = InlineExecutor(settings, Models(settings))
    later = Trainings(home, Models(settings), executor, uploads.clean)
    executor.start()
    later.start()
    try:
        seen = threading.Event()
        for _, event in later.events(run.id):
            if isinstance(event, Learned):
                seen.set()
                break
        assert seen.is_set(), later.get(run.id)
        assert later.get(run.id).state == "running"
    finally:
        later.close()
        executor.close()
