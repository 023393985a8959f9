"""The training loop, to be read from top to bottom: all it needs comes in, what happens comes out as events.

One step: rows of one aspect, noise of one level a row, the UNet's guess, the weighed error, AdamW. All that
is drawn by chance is drawn from the run's seed and the step's number, so a run that was killed goes on as if
it had not been, and other work on the same machine changes nothing.
"""

from __future__ import annotations

import math
import random
import time
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from studio.errors import NumericalError
from studio.schema import Epoch, Event, Learned, Preview
from studio.training import board, checkpoint
from studio.training.cache import Cache, Lesson
from studio.training.networks import Networks, Text, predict
from studio.training.prior import chosen
from studio.training.request import Training
from studio.training.runs import Run

WARM_UP = 0.05  # share of the steps over which the rate rises; then it falls along a cosine to a tenth
LONGEST_NORM = 1.0  # of the gradient: one odd picture cannot throw the weights about
TIMES = (100, 300, 500, 700, 900)  # noise levels at which pictures kept back are judged
OFTEN = 100  # steps between checkpoints inside an epoch: what a kill can cost at most


@dataclass
class Course:
    """`look`: of the set's own pictures; `plain`: of the board before training. `guidance`: for the board."""

    training: Training
    networks: Networks
    cache: Cache
    run: Run
    prompts: tuple[str, ...]
    guidance: float
    look: board.Look
    plain: board.Look | None
    origin: dict[str, str]


Turn = Event | None  # None: nothing happened, but who shares the device may have it for a moment


def learn(
    course: Course, progressed: checkpoint.Progressed, told: dict[str, object] | None
) -> Iterator[Turn]:
    """Trains from `progressed` to the end; `told`: the checkpoint to begin with, None at the very start.

    Yields Learned after each step, Preview for each picture of the board, Epoch after each epoch.
    Raises NumericalError (`diverged`) when the loss is no longer finite; the last checkpoint is from before.
    Closing it leaves a checkpoint of the step that was done last.
    """
    training, networks, run = course.training, course.networks, course.run
    parameters = dict(networks.trainable())
    optimizer = torch.optim.AdamW(parameters.values(), lr=training.rate, weight_decay=0.01)
    scaler = torch.amp.GradScaler(networks.device.type, enabled=training.precision == "fp16")
    if told is not None:
        checkpoint.restore(run.checkpoints / f"{progressed.step:07d}", told, parameters, optimizer)
        scaler.load_state_dict(progressed.scaler)
    steps_an_epoch = len(batches(course.cache.lessons, training, epoch=0))
    of = steps_an_epoch * training.epochs
    clock = Clock()

    def save() -> None:
        progressed.scaler = scaler.state_dict()
        checkpoint.save(run.checkpoints, progressed, parameters, optimizer, course.origin)

    saved = progressed.step
    try:
        for epoch in range(len(progressed.epochs), training.epochs):
            order = batches(course.cache.lessons, training, epoch)
            networks.learn(True)
            for lessons in order[progressed.step - epoch * steps_an_epoch :]:
                begun = time.monotonic()
                for group in optimizer.param_groups:
                    group["lr"] = rate_at(progressed.step, of, training.rate)
                with torch.random.fork_rng(devices=_devices(networks)):
                    torch.manual_seed(_seed(training.seed, "step", progressed.step))
                    loss = loss_of(course, lessons, progressed.step)
                    torch.autograd.backward(scaler.scale(loss))
                scaler.unscale_(optimizer)
                norm = torch.nn.utils.clip_grad_norm_(parameters.values(), LONGEST_NORM)
                if not math.isfinite(loss.item()) or not (math.isfinite(norm) or scaler.is_enabled()):
                    saved = progressed.step  # nothing of this step is worth keeping
                    raise _diverged(progressed, run)
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
                progressed.step += 1
                progressed.losses.append(loss.item())
                run.log(progressed.step, loss.item())
                clock.step(time.monotonic() - begun, len(lessons) * (2 if course.cache.classes else 1))
                if progressed.step % steps_an_epoch and progressed.step - saved >= OFTEN:
                    save()
                    saved = progressed.step
                yield Learned(progressed.step, of, clock.left(of - progressed.step), loss.item())
            pictures = yield from _draw_board(course, epoch + 1)
            done = judge(course, epoch + 1, progressed, pictures)
            progressed.epochs.append(done)
            done["best"] = best(progressed.epochs)
            progressed.losses = []
            save()
            saved = progressed.step
            run.keep_epochs(progressed.step, steps_an_epoch)
            run.timed(training, clock.row)
            judged = {name: done[name] for name in ("number", "loss", "held_out", "style", "best")}
            yield Epoch(of=training.epochs, **judged)
    finally:
        if progressed.step != saved:  # paused: nothing that was learned is lost
            save()


