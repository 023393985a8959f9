"""What every training stage shares: a rate that warms up and decays, an average of weights, checkpoints."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import distributed, nn

from pocket.muon import split_optimizers


@dataclass
class Budget:
    """How long a stage trains: `steps`, cut short after `minutes` of training time (across resumptions).

    The learning rate follows whichever of the two is further along, so it has always decayed by the end.
    """

    steps: int
    minutes: float
    spent: float = 0.0  # seconds before this start
    started: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        return self.spent + time.monotonic() - self.started

    def share(self, step: int) -> float:
        """How much of the stage is done, 0..1."""
        return min(1.0, max(step / self.steps, self.seconds() / (60 * self.minutes)))


def rate_share(step: int, share: float, warm_up: int, decay_from: float) -> float:
    """The learning rate as a share of its peak: warm-up over `warm_up` steps, flat, then down to 1 %.

    The way down starts when the share `decay_from` of the stage is done; it is linear.
    """
    late = max(0.0, share - decay_from) / (1 - decay_from)
    return min(1.0, (step + 1) / warm_up) * (1 - 0.99 * late)


class Average:
    """Exponential moving average of a module's parameters, warmed up so that early noise is forgotten."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.module = copy.deepcopy(module).requires_grad_(False)

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        keep = min(self.decay, (1 + step) / (10 + step))
        mine, theirs = list(self.module.parameters()), list(module.parameters())
        torch._foreach_mul_(mine, keep)
        torch._foreach_add_(mine, theirs, alpha=1 - keep)


@dataclass
class Trainer:
    """One stage: `module` learns, `average` (if any) is kept, both are saved to `path` every two minutes.

    Started as several workers (torchrun sets RANK and WORLD_SIZE), each takes its own rows and gradients are
    averaged once a step: on busy cores that waits far less than threads that meet at every operation.
    """

    name: str
    module: nn.Module
    path: Path
    budget: Budget
    peak: float = 0.02  # Muon's rate; AdamW gets `adam_peak`
    adam_peak: float = 2e-3
    warm_up: int = 100
    decay_from: float = 0.45
    average: Average | None = None
    step: int = 0
    save_every: float = 120.0  # seconds

    def __post_init__(self) -> None:
        self.optimizers = split_optimizers(self.module, self.peak, self.adam_peak)
        self.peaks = [optimizer.param_groups[0]["lr"] for optimizer in self.optimizers]
        self.trained = [weight for weight in self.module.parameters() if weight.requires_grad]
        if self.path.exists():
            self._load()
        self.workers = int(os.environ.get("WORLD_SIZE", "1"))
        self.worker = int(os.environ.get("RANK", "0"))
        if self.workers > 1 and not distributed.is_initialized():
            distributed.init_process_group("gloo")
        self.share = self.budget.share(self.step)

    @property
    def seed(self) -> int:
        """Differs from worker to worker and from one resumption to the next."""
        return self.step + 1_000_000 * self.worker

    def run(self) -> Iterator[int]:
        """Yields step numbers until the budget is spent; the caller calls `learn(loss)` once for each."""
        saved = time.monotonic()
        while self.share < 1:
            yield self.step
            if time.monotonic() - saved > self.save_every:
                self.save()
                saved = time.monotonic()
        self.save()

    def learn(self, loss: torch.Tensor) -> None:
        """One step of the optimizers on a scalar loss."""
        loss.backward()
        self.share = self.budget.share(self.step)
        if self.workers > 1:
            self._average_gradients()
        share = rate_share(self.step, self.share, self.warm_up, self.decay_from)
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        for optimizer, peak in zip(self.optimizers, self.peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * share
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if self.average:
            self.average.update(self.module, self.step)
        self.step += 1

    def _average_gradients(self) -> None:
        """Over all workers, together with how far the stage is, so that all of them stop at the same step."""
        gradients = [weight.grad for weight in self.trained]
        flat = torch.cat([gradient.flatten() for gradient in gradients] + [torch.tensor([self.share])])
        distributed.all_reduce(flat)
        flat /= self.workers
        self.share = flat[-1].item()
        for gradient, mean in zip(gradients, flat[:-1].split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def report(self, **figures: float) -> None:
        if self.worker:
            return
        text = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
        print(f"{self.name} step {self.step}  {self.budget.seconds() / 60:.1f} min  {text}", flush=True)

    def save(self) -> None:
        if self.worker:
            return
        state = {
            "module": self.module.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "average": self.average.module.state_dict() if self.average else None,
            "step": self.step,
            "seconds": self.budget.seconds(),
        }
        fresh = self.path.with_suffix(".new")
        torch.save(state, fresh)
        fresh.replace(self.path)

    def _load(self) -> None:
        state = torch.load(self.path, weights_only=True)
        self.module.load_state_dict(state["module"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        if self.average:
            self.average.module.load_state_dict(state["average"])
        self.step, self.budget.spent = state["step"], state["seconds"]
