"""Drafts: the last steps without guidance, beside others that keep theirs."""

from __future__ import annotations

from contextlib import closing

import torch
from drive import Bench, Shelf, ask, difference, finish

from studio.engine import Engine
from studio.engine.denoise import advance, batch, step
from studio.schema import Done, Rendered, ResolvedRequest
from studio.settings import Settings


def by_hand(bench: Bench, request: ResolvedRequest, guided: int) -> torch.Tensor:
    """`guided` steps with guidance, the rest as a sample without: the definition."""
    with torch.inference_mode():
        sample = bench.sample(request)
        while not sample.done:
            noise = advance(batch([sample]))
            if sample.step >= guided:
                free = bench.sample(request.model_copy(update={"guidance": 1.0}))
                free.latents, free.scheduler, free.step = sample.latents, sample.scheduler, sample.step
                noise = advance(batch([free]))
            step(sample, noise)
        return sample.latents


def test_a_draft_lets_go_of_guidance_for_the_last_two_fifths(bench: Bench) -> None:
    request = ask(steps=5, scheduler="ddim")
    draft = bench.latents(request.model_copy(update={"draft": True}))
    assert difference(draft, by_hand(bench, request, guided=3)) < 1e-5
    assert difference(draft, bench.latents(request)) > 1e-3


def test_its_rows_fall_in_the_engine_and_its_neighbour_keeps_its_own(shelf: Shelf, bench: Bench) -> None:
    settings = Settings(device="cpu", model="sd", backend="float32", rows=8)
    draft, whole = ask(steps=5, draft=True), ask(steps=5, seed=3)
    with closing(Engine(settings, shelf)) as engine:  # type: ignore[arg-type]
        engine.submit("draft", draft, {})
        engine.submit("whole", whole, {})
        events = finish(engine)
    assert {name for name, event in events if isinstance(event, Done)} == {"draft", "whole"}
    rows = {name: event.rows for name, event in events if isinstance(event, Rendered)}
    assert rows == {"draft": (3, 4), "whole": (3, 4)}
    one, two = bench.together([bench.sample(draft), bench.sample(whole)])
    assert difference(one, bench.latents(draft)) < 1e-4 and difference(two, bench.latents(whole)) < 1e-4


def test_it_is_left_out_of_a_request_that_is_none(bench: Bench) -> None:
    """So that cache keys and marks of pictures from before hold."""
    assert "draft" not in ask().model_dump() and ask(draft=True).model_dump()["draft"]
