"""The engine as the executor sees it: jobs in, events out, many jobs at once, nobody hurt by a neighbour."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import tiny
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.autoencoders.vae import Decoder
from drive import Bench, Shelf, ask, finish, photo, png
from PIL import Image
from safetensors.torch import load_file, save_file

from studio.catalog import SCHEDULERS
from studio.engine import Engine, weights
from studio.schema import (
    Cancelled,
    Control,
    Done,
    Event,
    Failed,
    LoraRef,
    Preview,
    Progress,
    Rendered,
    ResolvedRequest,
    Started,
)
from studio.settings import Settings

Events = list[tuple[str, Event]]


@pytest.fixture
def engine(shelf: Shelf, settings: Settings) -> Iterator[Engine]:
    made = Engine(settings, shelf)  # type: ignore[arg-type]
    yield made
    made.close()


def of(events: Events, job: str, kind: type) -> list[Event]:
    return [event for name, event in events if name == job and isinstance(event, kind)]


def pictures(events: Events, job: str) -> list[Rendered]:
    found = [event for name, event in events if name == job and isinstance(event, Rendered)]
    return sorted(found, key=lambda event: event.index)


def pixels(rendered: Rendered) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(rendered.data))).astype(int)


def run(engine: Engine, inputs: dict[str, bytes] | None = None, **jobs: ResolvedRequest) -> Events:
    for name, request in jobs.items():
        engine.submit(name, request, inputs or {})
    return finish(engine)


MIX = {
    "a": ask(scheduler="ddim", steps=5, guidance=7.5, seed=1),
    "b": ask(scheduler="heun", steps=3, guidance=3.0, seed=2, loras=(LoraRef(name="warm", weight=0.8),)),
    "c": ask(scheduler="euler-ancestral", steps=4, guidance=1.0, seed=3, prompt="a green lamp"),
    "d": ask(scheduler="pndm", steps=4, seed=4, control=Control(image="p", scale=0.8, end=0.6)),
    "e": ask(
        scheduler="dpmpp-2m-sde",
        steps=6,
        seed=5,
        loras=(LoraRef(name="warm", weight=-0.5), LoraRef(name="cold", weight=0.4)),
        control=Control(image="p", scale=0.3),
    ),
}


def test_a_job_tells_its_whole_story_in_order(engine: Engine) -> None:
    events = [event for _, event in run(engine, a=ask(count=2))]
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Done)
    steps = [(event.step, event.of) for event in events if isinstance(event, Progress)]
    assert steps == [(2, 8), (4, 8), (6, 8), (8, 8)]
    assert {event.seed for event in events if isinstance(event, Rendered)} == {7, 8}
    assert any(isinstance(event, Preview) for event in events)


def test_a_run_of_one_step_is_a_run(engine: Engine) -> None:
    events = run(
        engine, a=ask(steps=1), b=ask(init_image="p", strength=0.1, seed=3), inputs={"p": png(photo())}
    )
    assert of(events, "a", Done) and of(events, "b", Done)
    assert [(event.step, event.of) for event in of(events, "b", Progress) if isinstance(event, Progress)] == [
        (1, 1)
    ]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_progress_counts_steps_as_asked_whatever_calls_they_take(engine: Engine, scheduler: str) -> None:
    seen = of(run(engine, a=ask(scheduler=scheduler, steps=3)), "a", Progress)
    assert isinstance(seen[-1], Progress)
    assert (seen[-1].step, seen[-1].of) == (3, 3)


def test_pictures_are_plain_pngs_of_the_asked_size(engine: Engine) -> None:
    (rendered,) = pictures(run(engine, a=ask(width=24, height=16)), "a")
    with Image.open(io.BytesIO(rendered.data)) as picture:
        assert (picture.format, picture.size, picture.mode, picture.info) == ("PNG", (24, 16), "RGB", {})


def test_upscaling_is_lanczos_of_the_same_picture(engine: Engine) -> None:
    (small,) = pictures(run(engine, a=ask()), "a")
    (large,) = pictures(run(engine, a=ask(upscale=2.5)), "a")
    wanted = Image.open(io.BytesIO(small.data)).resize((40, 40), Image.Resampling.LANCZOS)
    assert (large.width, large.height) == (40, 40)
    assert np.array_equal(pixels(large), np.asarray(wanted))


def test_a_mixed_batch_gives_each_sample_what_it_gets_alone(engine: Engine) -> None:
    inputs = {"p": png(photo())}
    alone = {name: pictures(run(engine, inputs, **{name: request}), name) for name, request in MIX.items()}
    together = run(engine, inputs, **MIX)
    for name in MIX:
        assert np.abs(pixels(alone[name][0]) - pixels(pictures(together, name)[0])).max() <= 1
    assert engine.status().rows_per_tick > 2


def test_rows_of_one_call_hold_different_stacks_schedulers_and_guidance(bench: Bench) -> None:
    requests = [request for request in MIX.values() if request.control is None]
    samples = [bench.sample(request) for request in requests]
    assert len({sample.key for sample in samples}) == 1
    alone = [bench.latents(request) for request in requests]
    for ours, theirs in zip(bench.together(samples), alone, strict=True):
        assert float((ours - theirs).abs().max()) <= 1e-4 * float(theirs.abs().max())


def test_the_same_request_twice_gives_the_same_bytes(engine: Engine) -> None:
    request = MIX["e"]
    first, second = (pictures(run(engine, {"p": png(photo())}, a=request), "a") for _ in range(2))
    assert len(first) == 1
    assert [event.data for event in first] == [event.data for event in second]


def test_picture_i_of_a_job_is_the_picture_of_seed_plus_i(engine: Engine) -> None:
    batch = pictures(run(engine, a=ask(count=3, seed=2**32 - 2, scheduler="euler-ancestral")), "a")
    assert [event.seed for event in batch] == [2**32 - 2, 2**32 - 1, 0]
    (alone,) = pictures(run(engine, a=ask(seed=0, scheduler="euler-ancestral")), "a")
    assert np.abs(pixels(batch[2]) - pixels(alone)).max() <= 1


def test_cancel_takes_effect_before_the_next_step(engine: Engine) -> None:
    engine.submit("a", ask(steps=50), {})
    engine.submit("b", ask(), {})
    events = engine.tick()
    engine.cancel("a")
    after = finish(engine)
    assert len(of(events, "a", Progress)) == 1
    assert [event for name, event in after if name == "a"] == [Cancelled()]
    assert of(after, "b", Done)


def test_a_job_still_waiting_can_be_cancelled_and_a_finished_one_is_left_alone(engine: Engine) -> None:
    engine.submit("a", ask(), {})
    engine.cancel("a")
    engine.cancel("nobody")
    assert finish(engine) == [("a", Cancelled())]
    run(engine, a=ask())
    engine.cancel("a")
    assert finish(engine) == []


def test_samples_join_and_leave_between_steps(engine: Engine) -> None:
    engine.submit("long", ask(steps=12), {})
    events: Events = []
    for _ in range(3):
        events += engine.tick()
    engine.submit("short", ask(steps=2, seed=9), {})
    events += finish(engine)
    order = [name for name, event in events if isinstance(event, Done)]
    assert order == ["short", "long"]
    (alone,) = pictures(run(engine, a=ask(steps=2, seed=9)), "a")
    assert np.abs(pixels(pictures(events, "short")[0]) - pixels(alone)).max() <= 1


def test_decoding_runs_beside_the_next_steps(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, plain = threading.Event(), Decoder.forward

    def forward(self: Decoder, *args: torch.Tensor) -> torch.Tensor:
        assert gate.wait(60)
        picture: torch.Tensor = plain(self, *args)
        return picture

    engine.load("sd")
    monkeypatch.setattr(Decoder, "forward", forward)
    engine.submit("short", ask(steps=1), {})
    engine.submit("long", ask(steps=4), {})
    events: Events = []
    for _ in range(4):
        events += engine.tick()
    assert len(of(events, "long", Progress)) == 4
    assert not of(events, "short", Rendered)
    gate.set()
    events += finish(engine)
    assert of(events, "short", Done) and of(events, "long", Done)


def test_groups_take_turns(engine: Engine) -> None:
    engine.submit("square", ask(steps=6), {})
    engine.submit("wide", ask(steps=6, width=24), {})
    order = [name for name, event in finish(engine) if isinstance(event, Progress)]
    assert order == ["square", "wide"] * 6


def test_a_small_job_does_not_wait_for_a_large_one(engine: Engine) -> None:
    engine.submit("large", ask(count=40, steps=4), {})
    events = engine.tick()
    engine.submit("small", ask(count=1, steps=4, seed=1), {})
    while not of(events, "small", Done):
        events += engine.tick()
    done = of(events, "large", Progress)[-1]
    assert isinstance(done, Progress)
    assert done.step <= 30  # of 160: 4 samples of 2 rows fit into a tick, and one of them is the small job's


def test_jobs_take_turns_when_not_all_fit(shelf: Shelf) -> None:
    engine = Engine(Settings(device="cpu", rows=2), shelf)  # type: ignore[arg-type]
    for name in ("a", "b", "c"):
        engine.submit(name, ask(steps=3), {})
    order = [name for name, event in finish(engine) if isinstance(event, Progress)]
    engine.close()
    assert order == ["a", "b", "c"] * 3


def test_one_call_never_has_more_rows_than_allowed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    watch(monkeypatch, seen)
    run(engine, a=ask(count=3, steps=2), b=ask(count=4, guidance=1.0, steps=2))
    assert max(seen) == 8
    assert sum(seen) == 3 * 2 * 2 + 4 * 2


def watch(monkeypatch: pytest.MonkeyPatch, seen: list[int], room: int = 1000) -> None:
    """Notes the rows of each UNet call; more than `room` do not fit in memory."""
    plain = UNet2DConditionModel.forward

    def forward(self: UNet2DConditionModel, sample: torch.Tensor, *args: object, **options: object) -> object:
        if len(sample) > room:
            raise torch.OutOfMemoryError("no room")
        seen.append(len(sample))
        return plain(self, sample, *args, **options)

    monkeypatch.setattr(UNet2DConditionModel, "forward", forward)


def test_out_of_memory_halves_the_rows_and_nothing_is_lost(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = pictures(run(engine, a=ask(count=4)), "a")
    seen: list[int] = []
    with monkeypatch.context() as patch:
        watch(patch, seen, room=5)
        events = run(engine, a=ask(count=4))
    assert set(seen) == {4}
    for ours, theirs in zip(pictures(events, "a"), wanted, strict=True):
        assert np.abs(pixels(ours) - pixels(theirs)).max() <= 1


def test_a_picture_too_large_for_memory_fails_and_the_engine_goes_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        watch(patch, [], room=1)
        events = run(engine, a=ask(), b=ask(guidance=1.0))
    (failed,) = of(events, "a", Failed)
    assert isinstance(failed, Failed)
    assert failed.error["code"] == "out_of_memory"
    assert re.match(r"16 x 16 px .* [\d.]+ GiB of [\d.]+ GiB are in use", failed.error["message"])
    assert of(events, "b", Done)
    assert of(run(engine, a=ask()), "a", Done)


def test_a_sample_of_nans_fails_alone(engine: Engine, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    wild = {name: tensor * 1e18 for name, tensor in load_file(shelf.loras["warm"]).items()}
    file = shelf.loras["warm"].parent / "wild.safetensors"
    save_file(wild, file)
    monkeypatch.setitem(shelf.loras, "wild", file)  # type: ignore[arg-type]
    (alone,) = pictures(run(engine, b=ask(seed=2)), "b")
    events = run(engine, a=ask(loras=(LoraRef(name="wild", weight=4.0),)), b=ask(seed=2))
    (failed,) = of(events, "a", Failed)
    assert isinstance(failed, Failed)
    assert failed.error["code"] == "numerical"
    assert "256 of 256" in failed.error["message"]
    assert np.abs(pixels(pictures(events, "b")[0]) - pixels(alone)).max() <= 1


def test_a_fault_in_a_call_is_narrowed_down_to_its_sample(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = UNet2DConditionModel.forward

    def forward(
        self: UNet2DConditionModel, sample: torch.Tensor, time: torch.Tensor, **options: object
    ) -> object:
        if (time == 1).any():  # the last step of ddim with one step offset
            raise RuntimeError("a kernel fault")
        return plain(self, sample, time, **options)

    monkeypatch.setattr(UNet2DConditionModel, "forward", forward)
    events = run(engine, a=ask(scheduler="ddim"), b=ask(scheduler="dpmpp-2m-karras"))
    (failed,) = of(events, "a", Failed)
    assert isinstance(failed, Failed)
    assert failed.error["code"] == "engine_error"
    assert "kernel" not in failed.error["message"]
    assert of(events, "b", Done)


def test_a_lost_device_ends_the_worker(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: UNet2DConditionModel, *args: object, **options: object) -> object:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(UNet2DConditionModel, "forward", forward)
    with pytest.raises(torch.AcceleratorError):
        run(engine, a=ask(), b=ask())


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (ask(model="nobody"), "model_not_found"),
        (ask(control=Control(image="gone")), "bad_request"),
        (ask(model="paint"), "bad_request"),
        (ask(model="paint", control=Control(image="p")), "bad_request"),
        (ask(init_image="broken"), "unsupported_image"),
        (ask(init_image="p", mask="black"), "bad_request"),
    ],
)
def test_what_cannot_start_fails_with_a_reason(engine: Engine, request_: ResolvedRequest, code: str) -> None:
    black = Image.new("L", (16, 16), 0)
    events = run(engine, {"p": png(photo()), "broken": b"GIF89a", "black": png(black)}, a=request_, b=ask())
    (failed,) = of(events, "a", Failed)
    assert isinstance(failed, Failed)
    assert failed.error["code"] == code
    assert of(events, "b", Done)


def test_jobs_may_be_given_and_cancelled_from_other_threads(engine: Engine) -> None:
    def give(name: str) -> None:
        engine.submit(name, ask(steps=3), {})

    threads = [threading.Thread(target=give, args=(f"job{place}",)) for place in range(6)]
    for thread in threads:
        thread.start()
    events: Events = []
    while len([event for _, event in events if isinstance(event, Done)]) < 6:
        events += engine.tick()
    assert engine.idle()


def test_a_resident_model_is_not_read_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []
    plain = weights.load

    def load(row: weights.Located, *args: torch.device | torch.dtype) -> weights.ModelBundle:
        loads.append(row.name)
        return plain(row, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(weights, "load", load)
    engine.load("sd")
    assert engine.status().ready
    run(engine, a=ask(), b=ask(seed=1))
    run(engine, a=ask(), b=ask(model="other"))
    assert loads == ["sd", "other"]


def test_status_says_what_is_there(engine: Engine) -> None:
    before = engine.status()
    assert (before.ready, before.resident, before.rows_per_tick) == (False, (), 0.0)
    run(engine, a=ask(loras=(LoraRef(name="cold", weight=1.0),)))
    after = engine.status()
    assert after.ready
    assert [name for name, _ in after.resident] == ["sd"]
    assert after.adapters == ("cold",)
    assert (after.device, after.dtype, after.rows_per_tick) == ("cpu", "float32", 2.0)
    assert after.memory > 10 * 2**20
    assert {"torch", "diffusers"} <= set(after.versions)


def test_a_picture_of_the_preview_is_small_and_a_jpeg(engine: Engine) -> None:
    events = run(engine, a=ask(steps=3, width=48, height=32))
    seen = of(events, "a", Preview)[0]  # one every half second: a slow machine makes more
    assert isinstance(seen, Preview)
    with Image.open(io.BytesIO(seen.data)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (48, 32))


def test_tiny_models_differ(bench: Bench) -> None:
    """Else most tests here would pass for nothing."""
    assert tiny.SIDE == 16
    first, second = bench.latents(ask()), bench.latents(ask(model="other"))
    assert float((first - second).abs().max()) > 0.01
