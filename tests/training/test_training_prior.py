"""Prior preservation: the kind is made by the model, learned beside the set, and resumes bit for bit."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from school import asked, begun, pictures
from test_training_run import events_of, killed, same, weights

from studio.errors import BadRequest, NotFound
from studio.models import Models
from studio.safetensors_header import read_header
from studio.schema import Learned, Trained
from studio.training import board, loop
from studio.training.cache import Cache, fill
from studio.training.checkpoint import origin_of
from studio.training.dataset import keep_dataset, load_dataset
from studio.training.loop import Course
from studio.training.networks import add_adapters, load_networks
from studio.training.plan import Places, plan
from studio.training.prior import fill_classes
from studio.training.request import PRIOR
from studio.training.runs import Run

CPU = torch.device("cpu")
KIND: dict[str, Any] = {"prior": "a thing", "prior_pictures": 6, "epochs": 2, "plain": 0.0, "dropout": 0.0}
pytest_plugins = ("school",)


@pytest.fixture
def home(lesson_home: Path) -> Path:
    torch.set_num_threads(1)
    return lesson_home


@pytest.fixture
def models(lesson_models: Models) -> Models:
    return lesson_models


def course_of(run: Run, home: Path, models: Models) -> Course:
    """What the loop gets, made as `train` makes it."""
    training, places = run.training, Places(home)
    networks = load_networks(models.get("sd").folder, CPU, torch.float32)
    cache = Cache()
    for _ in fill_classes(cache, networks, training, run, places, guidance=3.0):
        pass
    dataset = load_dataset(places.datasets, training.dataset)
    for _ in fill(cache, networks, training, dataset, places.datasets, ()):
        pass
    add_adapters(networks, training)
    networks.learn(True)
    return Course(training, networks, cache, run, (), 3.0, board.Look(()), None, {})


def test_the_model_makes_pictures_of_the_kind_and_they_know_no_trigger(home: Path, models: Models) -> None:
    run = begun(home, models, **KIND)
    course = course_of(run, home, models)
    assert len(list((run.folder / "class").glob("*.png"))) == len(course.cache.classes) == 6
    assert {lesson.caption for lesson in course.cache.classes} == {"a thing"}
    assert all("acme style" in lesson.caption for lesson in course.cache.lessons)
    assert "a thing" in course.cache.texts


def test_the_loss_is_the_sets_and_so_many_times_the_kinds(home: Path, models: Models) -> None:
    """As arXiv:2208.12242 has it: the second term weighs `prior_weight`."""
    losses = {}
    for weight in (1.0, 3.0):
        course = course_of(begun(home, models, **KIND, prior_weight=weight), home, models)
        losses[weight] = float(loop.loss_of(course, [0, 1], 5).detach())
        course.cache.classes.clear()
        losses[0.0] = float(loop.loss_of(course, [0, 1], 5).detach())
    kind = losses[1.0] - losses[0.0]
    assert kind > 0.01 and losses[3.0] == pytest.approx(losses[0.0] + 3 * kind, rel=1e-4)


def test_with_the_prior_the_kind_is_forgotten_less(home: Path, models: Models) -> None:
    """Judged on the pictures of the kind themselves, with noise that is the same for both."""
    left = {}
    for weight in (0.001, 5.0):
        run = begun(
            home, models, **KIND | {"epochs": 6, "rate": 3e-2}, prior_weight=weight, name=f"w{weight}"
        )
        events_of(run, models, home)
        course = course_of(run, home, models)
        held = weights(run)
        for name, parameter in course.networks.trainable():
            parameter.data.copy_(held[name])
        course.networks.learn(False)
        with torch.no_grad():
            generator = torch.Generator().manual_seed(1)
            rounds = [loop.drawn_loss(course, course.cache.classes, generator, 0.0) for _ in range(8)]
        left[weight] = float(torch.stack(rounds).mean())
    assert left[5.0] < left[0.001]


def test_a_run_with_a_prior_that_was_killed_ends_bit_equal(home: Path, models: Models) -> None:
    whole = begun(home, models, **KIND)
    events = events_of(whole, models, home)
    assert any(isinstance(event, Trained) for event in events)
    run = begun(home, models, **KIND)
    killed(home, run, 5)
    (run.folder / "class" / "0005.png").unlink()  # and the kill had come while they were made
    events = events_of(run, models, home)
    assert next(event.step for event in events if isinstance(event, Learned)) == 5
    assert same(weights(run), weights(whole)) and run.losses() == whole.losses()
    notes = read_header(models.lora("brand").file).metadata
    assert (notes["ss_num_reg_images"], notes["ss_prior_loss_weight"]) == ("6", "1.0")


def test_pictures_of_the_kind_may_be_given(home: Path, models: Models, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "kind", 6)
    given = keep_dataset(
        folder, home / "datasets", name="kind", size=24, hold_out=0.0,
        kept_anyway=[file.name for file in folder.glob("*.png")],
    )  # fmt: skip
    (folder / "0.txt").unlink()
    main = next(one.name for one in (home / "datasets").iterdir() if one.name != given.id)
    request = asked(dataset=main, size=16, prior_set=given.id)
    with pytest.raises(BadRequest) as caught:
        plan(request, models, Places(home), "sd")
    assert caught.value.field == "prior"
    named = request.model_copy(update={"prior": "a thing", "epochs": 1})
    made = plan(named, models, Places(home), "sd")
    alone = plan(named.model_copy(update={"prior": "", "prior_set": ""}), models, Places(home), "sd")
    assert made.forecast.memory > alone.forecast.memory
    from studio.training.plan import begin

    run = begin(made, Places(home), {})
    course = course_of(run, home, models)
    assert {lesson.caption for lesson in course.cache.classes} == {f"picture {number}" for number in range(6)}
    assert not (run.folder / "class").exists()
    with pytest.raises(NotFound):
        plan(named.model_copy(update={"prior_set": "0" * 32}), models, Places(home), "sd")


def test_a_run_from_before_there_were_priors_goes_on(home: Path, models: Models) -> None:
    training = begun(home, models).training
    told = json.loads(training.model_dump_json(exclude={"title"}))
    before = json.dumps({name: told[name] for name in told if name not in PRIOR}, separators=(",", ":"))
    assert origin_of(training, "")["request"] == hashlib.sha256(before.encode()).hexdigest()
    other = training.model_copy(update={"prior": "a thing"})
    assert origin_of(other, "") != origin_of(training, "")
