"""One job as the page sees it: events folded into a Scene that a tab can draw at any moment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from studio.schema import Cancelled, Done, Event, Failed, Picture, Preview, Progress, Queued, Started
from studio.studio import Studio

PAUSE = 0.06  # seconds between two drawings of progress; a browser gains nothing from more


@dataclass
class Scene:
    """`previews`: JPEG by picture index. `seconds`: of the whole job, once it is over."""

    job: str
    width: int
    height: int
    count: int
    state: str = "queued"
    ahead: int = 0
    step: int = 0
    of: int = 0
    eta: float | None = None
    previews: dict[int, bytes] = field(default_factory=dict)
    pictures: dict[int, Picture] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    seconds: float | None = None

    @property
    def over(self) -> bool:
        return self.state in {"completed", "failed", "cancelled"}

    def take(self, event: Event) -> None:
        match event:
            case Queued(position=position):
                self.ahead = position
            case Started():
                self.state = "running"
            case Progress(step=step, of=of, eta=eta):
                self.state, self.step, self.of, self.eta = "running", step, of, eta
            case Preview(index=index, data=data):
                self.previews[index] = data
            case Picture(index=index):
                self.pictures[index] = event
            case Done(seconds=seconds):
                self.state, self.seconds = "completed", seconds
            case Failed(error=error):
                self.state, self.error = "failed", dict(error)
            case Cancelled():
                self.state = "cancelled"


def watch(studio: Studio, job: str) -> Iterator[Scene]:
    """The job's scene after each event worth a new drawing, from its first event on.

    Leaving early stops the watching, not the job: a reloaded page watches again.
    """
    request = studio.job(job).request
    scene = Scene(job, request.width, request.height, request.count)
    drawn = 0.0
    with closing(studio.events(job)) as events:
        for _, event in events:
            scene.take(event)
            now = time.monotonic()
            if isinstance(event, Progress) and now - drawn < PAUSE:
                continue
            drawn = now
            yield scene
            if scene.over:
                return
