"""Pictures of one job with prompts of their own: each as if it were alone, whatever stands beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
from drive import Bench, Shelf, ask, difference

from studio.engine.backends import Eager
from studio.engine.sample import Relay, begin
from studio.schema import Refiner

LONG = "a red mug, " * 30  # two chunks of 75 tokens, whose length must not reach the pictures beside it
PROMPTS = ("a red mug", LONG, "a blue cap on a table")


@pytest.mark.parametrize("guidance", [5.0, 1.0])
def test_each_picture_is_as_it_would_be_alone(bench: Bench, guidance: float) -> None:
    asked = ask(prompt=PROMPTS[0], prompts=PROMPTS, count=3, guidance=guidance)
    beside = bench.together([bench.sample(asked, index=index) for index in range(3)])
    for index, prompt in enumerate(PROMPTS):
        alone = bench.latents(ask(prompt=prompt, guidance=guidance, seed=asked.seed + index))
        assert difference(beside[index], alone) < 1e-4, prompt


def test_pictures_of_equal_length_share_one_call(bench: Bench) -> None:
    asked = ask(prompt=PROMPTS[0], prompts=(PROMPTS[0], PROMPTS[2]), count=2)
    first, second = (bench.sample(asked, index=index) for index in range(2))
    assert first.key == second.key
    assert not torch.equal(first.conditions.prompt.embeds, second.conditions.prompt.embeds)


def test_a_refiner_reads_each_pictures_own_prompt(tmp_path: Path) -> None:
    models = {"xl": tiny.save_xl(tmp_path / "xl"), "xl-refiner": tiny.save_refiner(tmp_path / "xl-refiner")}
    desk = Bench(Shelf(models, {}))
    late = Refiner(model="xl-refiner", at=0.6)
    asked = ask(model="xl", prompt=PROMPTS[0], prompts=PROMPTS, count=3, refiner=late)
    with torch.inference_mode():
        first, second = desk.bundle("xl"), desk.bundle("xl-refiner")
        conditions = desk.conditioner.prepare(asked, {}, first, ())
        relay = Relay(second, Eager(second), desk.conditioner.refine(asked, second))
        for index, prompt in enumerate(PROMPTS):
            sample = begin("job", index, asked, first, conditions, relay=relay)
            alone = desk.conditioner.refine(ask(model="xl", prompt=prompt), second)
            assert sample.then is not None
            assert torch.equal(sample.then.conditions.prompt.embeds, alone.prompt.embeds)
