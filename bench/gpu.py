"""SD 1.5 at 512 px and SDXL at 1024 px on a GPU, stage by stage, beside plain diffusers: one process.

    python -m bench.gpu                          # 8 min at most: what the clock does not allow is left out
    python -m bench.gpu --device cpu --tiny      # the same paths on tiny networks, no figures worth keeping

A guided step with random weights of the true layout, 1, 4 and 16 pictures a call. Printed: ms a step, how
many times plain diffusers' speed in the same run (median of paired rounds), and the share of the floor: FLOP
of the step over the rate of a large product measured on this card. Saved: JSON and a chart in --out.

diffusers             UNet and scheduler as a pipeline calls them, float16
diffusers + compile   the same, channels-last, torch.compile of the whole UNet
eager                 the engine's own tick: one call for all rows, a scheduler each, the LoRA bank in place
channels-last         the same, convolutions channels-last
regional              each transformer block compiled
whole                 the whole UNet compiled with CUDA graphs, rows filled up to 2, 8, 32
attention             the whole one with the fastest kernel of attention that loads here
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from studio.engine.backends import Call, Eager
from studio.engine.denoise import advance, batch, step
from studio.engine.lora import Bank
from studio.engine.memory import versions
from studio.engine.sample import Conditions, begin
from studio.engine.text import TextRows
from studio.engine.weights import ModelBundle
from studio.schema import ResolvedRequest

BUCKETS = (2, 8, 32)  # rows: of 1, 4 and 16 guided pictures
PICTURES = (1, 4, 16)
STEPS = 10  # of a timed run
SCHEDULE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
KERNELS = (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION)
STAGES = ("diffusers", "diffusers + compile", "eager", "channels-last", "regional", "whole", "attention")
XL = {
    "cross_attention_dim": 2048, "attention_head_dim": (5, 10, 20), "use_linear_projection": True,
    "block_out_channels": (320, 640, 1280), "transformer_layers_per_block": (1, 2, 10),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """`side`: of the latents. `pooled`: width of SDXL's pooled text, 0 = none."""

    name: str
    config: Mapping[str, Any]
    side: int
    pooled: int = 0

    def unet(self, device: torch.device, dtype: torch.dtype) -> Any:
        torch.manual_seed(0)
        with torch.device(device):
            return UNet2DConditionModel(**self.config).eval().requires_grad_(False).to(dtype)


KINDS = (
    Kind("SD 1.5, 512 px", {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}, 64),
    Kind("SDXL, 1024 px", {"sample_size": 128, **XL}, 128, 1280),
)
SMALL: Mapping[str, Any] = {
    "block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4, "cross_attention_dim": 16,
    "attention_head_dim": 4, "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}  # fmt: skip
TINY = (
    Kind(
        "tiny XL",
        SMALL | {"addition_embed_type": "text_time", "addition_time_embed_dim": 8,
                 "projection_class_embeddings_input_dim": 6 * 8 + 16},
        8, 16,
    ),
)  # fmt: skip


@dataclass
class Figure:
    """`ms`: of a step. `speed`: times plain diffusers', median of paired rounds. `floor`: its share."""

    kind: str
    stage: str
    pictures: int
    ms: float = 0.0
    speed: float = 0.0
    floor: float = 0.0
    made: float = 0.0  # seconds until the first call was through
    memory: float = 0.0  # MiB, peak of the device
    note: str = ""


@dataclass
class Bench:
    device: torch.device
    dtype: torch.dtype
    until: float
    rounds: int
    compiler: str
    figures: list[Figure] = field(default_factory=list)

    def left(self) -> float:
        return self.until - time.monotonic()

    def settle(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object]) -> float:
        self.settle()
        begun = time.perf_counter()
        work()
        self.settle()
        return time.perf_counter() - begun

    def mark(self) -> None:
        """A new call begins: a graph's own outputs may be written over."""
        if self.device.type == "cuda":
            torch.compiler.cudagraph_mark_step_begin()

    def compile(self, network: Any, graphs: bool) -> Any:
        mode = "reduce-overhead" if graphs and self.device.type == "cuda" else None
        return torch.compile(network, backend=self.compiler, mode=mode, dynamic=False)


