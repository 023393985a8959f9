"""Text rows against encode_prompt of the pipelines, and the rules for chunks and weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from drive import Shelf
from torch import Tensor

from studio.engine.lora import Adapter, Bank, Delta
from studio.engine.text import TextRows, encode, pad_to


@dataclass
class Model:
    tokenizers: list[Any]
    text_encoders: list[Any]
    banks: dict[str, Bank] = field(default_factory=dict)
    device: torch.device = torch.device("cpu")
    dtype: torch.dtype = torch.float32


@pytest.fixture(scope="module")
def sd(shelf: Shelf) -> Any:
    return StableDiffusionPipeline.from_pretrained(shelf.models["sd"], safety_checker=None)


@pytest.fixture(scope="module")
def xl(shelf: Shelf) -> Any:
    return StableDiffusionXLPipeline.from_pretrained(shelf.models["xl"])


@pytest.fixture
def model(sd: Any) -> Model:
    encoder = sd.text_encoder
    return Model([sd.tokenizer], [encoder], {"text_encoder": Bank(encoder, "text_encoder")})


@pytest.fixture
def two(xl: Any) -> Model:
    return Model([xl.tokenizer, xl.tokenizer_2], [xl.text_encoder, xl.text_encoder_2])


PLAIN = ["", "a red mug", "A Red  mug, on:   blue!", "5\\6 café 红", "x" * 75, "one\ntwo > three <four"]


@pytest.mark.parametrize("text", PLAIN)
def test_plain_text_is_exactly_what_the_sd_pipeline_encodes(sd: Any, model: Model, text: str) -> None:
    with torch.no_grad():
        wanted, _ = sd.encode_prompt(text, torch.device("cpu"), 1, False)
    rows = encode([text], model)[0]
    assert torch.equal(rows.embeds, wanted[0]) and rows.pooled is None


@pytest.mark.parametrize("text", PLAIN)
def test_plain_text_is_exactly_what_the_sdxl_pipeline_encodes(xl: Any, two: Model, text: str) -> None:
    with torch.no_grad():
        wanted, _, pooled, _ = xl.encode_prompt(text, do_classifier_free_guidance=False)
    rows = encode([text], two)[0]
    assert rows.pooled is not None
    assert torch.equal(rows.embeds, wanted[0]) and torch.equal(rows.pooled, pooled[0])


def test_several_texts_of_different_length_are_each_what_they_are_alone(model: Model) -> None:
    texts = ["short", "long, " * 40, "(loud:1.4) one BREAK two"]
    for together, text in zip(encode(texts, model), texts, strict=True):
        torch.testing.assert_close(together.embeds, encode([text], model)[0].embeds)
    assert [len(rows.embeds) // 77 for rows in encode(texts, model)] == [1, 3, 2]


def chunks(rows: TextRows) -> list[Tensor]:
    return list(rows.embeds.split(77))


def test_a_long_prompt_is_joined_from_chunks_of_75_tokens(model: Model) -> None:
    """Each letter is a token in the tiny vocabulary."""
    first, second = chunks(encode(["a " * 75 + "b " * 10], model)[0])
    torch.testing.assert_close(first, encode(["a " * 75], model)[0].embeds)
    torch.testing.assert_close(second, encode(["b " * 10], model)[0].embeds)


def test_a_chunk_ends_early_at_a_comma_within_the_last_20_tokens(model: Model) -> None:
    first, second = chunks(encode(["a " * 60 + ", " + "b " * 20], model)[0])
    torch.testing.assert_close(first, encode(["a " * 60 + ","], model)[0].embeds)
    torch.testing.assert_close(second, encode(["b " * 20], model)[0].embeds)


def test_a_comma_further_back_than_20_tokens_does_not_end_a_chunk(model: Model) -> None:
    first, second = chunks(encode(["a " * 54 + ", " + "b " * 30], model)[0])
    torch.testing.assert_close(first, encode(["a " * 54 + ", " + "b " * 20], model)[0].embeds)
    torch.testing.assert_close(second, encode(["b " * 10], model)[0].embeds)


def test_break_pads_a_chunk_and_starts_the_next(model: Model) -> None:
    first, second = chunks(encode(["red mug BREAK blue table"], model)[0])
    torch.testing.assert_close(first, encode(["red mug"], model)[0].embeds)
    torch.testing.assert_close(second, encode(["blue table"], model)[0].embeds)
    assert len(chunks(encode(["red mug BREAK"], model)[0])) == 1


def test_weights_scale_their_tokens_and_restore_the_mean(model: Model) -> None:
    plain = encode(["a b c"], model)[0].embeds
    weighted = encode(["a (b:1.5) c"], model)[0].embeds
    scaled = plain.clone()
    scaled[2] *= 1.5  # start, a, b
    torch.testing.assert_close(weighted, scaled * (plain.mean() / scaled.mean()))
    torch.testing.assert_close(weighted.mean(), plain.mean())


def test_a_weight_touches_only_its_own_chunk(model: Model) -> None:
    first, second = chunks(encode(["a b BREAK (c:1.4)"], model)[0])
    torch.testing.assert_close(first, encode(["a b"], model)[0].embeds)
    torch.testing.assert_close(second, encode(["(c:1.4)"], model)[0].embeds)


@pytest.mark.parametrize("weight", [0, -1, 100])
def test_extreme_weights_stay_finite(model: Model, weight: float) -> None:
    assert encode([f"(a b c:{weight})"], model)[0].embeds.isfinite().all()


def test_tags_and_comments_do_not_reach_the_tokens(model: Model) -> None:
    given = encode(["red <lora:neon:0.5>mug# a note"], model)[0].embeds
    assert torch.equal(given, encode(["red mug"], model)[0].embeds)


def test_pooled_text_comes_from_the_first_chunk(two: Model) -> None:
    long, first = encode(["red mug BREAK blue", "red mug"], two)
    assert long.pooled is not None and first.pooled is not None
    torch.testing.assert_close(long.pooled, first.pooled)


def test_padding_adds_empty_chunks(model: Model) -> None:
    short = encode(["red mug"], model)[0]
    padded = pad_to(short, 3 * 77, model)
    empty = encode([""], model)[0].embeds
    assert torch.equal(padded.embeds, torch.cat([short.embeds, empty, empty]))
    assert pad_to(short, 77, model) is short


def test_a_prompt_of_ten_thousand_characters_is_encoded_whole(model: Model) -> None:
    assert len(chunks(encode(["a " * 5000], model)[0])) == -(-5000 // 75)


def test_each_text_is_encoded_with_its_own_lora_stack(model: Model, tmp_path: Path) -> None:
    encoder = model.text_encoders[0]
    path = "encoder.layers.0.mlp.fc1"
    width, out = encoder.get_submodule(path).in_features, encoder.get_submodule(path).out_features
    delta = Delta(torch.randn(4, width), torch.randn(out, 4), 1.0)
    bank = model.banks["text_encoder"]
    plain = encode(["a BREAK b"], model)[0].embeds
    bank.add("style", Adapter({"text_encoder": {path: delta}}, 1, 1, ""))
    try:
        styled, unstyled = encode(["a BREAK b", "a BREAK b"], model, [{"style": 1.0}, {"style": 0.0}])
        torch.testing.assert_close(unstyled.embeds, plain)
        for now, before in zip(chunks(styled), plain.split(77), strict=True):
            assert (now - before).norm() > 0.1 * before.norm()
        padded = pad_to(styled, 3 * 77, model, {"style": 1.0})
        torch.testing.assert_close(padded.embeds[-77:], encode([""], model, [{"style": 1.0}])[0].embeds)
    finally:
        bank.remove("style")


def test_a_prompt_that_says_endoftext_cannot_end_the_chunk_early(sd: Any, model: Model) -> None:
    """As in the pipelines: the words are the special token, the rest still counts."""
    with torch.no_grad():
        wanted, _ = sd.encode_prompt("a <|endoftext|> b", torch.device("cpu"), 1, False)
    assert torch.equal(encode(["a <|endoftext|> b"], model)[0].embeds, wanted[0])
