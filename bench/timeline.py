"""What the engine does when: a trace of a few pictures for https://ui.perfetto.dev.

    python bench/timeline.py [--pictures 6] [--steps 8] [--out build/bench]

Rows of the trace: the engine's thread (texts, UNet calls, schedulers' steps) and the decoder's (pictures,
PNG). Printed: share of the time of decoding during which the next steps went on, and what encoding texts took
beside the UNet calls. On two cores side by side gains little; on a GPU both run on streams of their own.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from studio.engine import Engine, conditions, decode
from studio.engine import engine as engine_module
from studio.models import Models
from studio.schema import Failed, ResolvedRequest
from studio.settings import Settings

Event = dict[str, Any]
Span = tuple[float, float]
WATCHED = (
    (conditions, "encode", "encode texts"),
    (engine_module, "advance", "UNet call"),
    (engine_module, "step", "scheduler step"),
    (decode, "finish", "decode picture"),
)


@contextmanager
def watching(events: list[Event]) -> Iterator[None]:
    """In the block, what is WATCHED leaves a span each time."""
    begun = time.perf_counter()
    patches = [
        patch.object(module, name, _timed(getattr(module, name), label, events, begun))
        for module, name, label in WATCHED
    ]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()


def _timed(work: Callable[..., Any], label: str, events: list[Event], begun: float) -> Callable[..., Any]:
    def timed(*given: Any, **named: Any) -> Any:
        if label == "UNet call":
            told: dict[str, Any] = {"pictures": len(given[0].samples), "rows": len(given[0].order)}
        else:
            told = {}
        start = time.perf_counter()
        found = work(*given, **named)
        if torch.cuda.is_available():
            torch.cuda.current_stream().synchronize()
        end = time.perf_counter()
        events.append(
            {
                "name": label, "ph": "X", "pid": 1, "tid": threading.get_native_id(),
                "ts": (start - begun) * 1e6, "dur": (end - start) * 1e6, "args": told,
            }
        )  # fmt: skip
        return found

    return timed


def overlap(ours: list[Span], others: list[Span]) -> float:
    """Of the time in `ours`, the share that lies in one of `others`; neither overlaps itself."""
    shared = sum(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a in ours for b in others)
    return shared / (sum(end - begin for begin, end in ours) or 1.0)


def spans(events: list[Event], label: str) -> list[Span]:
    return [(one["ts"], one["ts"] + one["dur"]) for one in events if one["name"] == label]


def trace(
    pictures: int, steps: int, home: Path, model: str = "pocket", px: int = 128
) -> tuple[list[Event], str]:
    """(events, a sentence)."""
    settings = Settings(home=home, device="auto", backend="float32", rows=4, model=model)
    engine = Engine(settings, Models(settings))
    engine.load(model)
    asked = [
        ResolvedRequest.model_validate(
            {
                "prompt": f"a red mug, number {place}", "negative_prompt": "blurry", "model": model,
                "width": px, "height": px, "steps": steps + place % 3, "guidance": 3.0, "scheduler": "ddim",
                "seed": place,
            }
        )
        for place in range(pictures)
    ]  # fmt: skip
    events: list[Event] = []
    with watching(events):
        for place, request in enumerate(asked):
            engine.submit(str(place), request, {})
        while not engine.idle():
            for _, event in engine.tick():
                if isinstance(event, Failed):
                    raise SystemExit(str(event.error))
    engine.close()
    threads = {one["tid"]: "decoder" if one["name"] == "decode picture" else "engine" for one in events}
    names = [
        {"name": "thread_name", "ph": "M", "pid": 1, "tid": thread, "args": {"name": name}}
        for thread, name in threads.items()
    ]
    calls, drawn, texts = (spans(events, label) for label in ("UNet call", "decode picture", "encode texts"))
    busy = sum(end - begin for begin, end in calls) or 1.0
    said = (
        f"{overlap(drawn, calls):.0%} of decoding lies beside UNet calls of later pictures; encoding "
        f"texts took {sum(end - begin for begin, end in texts) / busy:.1%} of the time of the UNet calls"
    )
    return [*names, *events], said


def save(folder: Path, events: list[Event]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "timeline.json"
    file.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}), encoding="utf-8")
    return file


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=6)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("build") / "bench")
    asked = parser.parse_args()
    events, said = trace(asked.pictures, asked.steps, asked.out)
    print(f"{said}\n{save(asked.out, events)}: open it in https://ui.perfetto.dev")


if __name__ == "__main__":
    main()
