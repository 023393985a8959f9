"""A sample: one picture in flight, with all the state that is its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from studio.engine.backends import Eager, Networks
from studio.engine.latents import draw, scaled
from studio.engine.schedulers import make_scheduler, step_options
from studio.engine.text import TextRows
from studio.engine.weights import ModelBundle
from studio.errors import BadRequest
from studio.schema import MAX_SEED, ResolvedRequest

GUIDED = 0.6  # share of a draft's steps that are guided


@dataclass(frozen=True, eq=False)
class Origin:
    """The picture a job starts from, read once for all its samples.

    `mean`, `std`: (1, C, h, w) float32, what the VAE made of it. `mask`: (1, 1, h, w), 1 = paint here.
    `kept_mean`, `kept_std`: the same of the picture with the masked part greyed out, for UNets of 9 channels.
    """

    mean: Tensor
    std: Tensor
    mask: Tensor | None = None
    kept_mean: Tensor | None = None
    kept_std: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Conditions:
    """What steers a job's samples. `control`: (1, C, h, w), the picture as the ControlNet read it.

    `texts`: prompt and negative of each picture, where each has its own prompt; else ().
    """

    prompt: TextRows
    negative: TextRows | None  # None: no guidance, one row a sample
    loras: Mapping[str, float]  # name of the adapter in the bank -> weight
    control: Tensor | None = None
    origin: Origin | None = None
    texts: tuple[tuple[TextRows, TextRows | None], ...] = ()

    def of_picture(self, index: int) -> Conditions:
        if not self.texts:
            return self
        prompt, negative = self.texts[index]
        return replace(self, prompt=prompt, negative=negative, texts=())


@dataclass(frozen=True, eq=False)
class Relay:
    """The model that goes on with a job's last steps."""

    bundle: ModelBundle
    networks: Networks
    conditions: Conditions


@dataclass(frozen=True, eq=False)
class Leg:
    """The rest of a sample's way, with another model: what it takes over at its first step."""

    bundle: ModelBundle
    networks: Networks
    conditions: Conditions
    scheduler: Any
    times: tuple[Tensor, ...]
    moments: tuple[float, ...]
    options: Mapping[str, Any]


@dataclass(eq=False)
class Sample:
    """`latents`: (1, C, h, w) float32. `moments`: the scheduler's times as floats, one a UNet call.

    `networks`: stays the same from first step to decoding, whatever is made ready meanwhile.
    """

    job: str
    index: int
    seed: int
    request: ResolvedRequest
    bundle: ModelBundle
    networks: Networks
    conditions: Conditions
    scheduler: Any
    times: tuple[Tensor, ...]
    moments: tuple[float, ...]
    options: Mapping[str, Any]
    latents: Tensor
    noise: Tensor
    original: Tensor | None = None  # inpainting with 4 channels: what the kept part is blended from
    channels: Tensor | None = None  # inpainting with 9 channels: mask and kept part, (1, 5, h, w)
    then: Leg | None = None
    calls: int = 0  # of a UNet, over all of its way
    step: int = 0
    seconds: float = 0.0
    batch: tuple[int, ...] = ()  # fewest and most rows of the calls it took part in
    guess: Tensor | None = field(default=None, repr=False)  # finished latents as foreseen at the last call

    def note_call(self, rows: int) -> None:
        low, high = self.batch or (rows, rows)
        self.batch = (min(low, rows), max(high, rows))

    @property
    def rows(self) -> int:
        """Of the coming call: two where guidance acts."""
        return 1 if self.conditions.negative is None or self._let_go else 2

    @property
    def _let_go(self) -> bool:
        """A draft's last steps: what they settle is detail, which follows the prompt without being pushed."""
        late = self.then is None and self.step >= GUIDED * len(self.times)
        return self.request.draft and late

    @property
    def mask(self) -> Tensor | None:
        origin = self.conditions.origin
        return None if origin is None else origin.mask

    @property
    def done(self) -> bool:
        return self.step >= len(self.times)

    def hand_over(self) -> None:
        """To the model that goes on, where this one's steps are done."""
        if self.done and self.then is not None:
            for part in fields(self.then):
                setattr(self, part.name, getattr(self.then, part.name))
            self.step, self.then = 0, None

    @property
    def control_scale(self) -> float:
        """Strength of the control at the coming call; 0 outside of start..end."""
        control = self.request.control
        if control is None or self.conditions.control is None:
            return 0.0
        calls = len(self.times)
        if self.step / calls < control.start or (self.step + 1) / calls > control.end:
            return 0.0
        return control.scale

    @property
    def key(self) -> tuple[Any, ...]:
        """Samples with equal keys fit into one UNet call. A control that is off for now counts as none."""
        control = self.request.control.type if self.request.control and self.control_scale else ""
        tokens = len(self.conditions.prompt.embeds)
        return self.bundle.name, tuple(self.latents.shape), tokens, control, self.networks.name


def seed_of(request: ResolvedRequest, index: int) -> int:
    return (request.seed + index) % (MAX_SEED + 1)


def performed_steps(request: ResolvedRequest) -> int:
    """Steps really done: a start picture skips the first ones, as the pipelines do, but never all of them."""
    if request.init_image is None:
        return request.steps
    return max(1, min(int(request.steps * request.strength), request.steps))


