"""The studio's verbs, end to end on the executor that draws noise."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from folders import make_lora, make_model
from PIL import Image

from studio.errors import BadRequest, Conflict, NotFound, WrongBase
from studio.schema import Done, GenerationRequest, Picture, Progress, Queued, ResolvedRequest, Started
from studio.settings import ROOT, Settings
from studio.studio import Studio


def asked(**fields: Any) -> GenerationRequest:
    return GenerationRequest(**{"prompt": "a red mug", "steps": 2, **fields})


def test_a_request_becomes_pictures_in_the_library(studio: Studio) -> None:
    view = studio.wait(studio.submit(asked(count=2, seed=4_294_967_295)).id, 30)
    assert (view.state, view.progress, view.error) == ("completed", 1.0, None)
    assert [(image.index, image.seed) for image in view.images] == [(0, 4_294_967_295), (1, 0)]
    data, mime = studio.picture_bytes(view.images[0].id)
    assert mime == "image/png" and Image.open(BytesIO(data)).size == (128, 128)
    assert [image.id for image in studio.images()] == [image.id for image in reversed(view.images)]


def test_events_come_in_order_and_can_be_replayed(studio: Studio) -> None:
    job = studio.submit(asked()).id
    events = list(studio.events(job))
    kinds = [type(event) for _, event in events]
    assert kinds[0] is Queued and kinds[1] is Started and kinds[-1] is Done and Picture in kinds
    assert Progress in kinds
    numbers = [number for number, _ in events]
    assert numbers == sorted(set(numbers))
    assert list(studio.events(job, after=numbers[-2])) == events[-1:]
    assert list(studio.events(job, after=numbers[-1])) == []


def test_what_is_left_out_comes_from_the_model(studio: Studio) -> None:
    resolved = studio.resolve(GenerationRequest(prompt="a mug"))
    assert (resolved.model, resolved.width, resolved.height) == ("pocket", 128, 128)
    assert (resolved.scheduler, resolved.steps, resolved.guidance) == ("pndm", 20, 3.0)
    assert resolved.negative_prompt == ""
    said = studio.resolve(GenerationRequest(prompt="a mug", width=64, steps=3, scheduler="euler", guidance=0))
    assert (said.width, said.height, said.steps, said.scheduler, said.guidance) == (64, 128, 3, "euler", 0.0)


@pytest.mark.parametrize("seed", [None, -1])
def test_a_seed_left_open_is_drawn_once(studio: Studio, seed: int | None) -> None:
    drawn = {studio.resolve(asked(seed=seed)).seed for _ in range(8)}
    assert len(drawn) > 1 and all(0 <= one <= 4_294_967_293 for one in drawn)
    assert studio.resolve(asked(seed=7)).seed == 7


def test_a_resolved_request_can_be_asked_again(studio: Studio) -> None:
    first = studio.resolve(asked(prompt="a red mug <lora:neon:0.5>", preset="nordic"))
    again = studio.resolve(GenerationRequest(**first.model_dump()))
    assert again == first


def test_lora_tags_of_the_prompt_join_the_stack(studio: Studio) -> None:
    tagged = "a mug <lora:neon:0.5> <lora:nordic>"
    resolved = studio.resolve(asked(prompt=tagged, loras=[{"name": "nordic", "weight": 0.2}]))
    assert [(lora.name, lora.weight) for lora in resolved.loras] == [("nordic", 0.2), ("neon", 0.5)]
    assert resolved.prompt == tagged


@pytest.mark.parametrize(
    ("fields", "code", "field", "near"),
    [
        ({"scheduler": "eulerr"}, "scheduler_not_found", "scheduler", "euler"),
        ({"model": "poket"}, "model_not_found", "model", "pocket"),
        ({"preset": "guochoa"}, "preset_not_found", "preset", "guochao"),
        ({"loras": [{"name": "noen"}]}, "lora_not_found", "loras", "neon"),
        ({"prompt": "a <lora:noen:1>"}, "lora_not_found", "loras", "neon"),
    ],
)
def test_a_name_nobody_knows_gets_the_nearest(
    studio: Studio, fields: dict[str, Any], code: str, field: str, near: str
) -> None:
    with pytest.raises((BadRequest, NotFound)) as caught:
        studio.submit(asked(**fields))
    assert (caught.value.code, caught.value.field) == (code, field)
    assert near in caught.value.hint
    assert studio.jobs_list() == []


def test_a_lora_of_another_family_is_refused_before_any_run(studio: Studio) -> None:
    make_lora(studio.settings.home / "loras" / "big.safetensors", context=2048)
    with pytest.raises(WrongBase, match="made for Stable Diffusion XL, model pocket is Pocket"):
        studio.submit(asked(loras=[{"name": "big"}]))


def test_a_lora_that_went_while_the_job_waited_is_named(home: Path) -> None:
    studio = Studio.open(Settings(home=home, executor="fake", rows=2))
    make_lora(home / "loras" / "short-lived.safetensors")
    job = studio.submit(asked(loras=[{"name": "short-lived"}]))
    (home / "loras" / "short-lived.safetensors").unlink()
    studio.start()
    error = studio.wait(job.id, 30).error
    assert error is not None and error["code"] == "lora_missing" and "short-lived" in error["message"]
    studio.close()


def test_a_control_the_model_lacks_is_refused(studio: Studio) -> None:
    make_model(studio.settings.home / "models" / "bare", controls=False)
    with pytest.raises(BadRequest) as caught:
        studio.submit(asked(model="bare", control={"image": "0" * 32}))
    assert (caught.value.code, caught.value.field) == ("control_not_available", "control.type")


@pytest.mark.parametrize("id", ["0" * 32, "../x", "%00", "a" * 64])
@pytest.mark.parametrize("field", ["control.image", "init_image"])
def test_a_picture_that_is_not_there_is_named_by_its_field(studio: Studio, id: str, field: str) -> None:
    fields: dict[str, Any] = {"control": {"image": id}} if field == "control.image" else {field: id}
    with pytest.raises(NotFound) as caught:
        studio.submit(asked(**fields))
    assert (caught.value.code, caught.value.field) == ("image_not_found", field)


def png(size: tuple[int, int] = (64, 48), color: Any = "white", mode: str = "RGB") -> bytes:
    out = BytesIO()
    Image.new(mode, size, color).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (png((64, 64)), "64x64 px; its picture has 64x48"),
        (png(color="black"), "selects nothing"),
        (png(color=(255, 255, 255, 0), mode="RGBA"), "transparent parts"),
    ],
)
def test_a_mask_that_cannot_work_says_why(studio: Studio, mask: bytes, words: str) -> None:
    with pytest.raises(BadRequest, match=words) as caught:
        studio.submit(asked(init_image=studio.upload(png(color="red")), mask=studio.upload(mask)))
    assert caught.value.field == "mask"


def test_pictures_travel_beside_the_request_with_transparency_laid_on_white(studio: Studio) -> None:
    id = studio.upload(png(color=(255, 0, 0, 0), mode="RGBA"))
    resolved = studio.resolve(asked(init_image=id, mask=studio.upload(png())))
    inputs = studio.inputs.of(resolved, {})
    assert set(inputs) == {resolved.init_image, resolved.mask}
    assert Image.open(BytesIO(inputs[id])).convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_a_finished_picture_can_guide_the_next_one(studio: Studio) -> None:
    first = studio.wait(studio.submit(asked()).id, 30).images[0]
    view = studio.wait(studio.submit(asked(control={"image": first.id}, init_image=first.id)).id, 30)
    assert view.state == "completed"


def test_edges_are_white_lines_on_black_at_the_size_asked(studio: Studio) -> None:
    picture = Image.new("RGB", (80, 60), "white")
    picture.paste("black", (20, 20, 60, 40))
    out = BytesIO()
    picture.save(out, "PNG")
    id = studio.upload(out.getvalue())
    edges = Image.open(BytesIO(studio.edges(id, 100, 200, (128, 64))))
    assert edges.size == (128, 64) and edges.getextrema() == (0, 255)
    assert Image.open(BytesIO(studio.edges(id, 100, 200))).size == (80, 60)
    with pytest.raises(BadRequest, match="must be below"):
        studio.edges(id, 200, 100)


def test_cancelling_an_ended_job_is_a_conflict(studio: Studio) -> None:
    job = studio.wait(studio.submit(asked()).id, 30)
    with pytest.raises(Conflict, match="completed already"):
        studio.cancel(job.id)
    with pytest.raises(NotFound):
        studio.cancel("nope")


def test_status_counts_what_is_there(studio: Studio) -> None:
    studio.wait(studio.submit(asked(count=3)).id, 30)
    status = studio.status()
    assert (status.queued, status.running, status.images, status.trashed) == (0, 0, 3, 0)
    assert status.worker.ready and status.versions["torch"]


def test_the_job_shows_the_request_as_it_was_run(studio: Studio) -> None:
    view = studio.submit(asked(preset="plain"))
    assert isinstance(view.request, ResolvedRequest) and view.request.preset == "plain"
    assert studio.job(view.id).request == view.request


CHILD = """
import sys, time
from pathlib import Path
from studio.executors import FakeExecutor
from studio.schema import GenerationRequest
from studio.settings import ROOT, Settings
from studio.studio import Studio

studio = Studio.open(Settings(home=Path(sys.argv[1]), rows=2), FakeExecutor(seconds_per_step=0.02))
studio.start()
for number in range(3):
    print(studio.submit(GenerationRequest(prompt=str(number), steps=4, count=4, seed=number)).id, flush=True)
while len(studio.images()) < 2:
    time.sleep(0.01)
print("now", flush=True)
time.sleep(60)
"""


def test_a_killed_studio_finishes_its_jobs_at_the_next_start(home: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(home)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert child.stdout is not None
    with child.stdout:
        ids = [line.strip() for line in iter(child.stdout.readline, "now\n")]
        child.kill()
        child.wait()
    (home / "pictures" / f"{'0' * 32}.png.tmp").write_bytes(b"half")
    studio = Studio.open(Settings(home=home, executor="fake", rows=2))
    studio.start()
    views = [studio.wait(id, 60) for id in ids]
    assert [view.state for view in views] == ["completed"] * 3
    for view in views:
        assert [image.index for image in view.images] == list(range(4))
        assert all(image.file.is_file() for image in view.images)
    assert len(list((home / "pictures").iterdir())) == 12
    studio.close()
