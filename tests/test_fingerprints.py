"""Hashes in A1111's text: written as its users know them, and what they find when they are read back."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from folders import make_lora

from studio import infotext
from studio.models.folders import hash_of, weights_of
from studio.schema import GenerationRequest, LoraRef
from studio.studio import Studio


def made(studio: Studio, **asked: object) -> str:
    """The text in the file of a new picture."""
    job = studio.wait(studio.submit(GenerationRequest(prompt="a mug", steps=1, **asked)).id, 30)
    return infotext.texts_of(job.images[0].file.read_bytes())["parameters"]


def addnet(file: Path) -> str:
    """As sd-scripts and A1111 reckon it."""
    data = file.read_bytes()
    return hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()


def test_a_picture_names_its_weights(studio: Studio, home: Path) -> None:
    folder, neon = home / "models" / "pocket", home / "loras" / "neon.safetensors"
    files = {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in weights_of(folder)
    }
    text = made(studio, loras=(LoraRef(name="neon"), LoraRef(name="nordic", weight=0.5)))
    pairs = infotext.fields_of(text)
    assert pairs["Model hash"] == hash_of(files)[:10] and pairs["Model"] == "pocket"
    nordic = addnet(home / "loras" / "nordic.safetensors")[:12]
    assert f'Lora hashes: "neon: {addnet(neon)[:12]}, nordic: {nordic}"' in text
    assert list(pairs).index("Size") + 1 == list(pairs).index("Model hash") < list(pairs).index("Lora hashes")


def test_a_loras_hash_outlives_its_notes(studio: Studio, home: Path) -> None:
    file = home / "loras" / "neon.safetensors"
    before = studio.weights.lora_hash("neon")
    make_lora(file, notes={"modelspec.title": "Another title"})
    assert studio.weights.lora_hash("neon") == before == addnet(file)


def text_with(pairs: str, prompt: str = "a mug") -> str:
    return f"{prompt}\nSteps: 2, Sampler: Euler, CFG scale: 7, Seed: 1, {pairs}"


def test_what_has_another_name_here_is_found_by_its_hash(studio: Studio, home: Path) -> None:
    make_lora(home / "loras" / "other.safetensors", rank=3)
    digest = studio.weights.lora_hash("other")[:12]
    model = studio.weights.model_hash("pocket")[:10]
    said = text_with(
        f'Model hash: {model}, Model: theirs, Lora hashes: "Glow v2: {digest}"', "a mug <lora:Glow v2:0.5>"
    )
    found = studio.recover_text(said)
    assert found.fields["model"] == "pocket" and found.fields["prompt"] == "a mug <lora:other:0.5>"
    assert found.unmatched == []


def test_the_same_name_with_another_hash_is_told(studio: Studio) -> None:
    said = text_with(
        'Model hash: 0123456789, Model: pocket, Lora hashes: "neon: 0123456789ab"', "a <lora:neon:1>"
    )
    found = studio.recover_text(said)
    assert found.fields["model"] == "pocket" and "<lora:neon:1>" in found.fields["prompt"]
    assert [line.partition(":")[0] for line in found.unmatched] == ["Model hash", "LoRA hash"]


@pytest.mark.parametrize("value", ["", "x", "00000000", "../../etc", "e3b0c442" * 40, '"a: b: c, :, d"'])
def test_hashes_that_are_none_are_passed_over(studio: Studio, value: str) -> None:
    found = studio.recover_text(text_with(f"Model hash: {value}, Model: pocket, Lora hashes: {value}"))
    assert found.fields["model"] == "pocket"


def test_what_is_not_here_is_listed(studio: Studio) -> None:
    said = text_with('Model hash: 0123456789, Lora hashes: "lost: 0123456789ab"', "a mug <lora:lost:1>")
    found = studio.recover_text(said)
    assert found.unmatched == ["Model: 0123456789", "LoRA: lost"] and found.fields["prompt"] == "a mug"
