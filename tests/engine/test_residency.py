from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import torch
from drive import Shelf, ask, finish

from studio.engine import Engine, weights
from studio.engine import engine as engine_module
from studio.errors import BadRequest
from studio.models.forecast import Policy, Shapes
from studio.schema import Done, Failed, Started
from studio.settings import Settings, parse_bytes

pytestmark = pytest.mark.usefixtures("nothing_but_models")


@pytest.fixture
def room(shelf: Shelf) -> int:
    """Bytes of one tiny model."""
    return weights.bytes_needed(shelf.models["sd"], torch.float32)


@pytest.fixture
def work(shelf: Shelf) -> int:
    """Bytes of the smallest run beside it."""
    shapes = Shapes(shelf.models["sd"])
    return shapes.forecast("float32", shapes.run(ask()), Policy(2, False, 32), 0).work


@pytest.fixture
def engine(shelf: Shelf, room: int) -> Iterator[Engine]:
    """With room for two models and a half."""
    made = Engine(Settings(device="cpu", model="sd", memory=str(room * 5 // 2)), shelf)  # type: ignore[arg-type]
    yield made
    made.close()


def test_the_headers_tell_the_bytes_a_model_takes(engine: Engine, room: int) -> None:
    engine.load("sd")
    assert engine.status().resident == (("sd", room),)


def test_the_least_recently_used_model_leaves_first(engine: Engine, shelf: Shelf, room: int) -> None:
    engine.load("sd")
    engine.load("other")
    engine.load("sd")
    engine.load("paint")
    assert [name for name, _ in engine.status().resident] == ["sd", "paint"]


def test_a_model_in_use_does_not_leave(shelf: Shelf, room: int, work: int) -> None:
    engine = Engine(Settings(device="cpu", memory=str(room * 3 // 2 + work)), shelf)  # type: ignore[arg-type]
    engine.submit("first", ask(steps=6), {})
    engine.submit("second", ask(model="other"), {})
    story = [(name, type(event)) for name, event in finish(engine) if isinstance(event, Started | Done)]
    engine.close()
    assert story == [("first", Started), ("first", Done), ("second", Started), ("second", Done)]


def test_a_job_waiting_for_memory_is_passed_only_for_a_while(
    shelf: Shelf, room: int, work: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def order(patience: float) -> list[str]:
        monkeypatch.setattr(engine_module, "PATIENCE", patience)
        engine = Engine(Settings(device="cpu", memory=str(room * 3 // 2 + work)), shelf)  # type: ignore[arg-type]
        engine.submit("first", ask(steps=6), {})
        engine.submit("blocked", ask(model="other"), {})
        engine.submit("later", ask(steps=6), {})
        started = [name for name, event in finish(engine) if isinstance(event, Started)]
        engine.close()
        return started

    assert order(patience=1000.0) == ["first", "later", "blocked"]
    assert order(patience=0.0) == ["first", "blocked", "later"]


def test_a_model_larger_than_the_budget_is_refused_with_both_figures(shelf: Shelf) -> None:
    engine = Engine(Settings(device="cpu", memory="64KiB"), shelf)  # type: ignore[arg-type]
    engine.submit("a", ask(), {})
    ((name, event),) = finish(engine)
    engine.close()
    assert name == "a" and isinstance(event, Failed)
    assert event.error["code"] == "out_of_memory"
    assert re.search(r"needs at least \d\.\d\d GiB .* \d\.\d\d GiB is there", event.error["message"])


@pytest.mark.parametrize(
    ("text", "size"), [("4GiB", 4 * 2**30), ("4g", 4 * 2**30), (" 1.5 MB", 3 * 2**19), ("4096", 4096)]
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_bytes(text) == size


def test_a_size_that_is_none_is_refused() -> None:
    with pytest.raises(BadRequest, match="STUDIO_MEMORY"):
        parse_bytes("plenty")
