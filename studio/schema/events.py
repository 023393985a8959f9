"""What a run tells: from executor to jobs to doors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Queued:
    position: int  # 0 = next


@dataclass(frozen=True)
class Started:
    pass


@dataclass(frozen=True)
class Progress:
    """Step `step` of `of`, over all pictures of the job. `eta`: seconds left, None while unknown."""

    step: int
    of: int
    eta: float | None


@dataclass(frozen=True)
class Preview:
    """A rough picture of what is coming. `data`: a JPEG of the latents in RGB, some px wide."""

    index: int
    data: bytes


@dataclass(frozen=True)
class Rendered:
    """A finished picture as the executor hands it over. `data`: PNG, no metadata. `seconds`: its own work."""

    index: int
    seed: int
    width: int
    height: int
    data: bytes
    seconds: float
    notes: tuple[str, ...] = ()  # what the engine had to do: "tiled_decode", "float32_decode"
    rows: tuple[int, ...] = ()  # fewest and most UNet rows of its steps, where the executor knows
    checks: tuple[Mapping[str, Any], ...] = ()  # what was looked for in it, what was found and done


@dataclass(frozen=True)
class Picture:
    """A finished picture after the library took it: what doors see instead of `Rendered`."""

    id: str
    index: int
    seed: int
    width: int
    height: int
    seconds: float


@dataclass(frozen=True)
class Learned(Progress):
    """A training step, with the mean loss of its rows."""

    loss: float = 0.0


@dataclass(frozen=True)
class Epoch:
    """An epoch of training ended, and its checkpoint is on disk.

    `loss`: mean of its steps; `held_out`: on pictures kept back. `style`: 0 to 1, how near the look of the
    board is to the set's. `best`: the epoch that would be taken now.
    """

    number: int
    of: int
    loss: float
    held_out: float | None
    style: float | None
    best: int


@dataclass(frozen=True)
class Trained:
    """The finished LoRA is among the studio's: `name` to ask for it by, `epoch` it was taken from."""

    name: str
    run: str
    epoch: int
    bytes: int


@dataclass(frozen=True)
class Done:
    seconds: float


@dataclass(frozen=True)
class Failed:
    error: Mapping[str, Any]  # StudioError.as_dict()


@dataclass(frozen=True)
class Cancelled:
    pass


Event = (
    Queued | Started | Progress | Preview | Rendered | Picture | Epoch | Trained | Done | Failed | Cancelled
)
FINAL: tuple[type, ...] = (Done, Failed, Cancelled)
