"""Models on their way from the hub: one download at a time, each with progress, cancel and resume."""

from __future__ import annotations

import logging
import queue
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal

from studio.errors import Conflict, EngineError, NotFound, StudioError
from studio.models.controls import checked_control
from studio.models.hub import Hub, Plan
from studio.models.intake import Added, add
from studio.models.models import Models

log = logging.getLogger(__name__)

PullState = Literal["queued", "running", "completed", "failed", "cancelled"]
KEPT = 20  # ended ones that are still told of
NAMELESS = ("diffusion_pytorch_model", "pytorch_lora_weights")  # files that every tool calls so


@dataclass(frozen=True)
class PullView:
    """`done`, `of` in bytes. `seconds`: since it began to run. `error`: as StudioError.as_dict."""

    id: str
    source: str
    model: str
    revision: str
    state: PullState
    done: int
    of: int
    seconds: float
    error: Mapping[str, Any] | None


@dataclass
class _Pull:
    id: str
    plan: Plan
    model: str
    control: str | None
    state: PullState = "queued"
    done: int = 0
    began: float = 0.0
    ended: float = 0.0
    error: StudioError | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)

    def view(self) -> PullView:
        spent = (self.ended or time.monotonic()) - self.began if self.began else 0.0
        error = None if self.error is None else self.error.as_dict()
        source, revision, size = self.plan.id, self.plan.revision, self.plan.size
        return PullView(self.id, source, self.model, revision, self.state, self.done, size, spent, error)


def name_of(plan: Plan) -> str:
    """What it is called when nobody says: the file's stem, or the repository's name."""
    stem = plan.file.rpartition("/")[2].removesuffix(".safetensors")
    return plan.id.partition("/")[2] if not stem or stem.startswith(NAMELESS) else stem


def pull(
    models: Models, hub: Hub, plan: Plan, name: str, control: str | None = None
) -> Generator[int, None, Added]:
    """Fetches, judges and takes in. Yields bytes there so far; close it to stop, call it again to go on.

    `control`: see `add`. What is not taken in stays where it is.
    """
    checked_control(control)
    models.check_free(name)
    place = models.settings.home / "models" / f".pull-{plan.id.replace('/', '--')}-{plan.revision[:12]}"
    with closing(hub.fetch(plan, place)) as parts:
        yield from parts
    notes = {"source": plan.id, "revision": plan.revision}
    added = add(models, place / plan.file if plan.file else place, name, control, notes)
    shutil.rmtree(place, ignore_errors=True)
    return added


class Pulls:
    """`hub`: made anew for each pull, so that a token set meanwhile counts. Thread-safe."""

    def __init__(self, models: Models, hub: Callable[[], Hub] = Hub.from_environment) -> None:
        self._models, self._hub = models, hub
        self._pulls: dict[str, _Pull] = {}
        self._queue: queue.SimpleQueue[tuple[_Pull, Hub] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self, asked: str, name: str | None = None, control: str | None = None) -> PullView:
        """Asks the hub what there is, and queues the download. `control`: see `add`.

        Raises what Hub.plan does, BadRequest (`control_unknown`) and Conflict.
        """
        checked_control(control)
        hub = self._hub()
        plan = hub.plan(asked)
        model = self._models.check_free(name or name_of(plan))
        with self._lock:
            for other in self._pulls.values():
                if other.state in ("queued", "running") and (other.model == model or other.plan == plan):
                    raise Conflict(f"{other.plan.id} is on its way already.", code="pull_running")
            made = _Pull(secrets.token_hex(8), plan, model, control)
            self._pulls[made.id] = made
            self._forget()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="pulls", daemon=True)
                self._thread.start()
        self._queue.put((made, hub))
        return made.view()

    def list(self) -> list[PullView]:
        """Newest first."""
        with self._lock:
            return [pull.view() for pull in reversed(self._pulls.values())]

    def get(self, id: str) -> PullView:
        return self._found(id).view()

    def cancel(self, id: str) -> PullView:
        """What was fetched stays, so that a new pull goes on there. Raises NotFound, Conflict."""
        found = self._found(id)
        if found.state not in ("queued", "running"):
            raise Conflict(f"This download has ended: {found.state}.")
        found.cancelled.set()
        if found.state == "queued":
            found.state = "cancelled"
        return found.view()

    def close(self) -> None:
        with self._lock:
            thread = self._thread
            for found in self._pulls.values():
                found.cancelled.set()
        if thread is not None:
            self._queue.put(None)
            thread.join(timeout=5)

    def _found(self, id: str) -> _Pull:
        with self._lock:
            if id not in self._pulls:
                raise NotFound("No such download.", code="pull_not_found")
            return self._pulls[id]

    def _forget(self) -> None:
        ended = [key for key, pull in self._pulls.items() if pull.state not in ("queued", "running")]
        for key in ended[: max(0, len(ended) - KEPT)]:
            del self._pulls[key]

    def _work(self) -> None:
        while (entry := self._queue.get()) is not None:
            found, hub = entry
            if not found.cancelled.is_set():
                self._run(found, hub)

    def _run(self, found: _Pull, hub: Hub) -> None:
        found.state, found.began = "running", time.monotonic()
        end: PullState = "completed"
        try:
            with closing(pull(self._models, hub, found.plan, found.model, found.control)) as parts:
                for found.done in parts:
                    if found.cancelled.is_set():
                        end = "cancelled"
                        break
        except StudioError as error:
            found.error, end = error, "failed"
        except Exception:
            log.exception("a download failed")
            found.error, end = EngineError("The download failed.", hint="See the studio's log."), "failed"
        found.ended = time.monotonic()
        found.state = end
