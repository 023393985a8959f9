"""A picture knows how many rows its steps had: other batch shapes differ in the last bits."""

from __future__ import annotations

from drive import Shelf, ask, finish

from studio.engine import Engine
from studio.schema import Rendered
from studio.settings import Settings


def test_a_picture_tells_the_rows_of_its_steps(shelf: Shelf, settings: Settings) -> None:
    engine = Engine(settings, shelf)  # type: ignore[arg-type]
    engine.submit("long", ask(steps=4, guidance=5.0), {})
    engine.submit("short", ask(steps=2, guidance=1.0), {})
    rows = {job: event.rows for job, event in finish(engine) if isinstance(event, Rendered)}
    engine.close()
    assert rows == {"long": (2, 3), "short": (3, 3)}