Predict = Callable[[Call], Tensor]


class Staged(Eager):
    """PyTorch's networks with another way to call the UNet."""

    def __init__(self, bundle: ModelBundle, predict: Predict) -> None:
        super().__init__(bundle)
        self._bank, self._predict = bundle.banks["unet"], predict

    def predict(self, call: Call) -> Tensor:
        with self._bank.weights(call.loras):
            return self._predict(call).float()


def plain(network: Any) -> Predict:
    def predict(call: Call) -> Tensor:
        found: Tensor = network(
            call.rows, call.moments, encoder_hidden_states=call.text, added_cond_kwargs=call.added,
            return_dict=False,
        )[0]  # fmt: skip
        return found

    return predict


def filled(predict: Predict, mark: Callable[[], None] = lambda: None) -> Predict:
    """Rows filled up to the next bucket, so that a graph for each bucket serves every number of rows."""

    def padded(call: Call) -> Tensor:
        rows = len(call.rows)
        more = next((bucket for bucket in BUCKETS if bucket >= rows), rows) - rows
        mark()
        if not more:
            return predict(call)
        added = call.added and {name: _more(one, more) for name, one in call.added.items()}
        longer = replace(
            call, rows=_more(call.rows, more), moments=_more(call.moments, more), text=_more(call.text, more),
            added=added,
        )  # fmt: skip
        return predict(longer)[:rows]

    return padded


def _more(tensor: Tensor, count: int) -> Tensor:
    return torch.cat([tensor, tensor[-1:].expand(count, *tensor.shape[1:])])


def bundled(kind: Kind, network: Any, bench: Bench) -> ModelBundle:
    """What the engine needs of a model to step; of VAE and texts only what is asked of their configs."""
    vae = SimpleNamespace(config=SimpleNamespace(latent_channels=4, block_out_channels=[0] * 4))
    text = SimpleNamespace(config=SimpleNamespace(projection_dim=kind.pooled))
    return ModelBundle(
        name=kind.name, family="sd15", unet=network, vae=vae, tokenizers=(), text_encoders=(text,),
        controlnets={}, control_embeddings={}, scheduler_config=SCHEDULE, zero_negative=False,
        device=bench.device, dtype=bench.dtype, parts={}, factors=torch.empty(0),
        banks={"unet": Bank(network, "unet")},
    )  # fmt: skip


def pipeline(network: Any, kind: Kind, bench: Bench, pictures: int) -> None:
    """A run as StableDiffusionPipeline's loop does it: one scheduler for all pictures."""
    rows = text_rows(kind, bench)
    text = rows.embeds.expand(2 * pictures, -1, -1)
    added = None
    if rows.pooled is not None:
        sizes = torch.tensor([[1024.0, 1024, 0, 0, 1024, 1024]], device=bench.device, dtype=bench.dtype)
        added = {
            "text_embeds": rows.pooled.expand(2 * pictures, -1), "time_ids": sizes.repeat(2 * pictures, 1)
        }  # fmt: skip
    scheduler = DDIMScheduler.from_config(SCHEDULE)
    scheduler.set_timesteps(STEPS, device=bench.device)
    latents = torch.randn(pictures, 4, kind.side, kind.side, device=bench.device, dtype=bench.dtype)
    for moment in scheduler.timesteps:
        both = scheduler.scale_model_input(torch.cat([latents] * 2), moment)
        noise = network(both, moment, encoder_hidden_states=text, added_cond_kwargs=added, return_dict=False)[
            0
        ]
        negative, prompt = noise.chunk(2)
        latents = scheduler.step(negative + 7.5 * (prompt - negative), moment, latents, return_dict=False)[0]


