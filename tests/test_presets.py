"""A brand file is read strictly, and applied the same way twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.errors import BadRequest, NotFound, PresetInvalid
from studio.presets import Preset, Presets, apply, read_preset
from studio.schema import GenerationRequest, LoraRef
from studio.settings import ROOT
from studio.studio import Studio

HEAD = b"version: 1\n"


def refusal(text: str | bytes, stem: str = "brand") -> PresetInvalid:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(PresetInvalid) as caught:
        read_preset(data, stem)
    assert len(caught.value.message) < 400
    return caught.value


def asked(**fields: Any) -> GenerationRequest:
    return GenerationRequest(**{"prompt": "a mug", **fields})


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("x: !!python/object/apply:os.system [id]", "line 1, column 4", "tags"),
        ("version: 1\ntitle: !!str x", "line 2, column 8", "tags"),
        ("version: 1\npalette:\n  primary: #FF6600", "line 3", "colour missing"),
        ("version: 1\npalette: {a: 000000}", "line 2, column 14", "not quoted"),
        ("version: 1\npalette: {a: '#12345'}", "line 2", "no colour"),
        ("version: 1\nbanned: [good, '!']", "line 2, column 16", "no word"),
        ("version: 1\npalette: {a: {role: primary}}", "line 2, column 14", "no hex"),
        ("version: 1\npalette: {a: {hex: '#12345'}}", "line 2, column 20", "no colour"),
        ("version: 1\npalette: {a: {hex: '#123456', role: main}}", "line 2, column 37", "no role"),
        ("version: 1\nfonts: [Inter]", "line 2, column 8", "a font's name for each role"),
        ("version: 1\nfonts: {body: ''}", "line 2, column 15", "no name"),
        ("version: 1\nsizes: {web: big}", "line 2, column 14", "no size"),
        ("version: 1\nsizes: {web: 130x129}", "line 2, column 14", "multiple of 8"),
        ("version: 1\nsizes: {web: 64x64, WEB: 128x128}", "line 2, column 21", "given twice"),
        ("version: 1\nsizes: {'': 64x64}", "line 2", "no name"),
        ("version: 1\nsamples: [good.png, ../a.png]", "line 2, column 21", "no PNG or JPEG"),
        ("version: 1\nsamples: [a.png, a.png]", "line 2, column 18", "twice"),
        ("version: 1\npolicies: {mark: sometimes}", "line 2, column 18", "no mark"),
        ("version: 1\npolicies: {marks: on}", "line 2, column 12", "not known"),
        ("version: 1\npalette: {a: 'red;'}", "line 2", "no colour"),
        ("version: 1\npalette: {a: 'rgb(300,0,0)'}", "line 2", "no colour"),
        ("a: &x {b: *x}", "line 1, column 4", "aliases"),
        ("a: &a [1]\nb: *a", "line 1, column 4", "aliases"),
        ("[" * 5000, "column", "nested more than 16 deep"),
        ("version: 1\n---\nversion: 1", "line 2, column 1", "second document"),
        ("version: 1\ntitle:\n\ten: x", "line 3", "not YAML"),
        ("%YAML 3.0\n---\nversion: 1", "line 1, column 1", "% directives"),
        ("version: 99", "line 1, column 10", "version 99; supported: 1"),
        ("title: x", "line 1", "no version; supported: 1"),
        ("version: 1\nversion: 1", "line 2, column 1", "given twice"),
        ("version: 1\npalette: {a: '#FF6600', a: '#FF6601'}", "line 2", "given twice"),
        ("version: 1\nsteps: many", "line 2, column 8", "whole number was expected"),
        ("version: 1\nsteps: 900", "line 2, column 8", "from 1 to 150"),
        ("version: 1\nwidth: 513", "line 2, column 8", "multiple of 8"),
        ("version: 1\nguidance: .nan", "line 2", "a number"),
        ("version: 1\nscheduler: eulerr", "line 2, column 12", "no scheduler"),
        ("version: 1\nprompt: red mugs", "line 2, column 9", "{prompt} once"),
        ("version: 1\nprompt: '{prompt} {prompt}'", "line 2", "{prompt} once"),
        ("version: 1\nlocked: [steps]", "line 2, column 10", "locked but not set"),
        ("version: 1\nlocked: [prompt]", "line 2", "cannot be locked"),
        ("version: 1\nloras: [{name: a, weight: 9}]", "line 2", "from -4 to 4"),
        ("version: 1\nloras: [{weight: 1}]", "line 2", "no name"),
        ("version: 1\nloras: neon", "line 2", "a list of LoRAs"),
        ("version: 1\ntitle: {en: x, fr: y}", "line 2", "not known"),
        ("version: 1\nname: other", "line 2", "differ"),
        ("- 1", "line 1", "names with values"),
        ("version: 1\ntitle: \x07", "line 2", "does not allow"),
        ("version: 1\ntitle: 'open", "line 2", "not YAML"),
        ("? [a, b]\n: 1", "line 1", "one word"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, place: str, words: str) -> None:
    said = refusal(text).message
    assert place in said.replace("Line", "line") and words in said


def test_a_colour_that_became_a_comment_gets_its_quotes_shown() -> None:
    assert "Quote it as '#" in refusal("version: 1\npalette:\n  primary: #FF6600").hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("colour: x", "Known: "),
        ("pallete: x", "palette"),
        ("locked: [step]", "steps"),
        ("scheduler: eulerr", "euler"),
    ],
)
def test_a_near_miss_gets_the_name_that_was_meant(text: str, hint: str) -> None:
    assert hint in refusal(f"version: 1\n{text}").hint


def test_the_codes_are_for_programs() -> None:
    assert refusal("x: !!str y").code == "tag_not_allowed"
    assert refusal("a: &x 1").code == "alias_not_allowed"
    assert refusal("version: 1\na: 1").code == "unknown_key"
    assert refusal("a: 1\na: 1").code == "duplicate_key"


def test_a_bomb_of_aliases_stops_at_its_first_anchor() -> None:
    lines = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    assert "line 1" in refusal("a0: &a0 [x]\n" + "\n".join(lines)).message.lower()


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ("[", "column 72: nested"),
        ("[{", "column 72: nested"),
        ("[x,[y,", "nested"),
        ("a, ", "too many entries"),
        ("- ", "not YAML"),
        ("'", "not YAML"),
        ("&a ", "aliases"),
    ],
)
def test_a_file_made_to_take_long_is_refused_where_it_starts_to(unit: str, words: str) -> None:
    said = refusal("version: 1\ntitle: [" + unit * (60_000 // len(unit))).message
    assert said.startswith("Line 2") and words in said


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    assert "at most 65536" in refusal(b"#" * 2_000_000).message
    (tmp_path / "huge.yaml").write_bytes(b"#" * 2_000_000)
    assert "at most 65536" in Presets([tmp_path]).problems()["huge"].message


def test_bytes_of_another_encoding_are_placed() -> None:
    assert "Line 2, column 11: the file is not UTF-8" in refusal(HEAD + b"title: caf\xe9\n").message


@pytest.mark.parametrize("stem", ["../x", "x" * 300, "Brand", "a b", "-a", ""])
def test_a_name_keeps_to_its_rule(stem: str) -> None:
    assert "cannot be a preset's name" in refusal(HEAD, stem).message


def test_what_was_typed_stays_what_was_typed() -> None:
    preset = read_preset("\ufeffversion: 1\ntitle: on\ndescription: 1.10\nmodel: 0123\n".encode(), "brand")
    assert (preset.title, preset.description, preset.model) == ({"en": "on"}, {"en": "1.10"}, "0123")


def test_everything_a_brand_can_say_is_read() -> None:
    text = """