def batches(lessons: Sequence[Lesson], training: Training, epoch: int) -> list[list[int]]:
    """Places in `lessons` of each step: rows of one bucket, in an order that the epoch's number decides."""
    rng = random.Random(_seed(training.seed, "order", epoch))
    buckets: dict[object, list[int]] = defaultdict(list)
    for place, lesson in enumerate(lessons):
        buckets[lesson.bucket] += [place] * (lesson.entry.repeats * training.repeats)
    found = []
    for places in buckets.values():
        rng.shuffle(places)
        found += [places[at : at + training.batch] for at in range(0, len(places), training.batch)]
    rng.shuffle(found)
    return found


def rate_at(step: int, of: int, peak: float) -> float:
    warm = max(1, round(of * WARM_UP))
    if step < warm:
        return peak * (step + 1) / warm
    share = (step - warm) / max(1, of - warm)
    return peak * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * share)))


def loss_of(course: Course, places: Sequence[int], step: int) -> Tensor:
    """Of one step. Noise, levels, mirrored and unnamed rows are drawn on the CPU: the same on any device."""
    training, cache = course.training, course.cache
    lessons = [cache.lessons[place] for place in places]
    generator = torch.Generator().manual_seed(_seed(training.seed, "noise", step))
    loss = drawn_loss(course, lessons, generator, training.plain)
    if not cache.classes:
        return loss
    chance = random.Random(_seed(training.seed, "class", step))
    classes = chosen(cache.classes, len(lessons), chance)
    generator.manual_seed(_seed(training.seed, "class noise", step))
    return loss + training.prior_weight * drawn_loss(course, classes, generator, plain=0.0)


def drawn_loss(course: Course, lessons: Sequence[Lesson], generator: torch.Generator, plain: float) -> Tensor:
    """Of these lessons with noise from `generator`. `plain`: share of captions left out."""
    training, networks, cache = course.training, course.networks, course.cache
    count = len(lessons)
    levels = len(networks.schedule.alphas_cumprod)
    # One level from each of `count` equal shares: a batch always spans the whole range.
    shares = (torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)) / count
    times = (shares * levels).long().clamp(max=levels - 1).to(networks.device)
    chance = torch.rand((2, count), generator=generator)
    moments = [
        lesson.moments[int(training.flip and float(chance[0, row]) < 0.5)]
        for row, lesson in enumerate(lessons)
    ]
    mean, std = (torch.stack([pair[place] for pair in moments]) for place in (0, 1))
    blur, noise = (torch.randn(mean.shape, generator=generator).to(networks.device) for _ in range(2))
    shift = torch.randn((count, mean.shape[1], 1, 1), generator=generator).to(networks.device)
    texts = [
        cache.text(networks, "" if float(chance[1, row]) < plain else lesson.caption)
        for row, lesson in enumerate(lessons)
    ]
    return error(course, mean + std * blur, noise + training.offset * shift, times, texts, lessons)


def error(
    course: Course,
    clean: Tensor,
    noise: Tensor,
    times: Tensor,
    texts: Sequence[Text],
    lessons: Sequence[Lesson],
) -> Tensor:
    """Mean squared error of the guess, weighed by min(SNR, gamma): no level of noise drowns the others."""
    networks, gamma = course.networks, course.training.min_snr
    noisy = networks.schedule.add_noise(clean, noise, times)
    shapes = torch.stack([lesson.shape for lesson in lessons])
    guess = predict(networks, noisy, times, texts, shapes)
    velocity = networks.prediction == "v_prediction"
    wanted = networks.schedule.get_velocity(clean, noise, times) if velocity else noise
    if networks.prediction == "sample":
        wanted = clean
    each: Tensor = (guess - wanted).square().mean(dim=(1, 2, 3))
    if not gamma:
        return each.mean()
    kept = networks.schedule.alphas_cumprod.to(times.device)[times]
    ratio = kept / (1 - kept).clamp(min=1e-8)
    weight = ratio.clamp(max=gamma)
    if networks.prediction == "epsilon":
        weight = weight / ratio.clamp(min=1e-8)
    elif velocity:
        weight = weight / (ratio + 1)
    weighed: Tensor = (each * weight).mean()
    return weighed


