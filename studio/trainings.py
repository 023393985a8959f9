"""Training runs as the studio keeps them: a line of their own, one after the other, told as events.

A run's folder is the truth: its state survives a restart, and what was under way then goes on by itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from studio.errors import Conflict, NotFound, NotReady, StudioError, WorkerCrashed
from studio.executors import Executor
from studio.library.events import Live
from studio.models import Models
from studio.people import may_see, speaker
from studio.schema import Cancelled, Done, Event, Failed, Learned, Queued
from studio.training import runs
from studio.training.captioner import captioners, captions_of, check_captioner
from studio.training.dataset import (
    Change,
    Clean,
    Dataset,
    change_dataset,
    keep_dataset,
    list_datasets,
    load_dataset,
    picture_file,
)
from studio.training.frames import Pair, pairs
from studio.training.origins import Verify
from studio.training.plan import Places, Plan, begin, check_name, plan
from studio.training.request import Training, TrainRequest
from studio.training.runs import Run

log = logging.getLogger(__name__)

MINE = "studio"  # runs that the studio trains; those of the command line are left to it
ATTEMPTS = 2  # of a run whose worker died
PATIENCE = 3.0  # s that closing waits for the run under way to pause
OPEN = ("queued", "running")


@dataclass(frozen=True)
class RunView:
    """A run as it stands. `state`: queued, running, paused, completed, failed. `position`: 0 = next.

    `epochs`: what each one ended with. `best`: the epoch that was or would be taken, 0 = none yet.
    """

    id: str
    state: str
    training: Training
    step: int
    of: int
    eta: float | None
    position: int | None
    epochs: tuple[Mapping[str, Any], ...]
    best: int
    lora: str
    error: Mapping[str, Any] | None
    created: float
    user: str

    @property
    def final(self) -> bool:
        return self.state not in OPEN


class Trainings:
    """`clean` reads a picture of a stranger's, elsewhere; `verify` its marks and content credentials."""

    def __init__(
        self, home: Path, models: Models, executor: Executor, clean: Clean, verify: Verify | None = None
    ) -> None:
        self._places, self._models, self._executor = Places(home), models, executor
        self._clean, self._verify = clean, verify
        self._captioners = home / "models"
        self._wake = threading.Condition()
        self._alive: dict[str, Live] = {}
        self._progress: dict[str, Learned] = {}
        self._pausing: set[str] = set()
        self._current = ""  # id of the run that is trained now
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """What was under way when the studio stopped waits in the line again."""
        for run in runs.list_runs(self._places.runs):
            if run.told.get("by") == MINE and run.told.get("state") == "running":
                run.note(state="queued")
        self._thread = threading.Thread(target=self._serve, name="trainings", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """The run under way pauses and goes on at the next start. Call before the executor is closed."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join(PATIENCE)

    # --- sets ---

    def keep(self, source: Path, name: str, model: str | None = None, **judging: Any) -> Dataset:
        """A folder or ZIP of pictures as a set. Raises what `keep_dataset` does."""
        row = self._models.get(model if model is not None else self._models.default())
        user = speaker.get().name
        return keep_dataset(
            source, self._places.datasets, self._clean, name=name, size=row.size, user=user,
            verify=self._verify, **judging,
        )  # fmt: skip

    def change(self, id: str, change: Change) -> Dataset:
        """A new version of a set: other captions, split, licence. Raises what `change_dataset` does."""
        return change_dataset(self._places.datasets, self.dataset(id), change)

    def captioners(self) -> Sequence[str]:
        """Names of models at hand that write captions."""
        return captioners(self._captioners)

    def caption(self, id: str, captioner: str, everything: bool = False) -> Generator[int, None, Dataset]:
        """A new version of a set whose pictures have captions by a model; yields how many it has written.

        `everything`: those that have a caption too. Raises NotFound, EngineError.
        """
        dataset = self.dataset(id)
        check_captioner(self._captioners, captioner)
        rows = [entry for entry in dataset.used if everything or not entry.caption]
        files = [picture_file(self._places.datasets, dataset, entry) for entry in rows]
        written: dict[str, str] = {}
        with closing(captions_of(self._captioners, captioner, files)) as captions:
            for entry, caption in zip(rows, captions, strict=False):
                written[entry.name] = caption
                yield len(written)
        return change_dataset(self._places.datasets, dataset, Change(written))

    def frames(self, id: str, model: str | None = None, most: int = 12) -> Iterator[Pair]:
        """Pictures of a set before and after crop and scaling, those first that lose most."""
        row = self._models.get(model if model is not None else self._models.default())
        return pairs(self._places.datasets, self.dataset(id), row.size, row.folder, most)

    def dataset(self, id: str) -> Dataset:
        """Raises NotFound (`dataset_not_found`), also for one of somebody else's."""
        found = load_dataset(self._places.datasets, id)
        if not may_see(found.user):
            raise NotFound("No such training set.", code="dataset_not_found")
        return found

    def datasets(self) -> Sequence[Dataset]:
        return [one for one in list_datasets(self._places.datasets) if may_see(one.user)]

    def picture(self, dataset: str, file: str) -> bytes:
        """A picture of a set. Raises NotFound."""
        found = self.dataset(dataset)
        if file not in {entry.file for entry in found.entries if entry.file}:
            raise NotFound("The set has no such picture.", code="image_not_found")
        return (self._places.datasets / dataset / "pictures" / file).read_bytes()

    # --- runs ---

    def plan(self, request: TrainRequest) -> Plan:
        """The request with nothing left open, and what it will take. Raises NotFound."""
        self.dataset(request.dataset)
        if request.prior_set:
            self.dataset(request.prior_set)
        return plan(request, self._models, self._places, self._models.default())

    def submit(self, request: TrainRequest) -> RunView:
        """On disk when it returns. Raises NotFound, BadRequest (`bad_name`), Conflict for a name taken."""
        check_name(self._models, request.name)
        facts = {"by": MINE, "state": "queued", "user": speaker.get().name}
        run = begin(self.plan(request), self._places, facts)
        self._queue(run)
        return self.get(run.id)

    def list(self) -> Sequence[RunView]:
        """Newest first."""
        views = [self._view(run) for run in runs.list_runs(self._places.runs)]
        return [view for view in views if may_see(view.user)]

    def get(self, id: str) -> RunView:
        """Raises NotFound (`run_not_found`)."""
        return self._view(self._find(id))

    def losses(self, id: str) -> Sequence[tuple[int, float]]:
        """(step, loss) of every step so far."""
        return self._find(id).losses()

    def board(self, id: str, epoch: int) -> Sequence[bytes]:
        """PNGs drawn after an epoch; 0 = before training."""
        return [file.read_bytes() for file in self._find(id).board(epoch)]

    def events(self, id: str, after: int = 0) -> Generator[tuple[int, Event]]:
        """Numbered, up to the one that ends or pauses it; of a run that is not under way only that."""
        view = self.get(id)
        with self._wake:
            live = self._alive.get(view.id)
            if live is None and not view.final:  # waits since the studio's start: nothing was told yet
                live = self._alive.setdefault(view.id, Live())
        if live is not None:
            return live.follow(after)
        ending: Event = Failed(view.error) if view.error else Cancelled()
        return _only((after + 1, Done(0.0) if view.state == "completed" else ending))

    def pause(self, id: str) -> RunView:
        """Nothing that was learned is lost. Raises Conflict for a run that is not under way."""
        run = self._find(id)
        with self._wake:
            state = self._state(run)
            if state not in OPEN:
                raise Conflict(f"The training is {state}.", hint="Only one that runs or waits can pause.")
            if state == "running":
                self._pausing.add(run.id)
            else:
                run.note(state="paused")
                self._publish(run.id, Cancelled())
        return self.get(run.id)

    def resume(self, id: str, epoch: int | None = None) -> RunView:
        """Goes on where it was, or at the end of an earlier epoch. Raises Conflict while it is under way."""
        run = self._find(id)
        with run.alone():
            if run.told.get("state") == "queued":
                raise Conflict("The training waits in the line already.")
            if epoch is not None:
                run.roll_back(epoch)
        run.note(by=MINE, state="queued", error=None, attempts=0)
        self._queue(run)
        return self.get(run.id)

    def _find(self, id: str) -> Run:
        run = runs.find(self._places.runs, id)
        if not may_see(str(run.told.get("user", "local"))):
            raise runs.not_found()
        return run

    def _queue(self, run: Run) -> None:
        with self._wake:
            self._pausing.discard(run.id)
            self._alive[run.id] = Live()
            self._alive[run.id].publish(Queued(max(0, len(self._line()) - 1)))
            self._wake.notify_all()

    def _line(self) -> Sequence[Run]:
        """Runs that wait, the one that waits longest first."""
        waiting = [run for run in runs.list_runs(self._places.runs) if run.told.get("state") == "queued"]
        return list(reversed(waiting))

    def _state(self, run: Run) -> str:
        """Running from the moment it left the line, though the worker may still be reading the model."""
        told = run.state
        return "running" if told == "paused" and run.id == self._current else told

    def _view(self, run: Run) -> RunView:
        told, epochs = run.told, run.epochs()
        state = self._state(run)
        learned = self._progress.get(run.id)
        step = learned.step if learned else epochs[-1]["step"] if epochs else 0
        training = run.training
        of = learned.of if learned else 0
        if not of and epochs:
            of = epochs[-1]["step"] // epochs[-1]["number"] * training.epochs
        line = [one.id for one in self._line()] if state == "queued" else []
        return RunView(
            id=run.id, state=state, training=training, step=step, of=of,
            eta=learned.eta if learned and state == "running" else None,
            position=line.index(run.id) if run.id in line else None,
            epochs=tuple(epochs), best=int(told.get("epoch") or (epochs[-1]["best"] if epochs else 0)),
            lora=str(told.get("lora", "")), error=told.get("error"), created=told["created"],
            user=str(told.get("user", "local")),
        )  # fmt: skip

    # --- the thread ---

    def _serve(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._stopping or bool(self._line()))
                if self._stopping:
                    return
                run = self._line()[0]
                self._current = run.id  # first: who looks in between must not see it paused
                run.note(state="running")
            try:
                self._train(run)
            except Exception:
                log.exception("training %s could not be brought to an end", run.id)
                self._fail(run, StudioError("The training failed; the log says why.", code="internal"))
            finally:
                self._current = ""

    def _train(self, run: Run) -> None:
        try:
            with closing(cast("Generator[Event]", self._executor.train(run.id))) as events:
                for event in events:
                    if isinstance(event, Learned):
                        self._progress[run.id] = event
                    if isinstance(event, Done):
                        run.note(state="completed", error=None)
                    self._publish(run.id, event)
                    if self._stopping or run.id in self._pausing or isinstance(event, Done):
                        break
        except NotReady:
            run.note(state="queued")  # the studio stops: at its next start it goes on
            return
        except WorkerCrashed as error:
            attempts = int(run.told.get("attempts") or 0) + 1
            if attempts >= ATTEMPTS:
                return self._fail(run, error)
            run.note(state="queued", attempts=attempts)
            return
        except StudioError as error:
            return self._fail(run, error)
        self._settle(run)

    def _settle(self, run: Run) -> None:
        if run.told["state"] == "completed":
            return
        with self._wake:
            paused = run.id in self._pausing
            self._pausing.discard(run.id)
        run.note(state="paused" if paused else "queued")
        self._current = ""
        if paused:
            self._publish(run.id, Cancelled())

    def _fail(self, run: Run, error: StudioError) -> None:
        run.note(state="failed", error=error.as_dict())
        self._publish(run.id, Failed(error.as_dict()))

    def _publish(self, id: str, event: Event) -> None:
        with self._wake:
            live = self._alive.setdefault(id, Live())
        live.publish(event)


def _only(event: tuple[int, Event]) -> Generator[tuple[int, Event]]:
    yield event
