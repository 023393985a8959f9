"""Requests are refused with a sentence that helps, and never changed in silence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from studio.errors import BadRequest, InvalidJson
from studio.schema import Control, GenerationRequest, ResolvedRequest, parse, parse_json


def refusal(**fields: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        parse(GenerationRequest, {"prompt": "a mug", **fields})
    return caught.value


@pytest.mark.parametrize("body", [b"{", b"", b"{'a': 1}", b'{"prompt": "x",}'])
def test_what_is_not_json_is_refused_with_its_position(body: bytes) -> None:
    with pytest.raises(InvalidJson, match=r"line 1, column \d+") as caught:
        parse_json(GenerationRequest, body)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"prompt":' * 5_000, b'{"seed": ' + b"9" * 5_000 + b"}", b'{"prompt": "\xff"}'],
)
def test_hostile_json_is_refused_not_crashed_on(body: bytes) -> None:
    with pytest.raises(InvalidJson):
        parse_json(GenerationRequest, body)


@pytest.mark.parametrize(
    ("body", "word"), [(b"[]", "a list"), (b"null", "null"), (b'"x"', "a text"), (b"1", "int")]
)
def test_an_object_is_expected(body: bytes, word: str) -> None:
    with pytest.raises(BadRequest, match=f"object was expected, not {word}"):
        parse_json(GenerationRequest, body)


@pytest.mark.parametrize("body", [b'{"seed":1,"seed":2}', b'{"prompt":"a","control":{"low":1,"low":2}}'])
def test_a_key_given_twice_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidJson) as caught:
        parse_json(GenerationRequest, body)
    assert (caught.value.code, caught.value.status) == ("duplicate_key", 400)


def test_a_misspelt_field_gets_the_name_that_was_meant() -> None:
    error = refusal(promt="x")
    assert (error.code, error.hint, error.field) == ("unknown_field", "Did you mean prompt?", "promt")


def test_a_misspelt_field_of_a_nested_object_gets_that_objects_names() -> None:
    near = refusal(loras=[{"name": "neon", "wieght": 1.0}])
    assert (near.field, near.hint) == ("loras.0.wieght", "Did you mean weight?")
    far = refusal(control={"image": "a", "qqq": 1})
    assert far.hint == "Known fields: type, image, low, high, scale, start, end."


def test_an_empty_object_is_told_what_is_required() -> None:
    with pytest.raises(BadRequest) as caught:
        parse(GenerationRequest, {})
    assert (caught.value.code, caught.value.hint) == ("missing_field", "Required: prompt.")


@pytest.mark.parametrize("steps", [0, -1, 10**9, 1.5, "20abc", "20", True, [1], {"a": [[[]]]}])
def test_steps_say_their_range(steps: Any) -> None:
    error = refusal(steps=steps)
    assert error.message.startswith("steps: a whole number from 1 to 150; got ")
    assert error.field == "steps"


@pytest.mark.parametrize(
    ("width", "near"),
    [(513, "512 or 520"), (0, "64"), (-64, "64"), (65536, "2048"), (2047, "2040 or 2048"), (1e309, "")],
)
def test_a_size_says_the_nearest_that_works(width: Any, near: str) -> None:
    error = refusal(width=width)
    assert "width: a multiple of 8 from 64 to 2048" in error.message
    assert error.hint == (f"Nearest: {near}." if near else "")


@pytest.mark.parametrize("seed", [-2, 2**32, 2**53 + 1, 1.0, "0x10", True])
def test_a_seed_is_never_rounded(seed: Any) -> None:
    assert "seed: a whole number from 0 to 4294967295, or -1 to draw one; got" in refusal(seed=seed).message


@pytest.mark.parametrize("guidance", [-5, 1e308, "inf", float("nan"), float("inf"), False])
def test_guidance_says_its_range(guidance: Any) -> None:
    assert "guidance: a number from 0 to 30; got" in refusal(guidance=guidance).message


@pytest.mark.parametrize("count", [0, 65, 1001, 2.0])
def test_count_says_its_range(count: Any) -> None:
    assert "count: a whole number from 1 to 64" in refusal(count=count).message


@pytest.mark.parametrize("weight", [float("nan"), 1e6, "1,0", -4.1])
def test_a_lora_weight_says_its_range(weight: Any) -> None:
    error = refusal(loras=[{"name": "neon", "weight": weight}])
    assert (error.field, "from -4 to 4" in error.message) == ("loras.0.weight", True)


def test_lengths_are_said_in_words_that_fit() -> None:
    assert refusal(prompt="").message == "prompt is empty; at least 1 character."
    assert refusal(prompt="x" * 10_001).message == "prompt has 10001 characters; at most 10000 fit."
    assert refusal(loras=[{"name": "a"}] * 17).message == "loras has 17 entries; at most 16 fit."


def test_a_refusal_stays_short_whatever_was_sent() -> None:
    assert len(refusal(steps="9" * 100_000).message) < 200
    assert len(refusal(**{"z" * 100_000: 1}).message) < 400


def test_strength_may_not_be_zero() -> None:
    assert "strength: a number above 0" in refusal(strength=0).message


def test_thresholds_and_steps_of_a_control_are_in_order() -> None:
    swapped = refusal(control={"image": "a", "low": 200, "high": 100})
    assert "low (200) must be below high (100)" in swapped.message
    empty = refusal(control={"image": "a", "start": 0.5, "end": 0.5})
    assert "start (0.5) must be below end (0.5)" in empty.message


def test_a_mask_needs_a_picture_to_paint_over() -> None:
    assert "mask needs init_image" in refusal(mask="a").message


@pytest.mark.parametrize("prompt", ["\u202emug", "a" + "\u0301" * 500, "👩‍🎨 红色运动鞋", "line\nbreak\ttab"])
def test_a_strange_prompt_comes_back_as_it_went_in(prompt: str) -> None:
    request = parse_json(GenerationRequest, json.dumps({"prompt": prompt}).encode())
    assert GenerationRequest.model_validate_json(request.model_dump_json()).prompt == prompt


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(BadRequest):
        parse_json(GenerationRequest, b'{"prompt": "\\ud800"}')


def test_a_request_is_hashable_and_survives_json() -> None:
    request = ResolvedRequest(
        prompt="a mug", model="pocket", negative_prompt="", width=128, height=128, steps=20, guidance=5.0,
        scheduler="pndm", seed=1, control=Control(image="abc"),
    )
    assert hash(request) == hash(ResolvedRequest.model_validate_json(request.model_dump_json()))