def begin(
    job: str,
    index: int,
    request: ResolvedRequest,
    bundle: ModelBundle,
    conditions: Conditions,
    networks: Networks | None = None,
    relay: Relay | None = None,
) -> Sample:
    """Picture `index` of a job before its first step. Draws what a diffusers pipeline draws, in its order.

    `networks`: None = PyTorch's own of `bundle`. `relay`: goes on where the request's refiner begins.
    """
    seed = seed_of(request, index)
    generator = torch.Generator("cpu").manual_seed(seed)
    scheduler = make_scheduler(request.scheduler, bundle.scheduler_config)
    # Times stay on the CPU on every device: each step compares and indexes them, which would stall a GPU.
    scheduler.set_timesteps(request.steps)
    first = (request.steps - performed_steps(request)) * scheduler.order
    times = tuple(scheduler.timesteps[first:])
    start = times[:1]
    if relay is not None:
        cut = _cut(scheduler, request)
        times = tuple(time for time in times if time >= cut)
    if conditions.origin is not None or bundle.sized:
        # As img2img and SDXL pipelines do; SD text-to-image lets the scheduler look its first index up.
        _set_begin(scheduler, first)
    sample = Sample(
        job=job,
        index=index,
        seed=seed,
        request=request,
        bundle=bundle,
        networks=networks or Eager(bundle),
        conditions=conditions.of_picture(index),
        scheduler=scheduler,
        times=times,
        moments=tuple(float(time) for time in times),
        options=step_options(scheduler, generator),
        latents=torch.empty(0),
        noise=torch.empty(0),
        then=None if relay is None else _leg(request, index, relay, generator),
    )
    sample.calls = len(times) + (len(sample.then.times) if sample.then else 0)
    _fill(sample, generator, start[0])
    sample.hand_over()
    return sample


def _leg(request: ResolvedRequest, index: int, relay: Relay, generator: torch.Generator) -> Leg:
    """Source: StableDiffusionXLImg2ImgPipeline.get_timesteps with `denoising_start`."""
    scheduler = make_scheduler(request.scheduler, relay.bundle.scheduler_config)
    scheduler.set_timesteps(request.steps)
    left = int((scheduler.timesteps < _cut(scheduler, request)).sum())
    if scheduler.order == 2 and left % 2 == 0:
        left += 1  # else it would begin in the middle of a step of two calls
    first = (request.steps - performed_steps(request)) * scheduler.order
    first = max(first, len(scheduler.timesteps) - left)
    _set_begin(scheduler, first)
    times = tuple(scheduler.timesteps[first:])
    moments, options = tuple(float(time) for time in times), step_options(scheduler, generator)
    conditions = relay.conditions.of_picture(index)
    return Leg(relay.bundle, relay.networks, conditions, scheduler, times, moments, options)


def _cut(scheduler: Any, request: ResolvedRequest) -> int:
    """The time below which the refiner works; `denoising_end` of the pipelines."""
    assert request.refiner is not None
    steps = int(scheduler.config.num_train_timesteps)
    return int(round(steps - request.refiner.at * steps))


def _set_begin(scheduler: Any, index: int) -> None:
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(index)


def _fill(sample: Sample, generator: torch.Generator, first: Tensor) -> None:
    """Noise and start latents, as StableDiffusion{,Img2Img,Inpaint}Pipeline.prepare_latents make them.

    `first`: time of the first step.
    """
    bundle, origin, request = sample.bundle, sample.conditions.origin, sample.request
    in_channels = bundle.unet.config.in_channels
    plain = in_channels == bundle.vae.config.latent_channels
    if not plain and (origin is None or origin.mask is None):
        raise BadRequest(
            f"{bundle.name} paints over ({in_channels} input channels): it needs a picture and a mask.",
            field="mask",
            hint="Give init_image and mask, or pick another model.",
        )
    shape = (
        1,
        bundle.vae.config.latent_channels,
        request.height // bundle.factor,
        request.width // bundle.factor,
    )
    if origin is None:
        sample.noise = draw(generator, shape, bundle.device)
        sample.latents = sample.noise * sample.scheduler.init_noise_sigma
        return
    fresh = origin.mask is not None and request.strength == 1.0
    start = None if fresh and not plain else _encoded(origin.mean, origin.std, generator, bundle)
    sample.noise = draw(generator, shape, bundle.device)
    if fresh or start is None:
        sample.latents = sample.noise * sample.scheduler.init_noise_sigma
    else:
        sample.latents = sample.scheduler.add_noise(start, sample.noise, first[None])
    if origin.mask is None:
        return
    if plain:
        sample.original = start
        draw(generator, shape, bundle.device)  # the pipeline encodes the kept part here and does not use it
    elif origin.kept_mean is not None and origin.kept_std is not None:
        kept = _encoded(origin.kept_mean, origin.kept_std, generator, bundle)
        sample.channels = torch.cat([origin.mask, kept], dim=1)


def _encoded(mean: Tensor, std: Tensor, generator: torch.Generator, bundle: ModelBundle) -> Tensor:
    return scaled(mean + std * draw(generator, tuple(mean.shape), bundle.device), bundle.vae)
