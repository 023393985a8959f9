"""Settings go into picture files and come out again, ours exactly, other tools' as far as they say."""

from __future__ import annotations

import contextlib
import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from studio.catalog import SCHEDULERS
from studio.errors import BadRequest
from studio.infotext import read, read_picture, scheduler_named, stamp, write
from studio.schema import Control, GenerationRequest, LoraRef, ResolvedRequest

HOSTILE = [
    "a red mug",
    "two\nlines, with commas: and colons",
    "quotes \" and \\ and '",
    "红色运动鞋，蓝色背景 👩‍🎨",
    "a\nSteps: 3, Sampler: Euler, CFG scale: 2, Seed: 1",
    "x\nNegative prompt: y",
    "  spaces around  \n",
    "<img src=x onerror=fetch('/canary')>",
    "nul\0inside \u202e",
    "(weighted:1.2) [less] <lora:neon:0.5> BREAK # note",
]


def request(**fields: Any) -> ResolvedRequest:
    usual: dict[str, Any] = {
        "prompt": "a red mug", "negative_prompt": "", "model": "pocket", "width": 128, "height": 96,
        "steps": 20, "guidance": 7.5, "scheduler": "dpmpp-2m-karras", "seed": 5,
    }  # fmt: skip
    return ResolvedRequest(**(usual | fields))


def png(size: tuple[int, int] = (16, 12)) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (*size[::-1], 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


def test_the_text_is_as_other_tools_write_it() -> None:
    text = write(request(negative_prompt="blurry", preset="neon"), 9)
    assert text == (
        "a red mug\nNegative prompt: blurry\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 9, Size: 128x96, "
        "Model: pocket, Preset: neon, Version: Brand Studio 0.1.0"
    )


def test_values_with_commas_and_colons_are_quoted() -> None:
    control = Control(image="a" * 32, low=50, high=150, scale=0.8)
    text = write(request(control=control), 9)
    assert (
        'ControlNet 0: "Module: canny, Model: canny, Weight: 0.8, Threshold A: 50, Threshold B: 150, ' in text
    )


def test_styles_stand_in_the_prompt_as_tags_once() -> None:
    stack = (LoraRef(name="neon", weight=0.5), LoraRef(name="nordic"))
    text = write(request(prompt="a mug <lora:neon:0.5>", loras=stack), 9)
    assert text.startswith("a mug <lora:neon:0.5> <lora:nordic:1>\nSteps")


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("prompt", HOSTILE)
def test_our_own_settings_come_back_exactly(prompt: str, format: str) -> None:
    asked = request(
        prompt=prompt, negative_prompt=prompt, format=format, count=4, upscale=2.0, preset="plain",
        loras=(LoraRef(name="neon", weight=-0.5),), control=Control(image="b" * 32), init_image="c" * 32,
    )  # fmt: skip
    back = read_picture(stamp(png(), asked, 7))
    assert back == GenerationRequest(**(asked.model_dump() | {"seed": 7, "count": 1}))


@pytest.mark.parametrize("prompt", HOSTILE[:4])
def test_the_text_alone_brings_the_prompt_back(prompt: str) -> None:
    back = read(write(request(prompt=prompt, negative_prompt="bad, worse\nworst"), 7))
    assert (back.prompt, back.negative_prompt) == (prompt, "bad, worse\nworst")
    assert (back.width, back.height, back.steps, back.guidance, back.seed) == (128, 96, 20, 7.5, 7)
    assert (back.scheduler, back.model) == ("dpmpp-2m-karras", "pocket")


@pytest.mark.parametrize(("format", "kind"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_other_tools_find_the_text_where_they_look(format: str, kind: str) -> None:
    asked = request(prompt="红色 mug", format=format)
    picture = Image.open(io.BytesIO(stamp(png(), asked, 7)))
    assert picture.format == kind
    if format == "png":
        assert picture.info["parameters"] == write(asked, 7)
    else:  # as piexif.helper.UserComment.load reads it
        comment = picture.getexif().get_ifd(0x8769)[0x9286]
        assert comment[:8] == b"UNICODE\0" and comment[8:].decode("utf_16_be") == write(asked, 7)


def test_png_pixels_are_not_touched() -> None:
    before, after = png(), stamp(png(), request(), 1)
    assert after[-len(before) + 33 :] == before[33:]
    assert Image.open(io.BytesIO(after)).tobytes() == Image.open(io.BytesIO(before)).tobytes()


def test_latin_text_is_a_plain_chunk_and_other_text_an_international_one() -> None:
    def kinds(data: bytes) -> list[bytes]:
        found, at = [], 8
        while at < len(data):
            size, kind = struct.unpack(">I4s", data[at : at + 8])
            found.append(kind)
            at += size + 12
        return found

    assert kinds(stamp(png(), request(), 1))[:3] == [b"IHDR", b"tEXt", b"tEXt"]
    assert kinds(stamp(png(), request(prompt="红"), 1))[:3] == [b"IHDR", b"iTXt", b"tEXt"]


def test_text_of_other_tools_is_understood() -> None:
    back = read(
        "masterpiece, (castle:1.2)\nsecond line\nNegative prompt: blurry,\nugly\n"
        "Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6, Seed: 12, Size: 512x768, "
        'Model hash: abc, Model: dreamshaper, Denoising strength: 0.4, Lora hashes: "a: 1, b: 2", V: 1'
    )
    assert back.prompt == "masterpiece, (castle:1.2)\nsecond line"
    assert back.negative_prompt == "blurry,\nugly"
    assert (back.scheduler, back.steps, back.guidance, back.seed) == ("dpmpp-2m-karras", 28, 6.0, 12)
    assert (back.width, back.height, back.model, back.strength) == (512, 768, "dreamshaper", 0.4)


def test_what_is_out_of_our_range_is_left_out() -> None:
    back = read("a mug\nSteps: 900, Sampler: Restart, CFG scale: x, Seed: 99999999999, Size: 500x9, Model: m")
    assert back == GenerationRequest(prompt="a mug", negative_prompt="", model="m")


def test_a_last_line_with_few_pairs_belongs_to_the_prompt() -> None:
    assert read("a mug\nSteps: 3, note: x").prompt == "a mug\nSteps: 3, note: x"
    assert read("just words").prompt == "just words"


@pytest.mark.parametrize("text", ["", "\n\n", "\nNegative prompt: x\nSteps: 1, Sampler: Euler, Seed: 3"])
def test_text_without_a_prompt_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        read(text)


def test_every_sampler_name_we_write_is_read_back() -> None:
    for key, row in SCHEDULERS.items():
        assert scheduler_named(row.a1111) == key
    assert scheduler_named("DPM++ 2M", "Karras") == "dpmpp-2m-karras"
    assert scheduler_named("Euler a", "Automatic") == "euler-ancestral"
    assert scheduler_named("Restart") == ""


@pytest.mark.parametrize("text", ['{"sui_image_params": {}}', ""])
def test_a_picture_without_settings_says_so(text: str) -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("parameters", text)
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, "PNG", pnginfo=notes)
    for data in (out.getvalue(), png(), b"", b"no picture"):
        with pytest.raises(BadRequest) as caught:
            read_picture(data)
        assert caught.value.code == "no_settings"


@pytest.mark.timeout(30)  # each takes minutes where a long line is searched again from each of its letters
@pytest.mark.parametrize("unit", ["a", "a: ", '"', 'k: "\\', "a ", " ", "a:\n"])
def test_a_hostile_last_line_is_read_in_one_pass(unit: str) -> None:
    with contextlib.suppress(BadRequest):
        read("x\n" + unit * 300_000)
