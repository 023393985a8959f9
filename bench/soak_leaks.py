"""What a studio holds after long use: memory and descriptors after a warm-up and at the end.

    python bench/soak_leaks.py    # 8 minutes: 1,000 LoRA switches, 200 model switches, 5,000 page loads
    python bench/soak_leaks.py --only loras --times 200
    python bench/soak_leaks.py --only loras --keep    # keeps 1 MiB at each time: must end with an error

Goals: LoRA switches +3 % of the process's memory, model switches +5 %, page loads +64 MiB; at most three
descriptors more. Each in a process of its own, the pocket model with pictures of 64 px in one step; only one
model fits in memory at a time.
"""

from __future__ import annotations

import argparse
import http.client
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from soak_server import get, prepare, server

from studio.schema import Cancelled, Done, Failed, LoraRef, Rendered, ResolvedRequest

if TYPE_CHECKING:
    from studio.engine import Engine

ROOT = Path(__file__).resolve().parent.parent
MIB = 2**20
SPARE = 3  # descriptors: the database's pool opens another connection now and then
ONE_MODEL = 130 * MIB  # the pocket model in float32 takes 100
LORAS = ("guochao", "nordic", "neon")
MODELS = ("pocket", "second", "third")


def made(engine: Engine, number: int, **fields: Any) -> None:
    asked = {
        "prompt": "a mug", "negative_prompt": "", "model": "pocket", "width": 64, "height": 64, "steps": 1,
        "guidance": 1.0, "scheduler": "euler", "seed": number,
    }  # fmt: skip
    engine.submit(str(number), ResolvedRequest.model_validate(asked | fields), {})
    events: list[Any] = []
    while not any(isinstance(event, Done | Failed | Cancelled) for event in events):
        events += [event for _, event in engine.tick()]
    assert any(isinstance(event, Rendered) for event in events), events


def engine_in(home: Path) -> Engine:
    from studio.engine import Engine
    from studio.models import Models
    from studio.settings import Settings

    settings = Settings(home=home, device="cpu", model="pocket", backend="float32")
    return Engine(settings, Models(settings))


def loras(home: Path, times: int, keep: Callable[[], None]) -> bool:
    """Each picture with another LoRA than the one before."""
    with closing(engine_in(home)) as engine:

        def switch(number: int) -> None:
            name = LORAS[number % len(LORAS)]
            made(engine, number, loras=[LoraRef(name=name, weight=0.5 + number % 7 / 10).model_dump()])
            keep()

        return within(switch, times, warm_up=times // 10, share=0.03)


def models(home: Path, times: int, keep: Callable[[], None]) -> bool:
    """Each picture from another model than the one before, which has to leave memory for it."""
    for number, name in enumerate(MODELS[1:], start=1):
        copy_changed(ROOT / "assets" / "models" / "pocket", home / "models" / name, number)
    with closing(engine_in(home)) as engine:
        engine._residency._budget = lambda resident: ONE_MODEL

        def switch(number: int) -> None:
            made(engine, number, model=MODELS[number % len(MODELS)])
            there = [bundle.name for bundle in engine._residency.bundles()]
            assert there == [MODELS[number % len(MODELS)]], f"{there} are in memory"
            keep()

        return within(switch, times, warm_up=max(6, times // 20), share=0.05)


def copy_changed(model: Path, copy: Path, number: int) -> None:
    """The same model with another UNet and VAE: what two models share is in memory once."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, copy)
    for file in [*copy.glob("*/*.safetensors")]:
        tensors = load_file(file)
        name = max(tensors, key=lambda name: tensors[name].numel())
        tensors[name] = tensors[name] * (1 + number / 1000)
        save_file(tensors, file, metadata={"format": "pt"})


def pages(home: Path, times: int, keep: Callable[[], None]) -> bool:
    """Loads of the page, in both languages, each with a session that begins and ends."""
    with server(home, page=True) as (process, port):
        while "Gradio" not in text_of(port, "/") and "gradio" not in text_of(port, "/"):
            time.sleep(0.5)

        def load(number: int) -> None:
            text_of(port, "/zh" if number % 2 else "/")
            session = secrets.token_hex(5)
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as line:
                line.request("GET", f"/gradio_api/heartbeat/{session}")
                line.getresponse().read(1)
            if number % 100 == 0:
                get(port, "/api/v1/images?limit=50")
            keep()

        return within(load, times, warm_up=times // 10, bytes=64 * MIB, pid=process.pid)


def text_of(port: int, path: str) -> str:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as line:
        line.request("GET", path)
        return line.getresponse().read().decode()


def within(
    step: Callable[[int], None], times: int, warm_up: int, share: float = 0.0, bytes: int = 0,
    pid: int | None = None,
) -> bool:  # fmt: skip
    """Takes `times` steps; False where memory grew by more than `share` of it or `bytes` after `warm_up`."""
    process, begun = psutil.Process(pid), time.monotonic()
    first, descriptors = 0, 0
    for number in range(times):
        if number == warm_up:
            time.sleep(1)
            first, descriptors = process.memory_info().rss, process.num_fds()
        step(number)
    time.sleep(2)  # connections that end
    last, now = process.memory_info().rss, process.num_fds()
    limit = bytes or int(first * share)
    print(
        f"  {times} times, {time.monotonic() - begun:.0f} s: {first / MIB:.1f} MiB after {warm_up}, "
        f"{last / MIB:.1f} MiB at the end ({(last - first) / first:+.1%}, limit {limit / MIB:+.1f} MiB); "
        f"descriptors {descriptors} and {now}",
        flush=True,
    )
    return last - first <= limit and now <= descriptors + SPARE


PARTS = {"loras": (loras, 1000), "models": (models, 200), "pages": (pages, 5000)}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=tuple(PARTS))
    parser.add_argument("--times", type=int)
    parser.add_argument("--keep", action="store_true", help="leak on purpose")
    options = parser.parse_args()
    prepare()
    if options.only is None:
        command = [sys.executable, __file__, *sys.argv[1:]]
        grew = [name for name in PARTS if subprocess.run([*command, "--only", name]).returncode]
        print(f"GREW: {', '.join(grew)}" if grew else "nothing grew")
        return int(bool(grew))
    part, times = PARTS[options.only]
    kept: list[bytearray] = []
    print(options.only, flush=True)
    with tempfile.TemporaryDirectory(prefix="soak") as home:
        leak = (lambda: kept.append(bytearray(secrets.token_bytes(MIB)))) if options.keep else (lambda: None)
        return int(not part(Path(home), options.times or times, leak))


if __name__ == "__main__":
    raise SystemExit(main())