version: 1
title: {en: Brand, zh: 品牌}
prompt: "in our house, {prompt}, warm light"
negative_prompt: blurry
scheduler: euler
steps: 12
guidance: 4.5
width: 128
height: 96
loras: [{name: neon, weight: -0.5}, {name: nordic}]
palette: {Primary red: '#c8102e'}
locked: [loras, steps, background]
examples: [a mug, 一个杯子]
banned: [cigarette, "100"]
required: [warm light]
"""
    preset = read_preset(text.encode(), "brand")
    assert preset.loras == (LoraRef(name="neon", weight=-0.5), LoraRef(name="nordic", weight=1.0))
    assert (preset.steps, preset.guidance, preset.width, preset.height) == (12, 4.5, 128, 96)
    assert preset.palette == {"Primary red": "#C8102E"} and preset.locked == ("loras", "steps", "background")
    assert preset.examples == ("a mug", "一个杯子")
    assert (preset.banned, preset.required) == (("cigarette", "100"), ("warm light",))


def test_a_kits_fields_are_read_beside_the_plain_ones() -> None:
    text = (
        "palette: {red: {hex: '#c8102e', role: primary}, ink: '#000000'}\n"
        "fonts: {heading: Noto Serif SC, 正文: 思源黑体}\n"
        "sizes: {Web shop: 128x96, 小红书: 96 × 128}\n"
        "samples: [spring.png, shop-2.jpg]\n"
        "policies: {metadata: client, mark: off, protected: block}\n"
    )
    preset = read_preset(HEAD + text.encode(), "brand")
    assert preset.palette == {"red": "#C8102E", "ink": "#000000"} and preset.roles == {"red": "primary"}
    assert preset.fonts == {"heading": "Noto Serif SC", "正文": "思源黑体"}
    assert preset.sizes == {"Web shop": (128, 96), "小红书": (96, 128)}
    assert preset.size_for(" WEB SHOP ") == (128, 96) and preset.size_for("print") is None
    assert preset.samples == ("spring.png", "shop-2.jpg")
    assert preset.policies.told() == {"metadata": "client", "mark": "off", "protected": "block"}


BRAND = Preset(
    name="brand", title={"en": "Brand"}, prompt="in our house, {prompt}, warm light",
    negative_prompt="blurry", steps=12, guidance=4.5, loras=(LoraRef(name="neon", weight=0.5),),
    locked=("steps",),
)  # fmt: skip


def test_a_brand_fills_what_was_left_out() -> None:
    request = apply(BRAND, asked())
    assert request.prompt == "in our house, a mug, warm light" and request.preset == "brand"
    assert (request.negative_prompt, request.steps, request.guidance) == ("blurry", 12, 4.5)
    assert request.loras == BRAND.loras and request.width is None


def test_what_was_asked_wins_except_over_a_lock() -> None:
    request = apply(BRAND, asked(steps=50, guidance=9.0, negative_prompt=""))
    assert (request.steps, request.guidance, request.negative_prompt) == (12, 9.0, "")


def test_an_empty_stack_that_was_asked_for_stays_empty() -> None:
    assert apply(BRAND, asked(loras=())).loras == ()
    locked = Preset(**(vars(BRAND) | {"locked": ("loras",)}))
    assert apply(locked, asked(loras=())).loras == BRAND.loras


@pytest.mark.parametrize(
    "prompt", ["a mug", "in our house, a mug", "a mug, warm light", "{prompt}", "红色杯子"]
)
def test_twice_is_the_same_as_once(prompt: str) -> None:
    once = apply(BRAND, asked(prompt=prompt, seed=3, init_image="a" * 32, control={"image": "b" * 32}))
    assert apply(BRAND, once) == once
    assert once.seed == 3 and once.control is not None and once.control.image == "b" * 32


def test_a_frame_that_makes_the_prompt_too_long_is_refused() -> None:
    with pytest.raises(BadRequest, match="at most 10000"):
        apply(BRAND, asked(prompt="x" * 10_000))


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("a red mug on a blue background, glossy", "a red mug, glossy"),
        ("a red mug against the dark teal gradient background", "a red mug"),
        ("a red mug on a table", "a red mug on a table"),
        ("蓝色背景上的红色杯子", "的红色杯子"),
        ("on a blue background", "on a blue background"),
    ],
)
def test_a_locked_background_takes_the_typed_one_out(typed: str, kept: str) -> None:
    white = Preset(name="w", title={}, prompt="{prompt}, on a white background", locked=("background",))
    request = apply(white, asked(prompt=typed))
    assert request.prompt == f"{kept}, on a white background"
    assert apply(white, request) == request


def test_a_broken_file_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_bytes(HEAD)
    (tmp_path / "bad.yaml").write_text("version: 1\nsteps: many")
    (tmp_path / "GOOD.yaml").write_bytes(HEAD)
    presets = Presets([tmp_path, tmp_path / "nowhere"])
    assert [preset.name for preset in presets.list()] == ["good"]
    assert set(presets.problems()) == {"bad", "GOOD"}
    with pytest.raises(PresetInvalid, match="whole number"):
        presets.get("bad")
    with pytest.raises(NotFound) as caught:
        presets.get("god")
    assert "good" in caught.value.hint and caught.value.code == "preset_not_found"


def test_a_file_is_read_again_when_it_changed(tmp_path: Path) -> None:
    file = tmp_path / "brand.yaml"
    file.write_bytes(HEAD)
    presets = Presets([tmp_path])
    assert presets.get("brand").steps is None
    file.write_bytes(HEAD + b"steps: 9\n")
    assert presets.get("brand").steps == 9
    file.unlink()
    assert presets.list() == []


def test_an_earlier_folder_wins(tmp_path: Path) -> None:
    for number, folder in enumerate(("home", "shipped"), start=1):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "brand.yaml").write_bytes(HEAD + f"steps: {number}\n".encode())
    assert Presets([tmp_path / "home", tmp_path / "shipped"]).get("brand").steps == 1


def test_the_shipped_brands_are_whole_and_can_be_asked_for(studio: Studio) -> None:
    presets = Presets([ROOT / "presets"])
    assert presets.problems() == {}
    names = [preset.name for preset in presets.list()]
    assert names == ["plain", "guochao", "neon", "nordic", "product-on-white"]
    for preset in presets.list():
        assert preset.title["zh"] and preset.description["zh"] and len(preset.palette) >= 3
        assert any(ord(letter) > 0x4E00 for example in preset.examples for letter in example)
        for example in preset.examples:
            resolved = studio.resolve(GenerationRequest(prompt=example, preset=preset.name))
            assert resolved.preset == preset.name
