from __future__ import annotations

import os
from pathlib import Path

import pytest
import tiny
import torch
from drive import Bench, Shelf, ask, difference, photo, png

from studio.engine.conditions import IDLE_ADAPTERS, TEXTS
from studio.engine.controls import pixels
from studio.errors import NotFound
from studio.schema import LoraRef, ResolvedRequest


@pytest.fixture
def own(shelf: Shelf, tmp_path: Path) -> Bench:
    """A bench of its own, with a shelf that can be changed."""
    return Bench(Shelf(shelf.models, dict(shelf.loras)))


def styled(*names: str) -> ResolvedRequest:
    return ask(loras=tuple(LoraRef(name=name, weight=1.0) for name in names))


def test_another_file_under_the_same_name_is_another_style(own: Bench, tmp_path: Path) -> None:
    file = tiny.save_lora(tmp_path / "style.safetensors", tiny.unet(), seed=1, rank=4)
    own.shelf.loras["style"] = file  # type: ignore[index]
    before = own.latents(styled("style"))
    tiny.save_lora(file, tiny.unet(), seed=9, rank=4)
    os.utime(file, ns=(1, 1))
    assert difference(own.latents(styled("style")), before) > 0.01


def test_a_style_whose_file_is_gone_fails_even_if_it_is_still_in_memory(own: Bench, tmp_path: Path) -> None:
    file = tiny.save_lora(tmp_path / "style.safetensors", tiny.unet(), seed=1, rank=4)
    own.shelf.loras["style"] = file  # type: ignore[index]
    own.sample(styled("style"))
    file.unlink()
    with pytest.raises(NotFound) as caught:
        own.sample(styled("style"))
    assert caught.value.code == "lora_missing"


def test_styles_no_longer_used_leave_the_bank(own: Bench, tmp_path: Path) -> None:
    for place in range(IDLE_ADAPTERS + 4):
        name = f"style{place}"
        file = tiny.save_lora(tmp_path / f"{name}.safetensors", tiny.unet(), seed=place, rank=2)
        own.shelf.loras[name] = file  # type: ignore[index]
        own.sample(styled(name))
    names = own.conditioner.adapters([own.bundle("sd")])
    assert len(names) == IDLE_ADAPTERS + 1
    assert "style0" not in names and f"style{IDLE_ADAPTERS + 3}" in names


def test_a_style_given_twice_counts_with_both_weights(own: Bench) -> None:
    twice = ask(loras=(LoraRef(name="warm", weight=0.5), LoraRef(name="warm", weight=0.3)))
    once = ask(loras=(LoraRef(name="warm", weight=0.8),))
    assert difference(own.latents(twice), own.latents(once)) < 1e-6


def test_a_prompt_is_encoded_once(own: Bench) -> None:
    bundle = own.bundle("sd")
    first = own.sample(ask(prompt="a teapot")).conditions
    again = own.sample(ask(prompt="a teapot", seed=9)).conditions
    assert again.prompt is first.prompt
    styled_ = own.sample(ask(prompt="a teapot", loras=(LoraRef(name="warm", weight=1.0),))).conditions
    assert styled_.prompt is not first.prompt  # a LoRA may have a text part
    for place in range(TEXTS + 5):
        bundle.texts[f"filler {place}", ()] = first.prompt
    own.sample(ask(prompt="a lamp"))
    assert len(bundle.texts) == TEXTS


def test_a_long_negative_prompt_lengthens_the_prompt_rows(own: Bench) -> None:
    sample = own.sample(ask(negative_prompt="a b c d e f g h " * 20))
    negative = sample.conditions.negative
    assert negative is not None
    assert sample.conditions.prompt.embeds.shape == negative.embeds.shape == (3 * 77, tiny.DIM)
    assert sample.key != own.sample(ask()).key
    with torch.inference_mode():
        assert bool(own.together([sample])[0].isfinite().all())


def test_pictures_are_cropped_to_cover_the_asked_size() -> None:
    wide = photo(side=64).resize((128, 64))
    cut = pixels(png(wide), "RGB", 32, 32)
    assert cut.shape == (32, 32, 3)
    assert pixels(png(wide), "L", 16, 24).shape == (24, 16)
