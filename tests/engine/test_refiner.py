"""SDXL's refiner: the base stops early, the refiner goes on, as the two pipelines one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import diffusers
import pytest
import tiny
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from drive import Bench, Shelf, ask, difference, finish, photo, png
from fastapi.testclient import TestClient
from torch import Tensor

from studio.api.app import unwalled
from studio.catalog import SCHEDULERS
from studio.engine import Engine
from studio.engine.backends import Eager
from studio.engine.sample import Relay, Sample, begin
from studio.errors import BadRequest, Conflict, WrongBase
from studio.models import Models
from studio.models.forecast import Policy, Run, shapes_of
from studio.schema import (
    Control,
    Done,
    Failed,
    GenerationRequest,
    Progress,
    Refiner,
    Rendered,
    ResolvedRequest,
)
from studio.settings import Settings
from studio.studio import Studio

LIMIT = 1e-4
PIPELINES = (StableDiffusionXLPipeline, StableDiffusionXLImg2ImgPipeline)
LATE = Refiner(model="xl-refiner", at=0.6)

pytestmark = pytest.mark.usefixtures("nothing_but_models")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    home = tmp_path_factory.mktemp("pair")
    models = {"xl": tiny.save_xl(home / "xl"), "xl-refiner": tiny.save_refiner(home / "xl-refiner")}
    return Shelf(models, {})


@pytest.fixture(scope="module")
def desk(pair: Shelf) -> Bench:
    return Bench(pair)


def relayed(desk: Bench, request: ResolvedRequest, inputs: dict[str, bytes] | None = None) -> Sample:
    """As the engine begins it."""
    with torch.inference_mode():
        first, second = desk.bundle("xl"), desk.bundle("xl-refiner")
        conditions = desk.conditioner.prepare(request, inputs or {}, first, ())
        relay = Relay(second, Eager(second), desk.conditioner.refine(request, second))
        return begin("job", 0, request, first, conditions, relay=relay)


def theirs(pair: Shelf, request: ResolvedRequest, kind: type = PIPELINES[0], **extra: Any) -> Tensor:
    """The base's pipeline up to `denoising_end`, the refiner's from there."""
    row, at = SCHEDULERS[request.scheduler], request.refiner.at if request.refiner else 1.0
    generator = torch.Generator("cpu").manual_seed(request.seed)
    left: Any = None
    for model, pipeline in (("xl", kind), ("xl-refiner", StableDiffusionXLImg2ImgPipeline)):
        pipe: Any = pipeline.from_pretrained(pair.models[model])  # type: ignore[attr-defined]
        pipe.set_progress_bar_config(disable=True)
        made = getattr(diffusers, row.diffusers_class)
        pipe.scheduler = made.from_config(pipe.scheduler.config, **row.options)
        own = {"denoising_start": at, "image": left} if left is not None else {"denoising_end": at, **extra}
        left = pipe(
            request.prompt, negative_prompt=request.negative_prompt, num_inference_steps=request.steps,
            guidance_scale=request.guidance, generator=generator, output_type="latent", **own,
        ).images  # fmt: skip
    found: Tensor = left
    return found


SIZE = {"width": tiny.SIDE, "height": tiny.SIDE}


@pytest.mark.parametrize(
    "scheduler", ["euler", "euler-ancestral", "dpmpp-2m-karras", "ddim", "heun", "unipc"]
)
def test_base_and_refiner_equal_diffusers_two_pipelines(scheduler: str, desk: Bench, pair: Shelf) -> None:
    request = ask(model="xl", scheduler=scheduler, steps=6, refiner=LATE)
    (ours,) = desk.together([relayed(desk, request)])
    assert difference(ours, theirs(pair, request, **SIZE)) <= LIMIT
    assert difference(ours, desk.latents(ask(model="xl", scheduler=scheduler, steps=6))) > 10 * LIMIT


def test_from_a_picture_too(desk: Bench, pair: Shelf) -> None:
    request = ask(model="xl", scheduler="euler", steps=8, strength=0.75, init_image="p", refiner=LATE)
    (ours,) = desk.together([relayed(desk, request, {"p": png(photo())})])
    wanted = theirs(pair, request, StableDiffusionXLImg2ImgPipeline, image=photo(), strength=0.75)
    assert difference(ours, wanted) <= LIMIT


def test_a_start_picture_that_changes_little_is_the_refiners_from_the_first_step(desk: Bench) -> None:
    request = ask(model="xl", scheduler="euler", steps=10, strength=0.2, init_image="p", refiner=LATE)
    sample = relayed(desk, request, {"p": png(photo())})
    assert (sample.bundle.name, len(sample.times), sample.calls) == ("xl-refiner", 2, 2)


@pytest.fixture
def engine(pair: Shelf) -> Iterator[Engine]:
    with closing(Engine(Settings(device="cpu", model="xl"), pair)) as made:  # type: ignore[arg-type]
        yield made


def test_the_engine_hands_over_beside_other_runs(engine: Engine, desk: Bench) -> None:
    request = ask(model="xl", scheduler="euler", steps=6, refiner=LATE)
    plain = ask(model="xl", scheduler="euler", steps=6, seed=9)
    engine.submit("both", request, {})
    engine.submit("plain", plain, {})
    engine.submit("edges", ask(**dict(request) | {"control": Control(image="p")}), {"p": png(photo())})
    events = finish(engine)
    assert {name for name, event in events if isinstance(event, Done)} == {"both", "plain", "edges"}
    steps = [event.step for name, event in events if name == "both" and isinstance(event, Progress)]
    assert steps == sorted(steps) and steps[-1] == 6
    assert [name for name, _ in engine.status().resident] == ["xl", "xl-refiner"]
    pictures = {name: event.data for name, event in events if isinstance(event, Rendered)}
    assert len(set(pictures.values())) == 3
    engine.submit("again", request, {})
    again = next(event for _, event in finish(engine) if isinstance(event, Rendered))
    (latents,) = desk.together([relayed(desk, request)])
    assert again.rows == (2, 2) and latents.isfinite().all()


def test_memory_is_foreseen_for_both_and_refused_with_figures(pair: Shelf) -> None:
    request = ask(model="xl", scheduler="euler", steps=4, refiner=LATE)
    alone, second, both = pair.shapes("xl"), pair.shapes("xl-refiner"), shapes_of(pair, request)
    assert both.weights("float32") == alone.weights("float32") + second.weights("float32")
    run, policy = Run(tiny.SIDE, tiny.SIDE), Policy(2, False, 32)
    call = max(one.forecast("float32", run, policy).call for one in (alone, second))
    assert both.forecast("float32", run, policy).call == call
    least = alone.forecast("float32", run, policy, 0)
    room = least.weights + least.work + second.weights("float32") // 2
    with closing(Engine(Settings(device="cpu", memory=str(room)), pair)) as engine:  # type: ignore[arg-type]
        engine.submit("both", request, {})
        engine.submit("alone", ask(model="xl", scheduler="euler"), {})
        ends = {name: event for name, event in finish(engine) if isinstance(event, Done | Failed)}
    assert isinstance(ends["both"], Failed) and "GiB" in ends["both"].error["message"]
    assert isinstance(ends["alone"], Done)


@pytest.fixture
def studio(pair: Shelf, tmp_path: Path) -> Iterator[Studio]:
    models = Models(Settings(home=tmp_path))
    for name in ("xl", "xl-refiner"):
        models.add_model(pair.models[name], name)
    models.add_model(tiny.save_sd(tmp_path / "sd"), "sd")
    with closing(Studio.open(Settings(home=tmp_path, executor="fake", model="xl"))) as opened:
        opened.start()
        yield opened


def asked(**fields: Any) -> GenerationRequest:
    return GenerationRequest.model_validate(
        {"prompt": "a mug", "width": 64, "height": 64, "steps": 2} | fields
    )


def test_what_is_no_refiner_is_refused(studio: Studio) -> None:
    assert [row.name for row in studio.models.list() if row.refines] == ["xl-refiner"]
    both = studio.resolve(asked(refiner={"model": "xl-refiner"}))
    assert both.refiner == Refiner(model="xl-refiner", at=0.8)
    with pytest.raises(BadRequest, match="sd is no refiner: it is a whole") as caught:
        studio.resolve(asked(refiner={"model": "sd"}))
    assert (caught.value.code, caught.value.field) == ("not_a_refiner", "refiner.model")
    with pytest.raises(BadRequest, match="begins none"):
        studio.resolve(asked(model="xl-refiner"))
    with pytest.raises(WrongBase, match="text rows of 16 and 16"):
        studio.resolve(asked(model="sd", refiner={"model": "xl-refiner"}))
    with pytest.raises(Conflict, match="begins none"):
        studio.models.make_default("xl-refiner")
    with pytest.raises(ValueError, match="do not go together"):
        asked(refiner={"model": "xl-refiner"}, init_image="p", mask="m")


def test_the_receipt_and_the_text_name_it_and_a1111_asks_for_it(studio: Studio) -> None:
    wish = {"prompt": "a mug", "steps": 2, "width": 64, "height": 64, "refiner_checkpoint": "xl-refiner"}
    with TestClient(unwalled(studio)) as client:
        told = {name: client.get(f"/api/v1/models/{name}").json()["refines"] for name in ("xl", "xl-refiner")}
        assert told == {"xl": False, "xl-refiner": True}
        answer = client.post("/sdapi/v1/txt2img", json=wish | {"refiner_switch_at": 0.7})
        assert answer.status_code == 200, answer.text
        assert "Refiner: xl-refiner, Refiner switch at: 0.7" in answer.json()["info"]
        (row,) = studio.images()
        assert row.request.refiner == Refiner(model="xl-refiner", at=0.7)
        assert any(name.startswith("xl-refiner/") for name in studio.weights.hashes(row.request))
        assert client.post("/sdapi/v1/txt2img", json=wish | {"refiner_checkpoint": "sd"}).status_code == 422
        client.post("/sdapi/v1/txt2img", json=wish | {"refiner_switch_at": 1})
        assert studio.images()[0].request.refiner is None