@torch.no_grad()
def judge(
    course: Course, number: int, progressed: checkpoint.Progressed, pictures: Sequence[Image.Image]
) -> dict[str, Any]:
    """How an epoch did: its own loss, the loss on pictures kept back, and how near the board's look came."""
    losses = []
    for place, lesson in enumerate(course.cache.held_out):
        generator = torch.Generator().manual_seed(_seed(course.training.seed, "held out", place))
        mean, _ = lesson.moments[0]
        clean = mean.expand(len(TIMES), *mean.shape)
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)
        levels = len(course.networks.schedule.alphas_cumprod)
        times = torch.tensor([level * levels // 1000 for level in TIMES], device=clean.device)
        texts = [course.cache.text(course.networks, lesson.caption)] * len(TIMES)
        losses.append(error(course, clean, noise, times, texts, [lesson] * len(TIMES)).item())
    style = None
    if pictures and course.plain is not None:
        style = board.style_score(board.look_of(course.networks, pictures), course.plain, course.look)
    return {
        "number": number,
        "loss": sum(progressed.losses) / max(1, len(progressed.losses)),
        "held_out": sum(losses) / len(losses) if losses else None,
        "style": style,
        "step": progressed.step,
    }


def best(epochs: Sequence[dict[str, float]]) -> int:
    """The epoch to take: the nearest look among those whose loss on pictures kept back is near the lowest.

    5 % above the lowest is where learning by heart begins to show. Without a board the lowest loss decides.
    """
    judged = [epoch for epoch in epochs if epoch["held_out"] is not None]
    lowest = min((epoch["held_out"] for epoch in judged), default=0.0)
    sound = [epoch for epoch in judged if epoch["held_out"] <= 1.05 * lowest] or list(epochs)
    if any(epoch["style"] is None for epoch in sound):
        sound.sort(key=lambda epoch: epoch["held_out"] if judged else -epoch["number"])
        return int(sound[0]["number"])
    return int(max(sound, key=lambda epoch: (round(epoch["style"], 3), epoch["number"]))["number"])


def _draw_board(course: Course, epoch: int) -> Generator[Turn, None, list[Image.Image]]:
    """Yields between its steps, then the pictures as Previews; returns them too."""
    course.networks.learn(False)
    training, pictures = course.training, []
    for drawn in board.draw(
        course.networks, course.cache, course.prompts, training.size, course.guidance, training.seed
    ):
        pictures = drawn or []
        yield None
    for place, picture in enumerate(pictures):
        course.run.keep_board(epoch, place, board.encoded(picture, "PNG"))
        yield Preview(place, board.encoded(picture, "JPEG"))
    return pictures


class Clock:
    """Seconds a step and a row take, of late."""

    def __init__(self) -> None:
        self.row = 0.0
        self._step = 0.0

    def step(self, seconds: float, rows: int) -> None:
        self._step = seconds if not self._step else 0.9 * self._step + 0.1 * seconds
        self.row = seconds / rows if not self.row else 0.9 * self.row + 0.1 * seconds / rows

    def left(self, steps: int) -> float:
        return self._step * steps


def _diverged(progressed: checkpoint.Progressed, run: Run) -> NumericalError:
    last = len(progressed.epochs)
    return NumericalError(
        f"The loss stopped being a number at step {progressed.step + 1}.",
        hint=f"Epoch {last} is the last good one: take it, or train with a lower rate."
        if last
        else "Train with a lower rate.",
        code="diverged",
    )


def _devices(networks: Networks) -> list[torch.device]:
    return [networks.device] if networks.device.type == "cuda" else []


def _seed(seed: int, what: str, number: int) -> int:
    return random.Random(f"{seed} {what} {number}").getrandbits(63)
