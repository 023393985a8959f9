"""Where a request runs: one file and one row each. Only `inline` brings torch into this process."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from studio.errors import BadRequest
from studio.executors.fake import FakeExecutor
from studio.executors.inline import InlineExecutor
from studio.executors.local import LocalExecutor
from studio.schema import Event, ResolvedRequest, WorkerStatus, nearest_names
from studio.settings import Settings

if TYPE_CHECKING:
    from studio.models import Models

__all__ = ["Executor", "FakeExecutor", "InlineExecutor", "LocalExecutor", "make_executor"]


class Executor(Protocol):
    def start(self) -> None:
        """Begins loading the default model; returns at once."""

    def ready(self) -> bool:
        """True when the default model is in memory."""

    def run(self, request: ResolvedRequest, inputs: Mapping[str, bytes]) -> Generator[Event]:
        """Started, then Progress, Preview and Rendered as they come, then Done.

        `inputs`: picture id -> encoded bytes for what the request names. Raises StudioError where an engine
        says Failed. Nothing runs before the first `next`; closing the generator cancels within one step.
        Called from several threads at once.
        """

    def train(self, training: str) -> Iterator[Event]:
        """As `run`, of a training by its folder's id: Started, Progress, Preview, Epoch, Trained, Done.

        Closing the generator pauses it: what was learned is on disk.
        """

    def status(self) -> WorkerStatus: ...

    def close(self) -> None:
        """Ends within 2 s; runs that are under way raise NotReady."""


EXECUTORS: Mapping[str, Callable[[Settings, Models], Executor]] = {
    "local": lambda settings, models: LocalExecutor(settings),
    "inline": InlineExecutor,
    "fake": lambda settings, models: FakeExecutor(float(settings.executor.partition(":")[2] or 0)),
}


def make_executor(settings: Settings, models: Models) -> Executor:
    """The one that `settings.executor` names. Raises BadRequest for another word."""
    name = settings.executor.partition(":")[0]
    if name not in EXECUTORS:
        hint = nearest_names(name, EXECUTORS)
        raise BadRequest(f"No executor {name!r}.", hint=hint, field="executor")
    return EXECUTORS[name](settings, models)
