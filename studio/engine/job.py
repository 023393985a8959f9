"""A job inside the engine: its samples, what is done of it, and what its doors hear."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from studio.engine.backends import Networks
from studio.engine.sample import Conditions, Relay, Sample, begin, performed_steps
from studio.engine.weights import ModelBundle
from studio.errors import StudioError
from studio.models.forecast import Forecast, Policy
from studio.schema import Progress, ResolvedRequest

PREVIEW_EVERY = 0.5  # seconds: a person sees no more, and each costs a matmul and a JPEG


@dataclass(eq=False)
class Job:
    """`samples`: begun and not yet finished denoising. `served`: tick at which it last had a turn."""

    id: str
    request: ResolvedRequest
    inputs: Mapping[str, bytes]
    leases: ExitStack = field(default_factory=ExitStack)
    bundle: ModelBundle | None = None
    networks: Networks | None = None
    conditions: Conditions | None = None
    relay: Relay | None = None
    forecast: Forecast | None = None  # from when it is admitted
    samples: list[Sample] = field(default_factory=list)
    begun: int = 0
    ended: int = 0  # pictures that came out or failed
    calls: int = 0  # UNet calls done
    calls_each: int = 0  # UNet calls a picture takes
    served: int = -1
    submitted: float = field(default_factory=time.monotonic)
    started: float = 0.0
    previewed: float = 0.0
    error: StudioError | None = None  # of the first picture that failed

    @property
    def policy(self) -> Policy:
        assert self.forecast is not None
        return self.forecast.policy

    def fill(self) -> None:
        """Begins pictures until a call's samples are in flight, not all of a long job at once."""
        room = self.policy.rows
        assert self.bundle is not None and self.conditions is not None
        while self.begun < self.request.count and len(self.samples) < room:
            sample = begin(
                self.id, self.begun, self.request, self.bundle, self.conditions, self.networks, self.relay
            )
            self.samples.append(sample)
            self.begun += 1
            self.calls_each = sample.calls

    def progress(self) -> Progress:
        """In steps as the person counts them: a scheduler may take one or two UNet calls for each."""
        of = performed_steps(self.request) * self.request.count
        calls = self.calls_each * self.request.count
        spent = time.monotonic() - self.started
        return Progress(self.calls * of // calls, of, spent / self.calls * (calls - self.calls))

    def waited(self) -> float:
        """Seconds since it was submitted."""
        return time.monotonic() - self.submitted

    def wants_preview(self) -> bool:
        return time.monotonic() - self.previewed >= PREVIEW_EVERY
