"""What doors show: a job, a picture, the worker, the studio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from studio.schema.requests import Format, ResolvedRequest

State = Literal["queued", "running", "completed", "failed", "cancelled"]


@dataclass(frozen=True)
class WorkerStatus:
    """What the process that holds the models says of itself. Sizes in bytes.

    `resident`: (model, bytes) of those in memory. `memory`: of the device, or the process's RSS on a CPU.
    `rows_per_tick`: mean UNet rows of the last steps. `backend`: this machine's; `backends`: what the next
    picture of each resident model is made with; `measured`: seconds of a step with each row tried.
    `process`: of `memory`, what is not models and runs. `paces`: "MODEL WxH" -> seconds of a UNet call and
    its share of decoding, for one picture, as last seen.
    """

    ready: bool
    device: str = ""
    dtype: str = ""
    resident: tuple[tuple[str, int], ...] = ()
    memory: int = 0
    adapters: tuple[str, ...] = ()
    rows_per_tick: float = 0.0
    backend: str = ""
    backends: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    process: int = 0
    paces: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageRow:
    """A picture of the library. `file`: for reading it, never for showing. `created`: UTC, s since 1970."""

    id: str
    job: str
    index: int
    seed: int
    width: int
    height: int
    format: Format
    file: Path = field(repr=False)
    created: float
    seconds: float
    request: ResolvedRequest
    trashed: bool = False
    notes: tuple[str, ...] = ()
    user: str = "local"
    star: bool = False
    event: int = 0  # number of the event that told of it, 0 where that was not kept


@dataclass(frozen=True)
class JobView:
    """A job as it stands. `progress` 0 to 1. `error`: StudioError.as_dict(). `seconds`: 0 until it ended.

    `cached`: answered with the pictures of an earlier job. `held`: waits until it is let go. `position`: in
    the queue, 0 = next, None when not waiting. `eta`: seconds left, None while unknown. `created`,
    `started`, `ended`: UTC, s since 1970.
    """

    id: str
    state: State
    progress: float
    request: ResolvedRequest
    images: tuple[ImageRow, ...]
    error: Mapping[str, Any] | None
    created: float
    seconds: float
    user: str = "local"
    priority: int = 0
    held: bool = False
    cached: bool = False
    position: int | None = None
    eta: float | None = None
    attempts: int = 0
    started: float | None = None
    ended: float | None = None

    @property
    def final(self) -> bool:
        return self.state in ("completed", "failed", "cancelled")


@dataclass(frozen=True)
class StudioStatus:
    """`images`: in the library, `trashed` ones apart. `ended`: all jobs so far, by how they ended."""

    worker: WorkerStatus
    queued: int
    running: int
    images: int
    trashed: int
    versions: Mapping[str, str]
    ended: Mapping[State, int] = field(default_factory=dict)
