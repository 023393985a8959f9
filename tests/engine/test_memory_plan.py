"""Forecasts of memory against what diffusers really holds, and the steps down when there is little."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.autoencoders.vae import Decoder
from drive import Shelf, ask, finish
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from studio.engine import Engine, weights
from studio.engine.plan import Planner
from studio.models.forecast import Policy, Run, Shapes, policies
from studio.schema import Done, Event, Failed, Rendered
from studio.settings import ROOT, Settings

POCKET = ROOT / "assets" / "models" / "pocket"
GENEROUS = 2**40


class Live(TorchDispatchMode):
    """Bytes of the tensors that are alive, and their greatest sum."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, self._note, made)
        return made

    def _note(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self.now -= self._sizes.pop(key)


def network(kind: Any, folder: Path) -> Any:
    with torch.device("meta"):
        return kind.from_config(kind.load_config(folder)).eval().requires_grad_(False)


@pytest.fixture(params=["sd", "xl", "pocket"])
def folder(request: pytest.FixtureRequest, shelf: Shelf) -> Path:
    return shelf.models.get(request.param, POCKET)


@pytest.mark.parametrize(("rows", "side"), [(1, 16), (2, 32)])
def test_the_walk_counts_what_a_unet_call_holds(folder: Path, rows: int, side: int) -> None:
    unet = network(UNet2DConditionModel, folder / "unet")
    shapes = Shapes(folder)
    width = rows * side * side * 4
    with torch.inference_mode(), torch.device("meta"):
        text = torch.zeros(rows, 77, unet.config.cross_attention_dim)
        added = {"text_embeds": torch.zeros(rows, 16), "time_ids": torch.zeros(rows, 6)}
        latents = torch.zeros(rows, 4, side, side)
        with Live() as live:
            unet(
                latents, torch.zeros(rows), encoder_hidden_states=text, return_dict=False,
                added_cond_kwargs=added if shapes.two_encoders else None,
            )  # fmt: skip
    run = Run(side * shapes.factor, side * shapes.factor, rows)
    told = shapes.forecast("float32", run, Policy(rows)).call - shapes.largest * 4
    assert live.peak == pytest.approx(told, rel=0.1, abs=0.5 * width)


def test_the_walk_counts_what_drawing_a_picture_holds(folder: Path) -> None:
    vae = network(AutoencoderKL, folder / "vae")
    shapes = Shapes(folder)
    with torch.inference_mode(), torch.device("meta"):
        latents = torch.zeros(1, 4, 32, 32)
        with Live() as live:
            vae.decode(latents, return_dict=False)
    side = 32 * shapes.factor
    assert live.peak == pytest.approx(shapes.forecast("float32", Run(side, side), Policy(2)).draw, rel=0.1)


def test_weights_are_forecast_to_the_byte(shelf: Shelf) -> None:
    for name in ("sd", "xl"):
        folder = shelf.models[name]
        for dtype in ("float32", "bfloat16", "float16"):
            needed = weights.bytes_needed(folder, getattr(torch, dtype))
            assert Shapes(folder).weights(dtype) == needed


def test_the_ladder_goes_down_and_the_first_that_fits_is_taken(shelf: Shelf, tmp_path: Path) -> None:
    """With the shapes of an SD 1.5, which are those of a folder that says nothing."""
    shapes, request = Shapes(tmp_path), ask(width=1024, height=1024, count=8)
    run = shapes.run(request)
    works = [shapes.forecast("float32", run, policy).work for policy in policies(8)]
    assert works == sorted(works, reverse=True) and len(set(works)) == 5  # smaller tiles save nothing here

    class One:
        def shapes(self, name: str) -> Shapes:
            return shapes

    planner = Planner(Settings(device="cpu"), One(), torch.device("cpu"), "float32")  # type: ignore[arg-type]
    chosen = [planner.choose(request, work, ()).policy for work in works]
    assert chosen[:5] == list(policies(8))[:5]


def engine(shelf: Shelf, room: int = GENEROUS) -> Engine:
    """`room`: bytes for models and runs."""
    return Engine(Settings(device="cpu", backend="float32", model="sd", memory=str(room)), shelf)  # type: ignore[arg-type]


def events_of(made: Engine, **jobs: Any) -> list[tuple[str, Event]]:
    try:
        for name, request in jobs.items():
            made.submit(name, request, {})
        return finish(made)
    finally:
        made.close()


def pictures(events: list[tuple[str, Event]]) -> list[Rendered]:
    return [event for _, event in events if isinstance(event, Rendered)]


@pytest.mark.parametrize(
    "policy", [Policy(4), Policy(2, False), Policy(2, False, 32)], ids=lambda policy: policy.name
)
def test_a_job_is_run_as_planned(shelf: Shelf, policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    drawing: list[int] = []
    plain, decode = UNet2DConditionModel.forward, Decoder.forward

    def forward(self: Any, sample: torch.Tensor, *args: Any, **options: Any) -> Any:
        rows.append(len(sample))
        assert policy.beside or not drawing
        return plain(self, sample, *args, **options)

    def draw(self: Any, latents: torch.Tensor, *args: Any) -> Any:
        drawing.append(latents.shape[-1])
        try:
            return decode(self, latents, *args)
        finally:
            drawing.pop()
            sizes.append(latents.shape[-1])

    sizes: list[int] = []
    made = engine(shelf)
    made.planner.ladder = (policy,)
    made.load("sd")
    monkeypatch.setattr(UNet2DConditionModel, "forward", forward)
    monkeypatch.setattr(Decoder, "forward", draw)
    events = events_of(made, a=ask(count=3, steps=2, width=80, height=80))
    assert isinstance(events[-1][1], Done)
    assert max(rows) == policy.rows
    assert max(sizes) == (policy.tile or 40)
    noted = {note for picture in pictures(events) for note in picture.notes}
    assert noted == ({"tiled_decode"} if policy.tile else set())


@pytest.mark.usefixtures("nothing_but_models")
def test_what_cannot_fit_is_refused_with_figures_and_a_size_that_does(shelf: Shelf) -> None:
    shapes, small = Shapes(shelf.models["sd"]), ask(width=128, height=128)
    *_, lowest = policies(8)
    work = shapes.forecast("float32", shapes.run(small), lowest, 0).work
    room = weights.bytes_needed(shelf.models["sd"], torch.float32) + work
    events = events_of(engine(shelf, room), small=small, large=ask(width=512, height=512))
    told = {name: event for name, event in events if isinstance(event, Done | Failed)}
    assert isinstance(told["small"], Done)
    failed = told["large"]
    assert isinstance(failed, Failed) and failed.error["code"] == "out_of_memory"
    assert "512 x 512 px needs at least" in failed.error["message"]
    assert "128 x 128 px fits" in failed.error["hint"]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The third UNet call and the ones it is tried again with find no memory: two pictures are lost."""
    calls: list[int] = []
    plain = UNet2DConditionModel.forward

    def forward(self: Any, sample: torch.Tensor, *args: Any, **options: Any) -> Any:
        calls.append(len(sample))
        if 3 <= len(calls) <= 5:
            raise (MemoryError() if len(calls) % 2 else torch.OutOfMemoryError("no room"))
        return plain(self, sample, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(UNet2DConditionModel, "forward", forward)
        yield calls


FRESH = """
import hashlib, sys, torch
from pathlib import Path
from drive import Shelf, ask, finish
from studio.engine import Engine
from studio.schema import Rendered
from studio.settings import Settings
torch.set_num_threads(1)
engine = Engine(Settings(device="cpu", backend="float32", model="sd"), Shelf({"sd": Path(sys.argv[1])}, {}))
engine.submit("a", ask(count=2, scheduler="euler-ancestral"), {})
print(*[hashlib.sha256(event.data).hexdigest() for _, event in finish(engine) if isinstance(event, Rendered)])
engine.close()
"""


def test_after_running_out_of_memory_a_job_has_the_bytes_of_a_fresh_process(
    shelf: Shelf, broken: list[int]
) -> None:
    made = engine(shelf)
    made.submit("lost", ask(count=2, steps=6), {})
    events = finish(made)
    assert [event.error["code"] for _, event in events if isinstance(event, Failed)] == ["out_of_memory"]
    assert len(broken) >= 5
    after = pictures(events_of(made, a=ask(count=2, scheduler="euler-ancestral")))
    ours = [hashlib.sha256(picture.data).hexdigest() for picture in after]
    here = Path(__file__).parent
    fresh = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FRESH, str(shelf.models["sd"])],
        capture_output=True, text=True, check=True,
        env={"PYTHONPATH": f"{here}:{ROOT}", "PATH": "", "HOME": "/nowhere"},
    ).stdout.split()  # fmt: skip
    assert ours == fresh and len(ours) == 2


def test_a_model_is_read_without_a_second_copy_of_its_weights(shelf: Shelf) -> None:
    """In allocations: what is alive while weights are read is the weights and one more."""
    folder = shelf.models["sd"]
    with Live() as live:
        bundle = weights.load(shelf.get("sd"), torch.device("cpu"), torch.bfloat16)
    largest = max(parameter.nbytes for parameter in bundle.unet.parameters())
    kept = weights.bytes_needed(folder, torch.bfloat16)
    activations = Shapes(folder).forecast("bfloat16", Run(128, 128), Policy(2)).work
    assert live.peak < kept + 2 * largest + activations


KEPT = """
import sys, torch
from studio.engine import memory
if sys.argv[1] == "held":
    memory.hold_back()
cpu = torch.device("cpu")
del (first := [torch.ones(2**23 - 2**16)])[:]  # 32 MB, freed: from here on glibc keeps what is smaller
before = memory.used(cpu)
rows = [torch.ones(2**19) for _ in range(100)]  # 2 MiB each
last = [torch.ones(64) for _ in range(2000)]  # lies above them, so that the heap cannot shrink
del rows
print((memory.used(cpu) - before) >> 20)
"""


def test_with_a_budget_freed_memory_goes_back_at_once() -> None:
    kept = {
        way: int(
            subprocess.run(
                [sys.executable, "-W", "ignore", "-c", KEPT, way], capture_output=True, text=True, check=True,
                env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": "/nowhere"},
            ).stdout
        )
        for way in ("held", "plain")
    }  # fmt: skip
    assert kept["held"] < 20 < 150 < kept["plain"]
