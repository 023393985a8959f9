"""OpenAI's images API, spoken by its real client against a live server."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from PIL import Image
from serving import picture

from studio.studio import Studio

Json = dict[str, Any]
SMALL: Any = {"model": "pocket", "size": "64x64", "extra_body": {"steps": 4}}


@pytest.fixture(scope="module")
def ai(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="anything", max_retries=0) as client:
        yield client


def shown(text: str | None) -> Image.Image:
    assert text is not None
    image = Image.open(BytesIO(base64.b64decode(text, validate=True)))
    image.load()
    return image


def seeded(seed: int, **more: Any) -> Any:
    return SMALL | {"extra_body": {"steps": 4, "seed": seed, **more}}


def png(image: Image.Image) -> bytes:
    out = BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def test_pictures_are_generated(ai: openai.OpenAI) -> None:
    done = ai.images.generate(prompt="a red mug", n=2, **seeded(4))
    assert done.data is not None and len(done.data) == 2 and done.created > 1_700_000_000
    one, two = (shown(row.b64_json) for row in done.data)
    assert one.size == two.size == (64, 64) and one.format == "PNG"
    assert not np.array_equal(np.asarray(one), np.asarray(two))
    assert (done.size, done.output_format, done.background) == ("64x64", "png", "opaque")
    assert done.usage is not None and done.usage.output_tokens == 0
    assert "Seed: 4," in one.info["parameters"] and "Seed: 5," in two.info["parameters"]


def test_an_address_can_be_asked_for_in_place_of_the_bytes(ai: openai.OpenAI) -> None:
    done = ai.images.generate(prompt="a red mug", response_format="url", **SMALL)
    assert done.data is not None and done.data[0].url is not None and done.data[0].b64_json is None
    data = httpx.get(done.data[0].url).content
    assert Image.open(BytesIO(data)).size == (64, 64)


def test_openais_own_model_names_stand_for_the_default_model(ai: openai.OpenAI, studio: Studio) -> None:
    asked: Any = SMALL | {"model": "dall-e-3", "quality": "hd", "style": "natural", "extra_body": {}}
    done = ai.images.generate(prompt="a red mug", **asked)
    assert done.data is not None and done.data[0].url  # as that model answers when nothing is said
    row = studio.images(limit=1)[0].request
    assert (row.model, row.steps) == ("pocket", 30)  # half as many again as the model's 20
    assert done.quality == "high"


def test_size_auto_is_the_models_own(ai: openai.OpenAI) -> None:
    done = ai.images.generate(prompt="a mug", model="gpt-image-1", size="auto", quality="low")
    assert done.data is not None and shown(done.data[0].b64_json).size == (64, 64) and done.quality == "low"


def test_formats_and_compression(ai: openai.OpenAI) -> None:
    sizes = []
    for compression in (90, 10):
        done = ai.images.generate(
            prompt="a mug", output_format="webp", output_compression=compression, **seeded(1)
        )
        assert done.data is not None and shown(done.data[0].b64_json).format == "WEBP"
        sizes.append(len(done.data[0].b64_json or ""))
    assert sizes[1] < sizes[0] / 2


def test_the_studios_own_fields_come_as_extra_body(ai: openai.OpenAI, studio: Studio) -> None:
    done = ai.images.generate(prompt="a mug", **seeded(77, preset="plain", negative_prompt="hands"))
    row = studio.images(limit=1)[0].request
    assert (row.seed, row.preset, row.negative_prompt) == (77, "plain", "hands")
    assert done.data is not None and done.data[0].revised_prompt == (
        row.prompt if row.prompt != "a mug" else None
    )


def test_rough_pictures_stream_before_the_finished_one(ai: openai.OpenAI, studio: Studio) -> None:
    stream = ai.images.generate(
        prompt="a red mug", stream=True, partial_images=2, output_format="jpeg", **seeded(6)
    )
    events = list(stream)
    assert [event.type for event in events] == [
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    rough, done = events
    assert rough.type == "image_generation.partial_image" and rough.partial_image_index == 0
    assert shown(rough.b64_json).size == shown(done.b64_json).size == (64, 64)
    assert shown(done.b64_json).format == "JPEG" and rough.size == "64x64"
    kept = studio.picture_bytes(studio.images(limit=1)[0].id)[0]
    assert base64.b64decode(done.b64_json) == kept


def test_no_rough_picture_comes_unasked(ai: openai.OpenAI) -> None:
    events = list(ai.images.generate(prompt="a mug", stream=True, n=2, **SMALL))
    assert [event.type for event in events] == ["image_generation.completed"] * 2


def test_who_leaves_a_stream_takes_the_job_along(ai: openai.OpenAI, studio: Studio) -> None:
    asked: Any = SMALL | {"extra_body": {"steps": 150}}
    stream = ai.images.generate(prompt="left alone", stream=True, **asked)
    stream.close()
    job = studio.wait(studio.jobs_list(1)[0].id, 20)
    assert job.state == "cancelled" and job.request.prompt == "left alone"


def test_what_a_stream_fails_of_is_its_last_event(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.errors import OutOfMemory
    from studio.executors import FakeExecutor

    def fail(self: FakeExecutor, request: Any, inputs: Any) -> Any:
        raise OutOfMemory("It needs 9.0 GiB.", hint="Ask for less.")
        yield

    monkeypatch.setattr(FakeExecutor, "run", fail)
    body = {"prompt": "a mug", "stream": True}
    text = client.post("/v1/images/generations", json=body).text
    last = json.loads(text.strip().rpartition("data: ")[2])
    assert last["error"]["code"] == "out_of_memory" and "9.0 GiB" in last["error"]["message"]
    whole = client.post("/v1/images/generations", json=body | {"stream": False})
    assert whole.status_code == 500 and whole.json()["error"]["type"] == "server_error"


def test_an_edit_paints_where_the_mask_is_transparent(ai: openai.OpenAI, studio: Studio) -> None:
    mask = Image.new("RGBA", (32, 24), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 16, 24))
    done = ai.images.edit(image=picture(), mask=png(mask), prompt="a mug", **SMALL)
    assert done.data is not None and shown(done.data[0].b64_json).size == (64, 64)
    row = studio.images(limit=1)[0].request
    assert row.mask is not None and row.init_image is not None and row.strength == 1
    kept = Image.open(BytesIO(studio.picture_bytes(row.mask)[0]))
    assert kept.getpixel((5, 30)) == 255 and kept.getpixel((60, 30)) == 0


def test_transparent_parts_of_the_picture_itself_are_a_mask_too(ai: openai.OpenAI, studio: Studio) -> None:
    image = Image.new("RGBA", (64, 64), (200, 30, 30, 255))
    image.paste((0, 0, 0, 0), (16, 16, 48, 48))
    ai.images.edit(image=png(image), prompt="a mug", **SMALL)
    row = studio.images(limit=1)[0].request
    assert row.mask is not None and row.init_image is not None
    start = Image.open(BytesIO(studio.picture_bytes(row.init_image)[0]))
    pixel = start.getpixel((32, 32))
    assert isinstance(pixel, tuple) and pixel[0] > 150 and pixel[1] < 80  # filled from around


def test_an_edit_without_a_mask_keeps_the_pictures_shape(ai: openai.OpenAI, studio: Studio) -> None:
    asked: Any = {"extra_body": {"steps": 4}, "input_fidelity": "high"}
    done = ai.images.edit(image=[picture(96, 48)], prompt="a mug", model="pocket", **asked)
    assert done.data is not None and shown(done.data[0].b64_json).size == (88, 64)  # 64 px is the least
    row = studio.images(limit=1)[0].request
    assert row.mask is None and row.strength == 0.5


def test_an_edit_streams_too(ai: openai.OpenAI) -> None:
    events = list(ai.images.edit(image=picture(), prompt="a mug", stream=True, partial_images=1, **SMALL))
    assert [event.type for event in events] == ["image_edit.partial_image", "image_edit.completed"]


def test_models_are_listed(ai: openai.OpenAI) -> None:
    cards = list(ai.models.list())
    assert "pocket" in {card.id for card in cards} and cards[0].object == "model"
    assert ai.models.retrieve("pocket").id == "pocket"
    with pytest.raises(openai.NotFoundError):
        ai.models.retrieve("nope")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "a", "n": 0}, "n"),
        ({"prompt": "a", "n": 11}, "n"),
        ({"prompt": "a", "n": True}, "n"),
        ({"prompt": "a", "size": "big"}, "size"),
        ({"prompt": "a", "size": "513x512"}, "width"),
        ({"prompt": "a", "background": "transparent", "output_format": "jpeg"}, "format"),
        ({"prompt": "a", "output_format": "gif"}, "output_format"),
        ({"prompt": "a", "partial_images": 4}, "partial_images"),
        ({"prompt": "a", "promt": "b"}, "promt"),
        ({"prompt": "x" * 10_001}, "prompt"),
    ],
)
def test_mistakes_are_told_in_openais_form(client: httpx.Client, body: Json, param: str) -> None:
    answer = client.post("/v1/images/generations", json=body)
    assert answer.status_code == 400, answer.text
    fault = answer.json()["error"]
    assert set(fault) == {"message", "type", "param", "code", "hint"} and fault["param"] == param
    assert fault["type"] == "invalid_request_error"


def test_a_model_that_is_not_here_is_404(ai: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ai.images.generate(prompt="a mug", model="nope")
    assert caught.value.code == "model_not_found" and "pocket" in caught.value.message


def test_a_bad_edit_is_refused_and_leaves_nothing(client: httpx.Client, studio: Studio) -> None:
    before = len(list((studio.settings.home / "uploads").iterdir()))
    opaque = png(Image.new("L", (8, 8), 0))

    def edit(data: Json, **files: bytes) -> str:
        answer = client.post("/v1/images/edits", data=data, files=files or None)
        assert answer.status_code in (400, 404, 415), answer.text
        return str(answer.json()["error"]["code"])

    assert edit({"prompt": "a"}, image=b"no picture") == "unsupported_image"
    assert edit({"prompt": "a"}, image=picture(), mask=opaque) == "bad_mask"
    assert edit({"prompt": "a", "n": "x"}, image=picture()) == "bad_request"
    assert edit({"prompt": "a", "model": "nope"}, image=picture()) == "model_not_found"
    assert edit({"prompt": "a"}, other=picture()) == "bad_request"
    assert len(list((studio.settings.home / "uploads").iterdir())) == before