def ticks(networks: Staged, bundle: ModelBundle, kind: Kind, bench: Bench, pictures: int) -> None:
    """A run as the engine does it."""
    rows = text_rows(kind, bench)
    conditions = Conditions(rows, rows, loras={})
    side = 8 * kind.side
    request = ResolvedRequest(
        prompt="a", negative_prompt="", model=kind.name, width=side, height=side, steps=STEPS, guidance=7.5,
        scheduler="ddim", seed=1, count=pictures,
    )  # fmt: skip
    samples = [begin("bench", place, request, bundle, conditions, networks) for place in range(pictures)]
    group = batch(samples)
    while not group.samples[0].done:
        noise = advance(group)
        for sample, predicted in zip(group.samples, noise.chunk(pictures), strict=True):
            step(sample, predicted)


def text_rows(kind: Kind, bench: Bench) -> TextRows:
    make: dict[str, Any] = {"device": bench.device, "dtype": bench.dtype}
    embeds = torch.randn(77, int(kind.config["cross_attention_dim"]), **make)
    return TextRows(embeds, torch.randn(kind.pooled, **make) if kind.pooled else None)


@contextmanager
def kernel(chosen: SDPBackend | None) -> Iterator[None]:
    with nullcontext() if chosen is None else sdpa_kernel([chosen, SDPBackend.MATH]):
        yield


def fastest_kernel(bench: Bench) -> tuple[SDPBackend | None, str]:
    """By attention of SD 1.5's largest layer; None where no kernel but the plain one loads."""
    shape = (2, 8, 4096 if bench.device.type == "cuda" else 64, 40)
    q = torch.randn(shape, device=bench.device, dtype=bench.dtype)
    found: dict[str, tuple[float, SDPBackend]] = {}
    for one in KERNELS:
        try:
            with sdpa_kernel([one]):
                work = partial(torch.nn.functional.scaled_dot_product_attention, q, q, q)
                work()
                found[one.name] = (min(bench.seconds(work) for _ in range(5)), one)
        except RuntimeError:
            continue
    said = ", ".join(f"{name.lower()} {seconds * 1e6:.0f} us" for name, (seconds, _) in found.items())
    return (min(found.values(), key=lambda row: row[0])[1] if found else None), said or "none loads"


def peak_rate(bench: Bench) -> float:
    """FLOP a second of a large product: what the floor is reckoned with."""
    size = 8192 if bench.device.type == "cuda" else 256
    one = torch.randn(size, size, device=bench.device, dtype=bench.dtype)
    one @ one
    return 2 * size**3 / min(bench.seconds(lambda: one @ one) for _ in range(10))


def flop(kind: Kind) -> float:
    """Of one guided step of one picture, counted without computing."""
    nowhere = Bench(torch.device("meta"), torch.float16, 0.0, 0, "eager")
    text = text_rows(kind, nowhere)
    added = None
    if text.pooled is not None:
        sizes = torch.zeros(2, 6, device="meta", dtype=torch.float16)
        added = {"text_embeds": text.pooled.expand(2, -1), "time_ids": sizes}
    rows = torch.zeros(2, 4, kind.side, kind.side, device="meta", dtype=torch.float16)
    with FlopCounterMode(display=False) as counter:
        network = kind.unet(nowhere.device, nowhere.dtype)
        call = Call(rows, torch.zeros(2, device="meta"), text.embeds.expand(2, -1, -1), None, added, ({}, {}))
        plain(network)(call)
    return float(counter.get_total_flops())


Run = Callable[[int], None]  # pictures -> STEPS steps of them


def staged(stage: str, kind: Kind, bench: Bench) -> tuple[Run, SDPBackend | None, str]:
    """(a run, the kernel of attention it takes, a note)."""
    network = kind.unet(bench.device, bench.dtype)
    if stage not in ("diffusers", "eager"):
        network = network.to(memory_format=torch.channels_last)
    if stage.startswith("diffusers"):
        called = bench.compile(network, False) if "compile" in stage else network
        return partial(pipeline, called, kind, bench), None, ""
    chosen, note = fastest_kernel(bench) if stage == "attention" else (None, "")
    bundle = bundled(kind, network, bench)
    predict = plain(network)
    if stage == "regional":
        network.compile_repeated_blocks(backend=bench.compiler)
    elif stage in ("whole", "attention"):
        predict = filled(plain(bench.compile(network, True)), bench.mark)
    return partial(ticks, Staged(bundle, predict), bundle, kind, bench), chosen, note


def compare(kind: Kind, bench: Bench, stages: Sequence[str], pictures: Sequence[int], rate: float) -> None:
    """Each stage beside plain diffusers, in turn; stages one after another so that one fits the card."""
    need = flop(kind)
    base, _, _ = staged("diffusers", kind, bench)
    for stage in stages:
        if bench.left() <= 0:
            print(f"{kind.name}: {stage} is left out, the time is over", flush=True)
            continue
        work, chosen, note = staged(stage, kind, bench)
        for count in pictures:
            figure = Figure(kind.name, stage, count, note=note)
            bench.figures.append(figure)
            try:
                _measure(figure, partial(work, count), partial(base, count), chosen, bench)
            except RuntimeError as error:  # one stage that does not load must not hide the others
                figure.note = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
                print(f"{kind.name:16}{stage:20}{count:3}  {figure.note}", flush=True)
                continue
            figure.floor = need * count / rate / (figure.ms / 1000)
            print(
                f"{kind.name:16}{stage:20}{count:3} pictures {figure.ms:9.2f} ms a step {figure.speed:6.2f} x"
                f" diffusers {figure.floor:6.1%} of the floor, made in {figure.made:.0f} s,"
                f" {figure.memory:.0f} MiB {figure.note}",
                flush=True,
            )
            if bench.left() <= 0:
                break
        del work
        torch._dynamo.reset()
        if bench.device.type == "cuda":
            torch.cuda.empty_cache()


def _measure(
    figure: Figure,
    work: Callable[[], None],
    base: Callable[[], None],
    chosen: SDPBackend | None,
    bench: Bench,
) -> None:
    def ours() -> None:
        with kernel(chosen):
            work()

    if bench.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(bench.device)
    figure.made = bench.seconds(ours)
    ours()
    base()
    pairs = []
    for turn in range(bench.rounds):
        pair = {}
        for name in ("ours", "base") if turn % 2 == 0 else ("base", "ours"):
            pair[name] = bench.seconds(ours if name == "ours" else base)
        pairs.append(pair)
    figure.ms = statistics.median(pair["ours"] for pair in pairs) / STEPS * 1000
    figure.speed = statistics.median(pair["base"] / pair["ours"] for pair in pairs)
    if bench.device.type == "cuda":
        figure.memory = torch.cuda.max_memory_allocated(bench.device) / 2**20


def save(bench: Bench, folder: Path, rate: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = torch.cuda.get_device_name(bench.device) if bench.device.type == "cuda" else "cpu"
    told = {"device": name, "tflops": rate / 1e12, "versions": dict(versions())}
    figures = [asdict(one) for one in bench.figures]
    (folder / "gpu.json").write_text(json.dumps(told | {"figures": figures}, indent=1), encoding="utf-8")
    try:
        from bench.charts import stages
    except ImportError:
        print("no chart: matplotlib is not installed")
        return
    stages(folder / "gpu.png", figures)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--tiny", action="store_true", help="tiny networks, two steps of rows, no real compiler"
    )
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("build") / "bench")
    asked = parser.parse_args(arguments)
    device = torch.device(asked.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("No GPU is here: this bench needs CUDA. On a CPU: make bench. Its paths: --device cpu --tiny.")
        return 2
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    until = time.monotonic() + asked.minutes * 60
    bench = Bench(device, dtype, until, asked.rounds, "eager" if asked.tiny else "inductor")
    with torch.inference_mode():
        rate = peak_rate(bench)
        print(
            f"{rate / 1e12:.2f} TFLOP/s of a large product; attention: {fastest_kernel(bench)[1]}", flush=True
        )
        for kind in TINY if asked.tiny else KINDS:
            compare(kind, bench, STAGES, PICTURES[:1] if asked.tiny else PICTURES, rate)
    save(bench, asked.out, rate)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
