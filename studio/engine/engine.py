"""The engine: jobs become samples, samples move step by step in groups, pictures come out."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from studio.engine import memory, preview, weights
from studio.engine.backends import choose
from studio.engine.backends.networks import numbered
from studio.engine.backends.trial import Trial
from studio.engine.backends.workshop import Workshop
from studio.engine.components import Components
from studio.engine.conditions import Conditioner
from studio.engine.copying import Copier
from studio.engine.decode import Decoder, Finished
from studio.engine.denoise import Batch, advance, batch, step
from studio.engine.job import Job
from studio.engine.plan import Planner, together
from studio.engine.residency import Residency
from studio.engine.safety_checker import SafetyChecker
from studio.engine.sample import Relay, Sample
from studio.engine.turns import Key, next_group
from studio.errors import EngineError, OutOfMemory, StudioError
from studio.models.forecast import kind_of
from studio.schema import (
    Cancelled,
    Done,
    Event,
    Failed,
    Preview,
    Rendered,
    ResolvedRequest,
    Started,
    WorkerStatus,
)
from studio.settings import Settings

if TYPE_CHECKING:
    from studio.models import Models

log = logging.getLogger(__name__)

PATIENCE = 20.0  # seconds a job waits for memory while later ones with a model that is there pass it

PACES = 100  # models and sizes whose time is remembered


class Engine:
    """`submit` and `cancel` may be called from any thread, all else from the one that calls `tick`."""

    def __init__(self, settings: Settings, models: Models) -> None:
        self.settings, self.models = settings, models
        self.device = weights.pick_device(settings.device)
        if settings.memory_bytes:
            memory.hold_back()
        self.choice = choose(settings, self.device)
        self.dtype = self.choice.dtype
        self._workshop, self._trial = Workshop(settings, self.choice), Trial(settings, self.choice)
        self.planner = Planner(settings, models, self.device, kind_of(self.choice.name, numbered(self.dtype)))
        # Networks in 8 bits are not told from others by their names and shapes: each model has its own.
        self._eight = self.choice.name == "int8"
        self._components = None if self._eight else Components(models.hashes)
        self._copier = Copier(models.copies, models.networks) if self.dtype.itemsize == 2 else None
        if self._copier is not None:
            self._copier.start()
        self._residency = Residency(
            load=self._load,
            need=self._need,
            budget=self.planner.budget,
            stamp=models.get,  # the row tells of ControlNets that came, and of a model put in another's place
        )
        self._conditioner = Conditioner(models)
        self._decoder = Decoder(self.device, SafetyChecker(settings.safety_checker, self.device))
        self._inbox: deque[Job | str] = deque()  # a job, or the id of one to cancel
        self._waiting: list[Job] = []
        self._running: dict[str, Job] = {}
        self._decoding: dict[Future[Finished], tuple[Job, Sample]] = {}
        self._batch: Batch | None = None
        self._rows: dict[Key, int] = {}  # groups that ran out of memory: rows that fit
        self._ticks = 0
        self._paces: dict[str, float] = {}
        self._recent: deque[int] = deque(maxlen=50)  # rows of the last ticks
        self._events: list[tuple[str, Event]] = []

    def load(self, model: str) -> None:
        """Brings `model` into memory. Raises NotFound, OutOfMemory, EngineError."""
        with self._residency.lease(model):
            pass

    def try_backends(self) -> None:
        """Beside serving and for the next start: whether one that takes long to make is faster here."""
        if self.device.type == "cpu":
            self._trial.start()

    def _need(self, name: str) -> int:
        if self._eight:
            return self.models.shapes(name).weights(kind_of("int8", numbered(self.dtype)))
        return weights.bytes_needed(self.models.get(name).folder, self.dtype, self.device, self._components)

    def _load(self, name: str) -> weights.ModelBundle:
        row = self.models.get(name)
        bundle = weights.load(row, self.device, self.dtype, self._components, self._eight, self._copier)
        memory.trim()  # what reading left behind
        self._workshop.take(row, bundle)
        return bundle

    def submit(self, job: str, request: ResolvedRequest, inputs: Mapping[str, bytes]) -> None:
        self._inbox.append(Job(job, request, inputs))

    def cancel(self, job: str) -> None:
        """Takes effect before the next step. A job that is unknown or has ended is left alone."""
        self._inbox.append(job)

    def tick(self) -> list[tuple[str, Event]]:
        """One step of one group; [] when idle. Failed jobs come out as Failed, nobody else notices.

        Raises only when the device itself is no longer usable (a CUDA error): then the process has to end.
        """
        with torch.inference_mode():
            self._take_inbox()
            self._admit()
            for job in list(self._running.values()):
                self._fill(job)
            apart = any(not job.policy.beside for job in self._running.values())
            group = [] if apart and self._decoding else next_group(self._running.values(), self._rows)
            if group:
                self._ticks += 1
                self._recent.append(sum(sample.rows for sample in group))
                self._run(group)
        self._collect(pause=0.0 if group else 0.05)
        events, self._events = self._events, []
        return events

    def idle(self) -> bool:
        return not (self._inbox or self._waiting or self._running or self._events)

    def status(self) -> WorkerStatus:
        bundles = self._residency.bundles()
        return WorkerStatus(
            ready=any(bundle.name == self.settings.model for bundle in bundles),
            device=str(self.device),
            dtype=str(self.dtype).removeprefix("torch."),
            backend=self.choice.name,
            backends={bundle.name: self._workshop.networks(bundle).name for bundle in bundles},
            measured=self.choice.seconds,
            resident=tuple((bundle.name, bundle.bytes) for bundle in bundles),
            memory=memory.used(self.device),
            adapters=self._conditioner.adapters(bundles),
            rows_per_tick=sum(self._recent) / len(self._recent) if self._recent else 0.0,
            versions=memory.versions(),
            process=self.planner.process,
            paces=dict(self._paces),
        )

    def close(self) -> None:
        self._workshop.close()
        self._trial.close()
        self._decoder.close()
        if self._copier is not None:
            self._copier.close()

    # --- jobs in and out ---

    def _take_inbox(self) -> None:
        while self._inbox:
            entry = self._inbox.popleft()
            if isinstance(entry, Job):
                self._waiting.append(entry)
            else:
                self._cancel(entry)

    def _cancel(self, name: str) -> None:
        found = self._running.get(name) or next((job for job in self._waiting if job.id == name), None)
        if found is not None:
            self._end(found, Cancelled())

    def _admit(self) -> None:
        for job in list(self._waiting):
            try:
                forecasts = [other.forecast for other in self._running.values() if other.forecast]
                work = together([*forecasts, self.planner.lowest(job.request)])
                refiner = job.request.refiner
                names = (job.request.model, *([refiner.model] if refiner else ()))
                if self._residency.must_wait(names, work):
                    if job.waited() > PATIENCE:
                        return  # nobody passes it any more, so that the models in use come free
                    continue
                self.planner.check(job.request, self._residency.bytes)
                job.bundle, *then = (
                    job.leases.enter_context(self._residency.lease(name, work)) for name in names
                )
                job.forecast = self.planner.choose(job.request, self._residency.room(), forecasts)
                job.conditions = self._conditioner.prepare(
                    job.request, job.inputs, job.bundle, self._running.values()
                )
                for bundle in then:
                    conditions = self._conditioner.refine(job.request, bundle)
                    job.relay = Relay(bundle, self._workshop.networks(bundle), conditions)
            except Exception as error:
                self._end(job, Failed(_explained(error, self.device).as_dict()))
                continue
            job.networks = self._workshop.networks(job.bundle)
            self._waiting.remove(job)
            self._running[job.id] = job
            job.inputs = {}  # read; a long job need not hold megabytes of uploads
            job.started = time.monotonic()
            self._tell(job, Started())

    def _fill(self, job: Job) -> None:
        try:
            job.fill()
        except Exception as error:
            self._end(job, Failed(_explained(error, self.device).as_dict()))

    def _end(self, job: Job, event: Event) -> None:
        """`job` leaves, whatever state it is in."""
        if job in self._waiting:
            self._waiting.remove(job)
        self._running.pop(job.id, None)
        self._decoding = {future: pair for future, pair in self._decoding.items() if pair[0] is not job}
        job.leases.close()
        if not self._running:
            self._rows.clear()  # the next job has the memory to itself, and the bytes it would have had
        self._batch = None  # it holds samples, and they hold memory
        self._tell(job, event)

    def _tell(self, job: Job, event: Event) -> None:
        self._events.append((job.id, event))

    # --- steps ---

    def _run(self, samples: list[Sample]) -> None:
        """One step for `samples`. A fault is narrowed down to its sample; the others get their step."""
        started = time.monotonic()
        try:
            noise = advance(self._batched(samples))
        except Exception as error:
            if memory.ran_out(error):
                self._retry_smaller(samples, error)
                return
            if len(samples) == 1:
                self._fail(samples[0], error)
                return
            for sample in samples:
                self._run([sample])
            return
        previews, rows = self._due_previews(samples), sum(sample.rows for sample in samples)
        for sample, predicted in zip(self._batched(samples).samples, noise.chunk(len(samples)), strict=True):
            self._step(sample, predicted, foresee=sample in previews)
        share = (time.monotonic() - started) / len(samples)
        for sample in samples:
            sample.seconds += share
            sample.note_call(rows)
        self._report(samples, previews)

    def _batched(self, samples: list[Sample]) -> Batch:
        """The last batch again while the same samples go on together: its tensors are already in place."""
        key, rows = samples[0].key, sum(sample.rows for sample in samples)
        held = self._batch
        if held is None or held.key != key or len(held.order) != rows or set(held.samples) != set(samples):
            held = self._batch = batch(samples)
        return held

    def _retry_smaller(self, samples: list[Sample], error: Exception) -> None:
        self._batch = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if len(samples) == 1:
            self._fail(samples[0], error)
            return
        half = len(samples) // 2
        self._rows[samples[0].key] = sum(sample.rows for sample in samples[:half])
        self._run(samples[:half])
        self._run(samples[half:])

    def _step(self, sample: Sample, predicted: Tensor, foresee: bool) -> None:
        try:
            step(sample, predicted, foresee)
        except Exception as error:
            self._fail(sample, error)
            return
        job = self._running[sample.job]
        job.calls += 1
        job.served = self._ticks
        if sample.done:
            job.samples.remove(sample)
            self._decoding[self._decoder.start(sample, job.policy.tile)] = (job, sample)

    def _fail(self, sample: Sample, error: Exception) -> None:
        """`sample` is lost; the other pictures of its job go on, and the job ends as failed after them."""
        job = self._running.get(sample.job)
        if job is None:
            return
        job.samples.remove(sample)
        self._ended(job, _explained(error, self.device, sample))

    def _ended(self, job: Job, error: StudioError | None = None) -> None:
        job.ended += 1
        job.error = job.error or error
        if job.ended == job.request.count:
            event = (
                Done(time.monotonic() - job.submitted) if job.error is None else Failed(job.error.as_dict())
            )
            self._end(job, event)

    def _due_previews(self, samples: list[Sample]) -> list[Sample]:
        """The first sample in flight of each job that has not shown one for a while."""
        firsts = {sample.job: sample for sample in reversed(samples)}
        return [sample for name, sample in firsts.items() if self._running[name].wants_preview()]

    def _report(self, samples: list[Sample], previews: list[Sample]) -> None:
        for name in dict.fromkeys(sample.job for sample in samples):
            job = self._running.get(name)
            if job is not None and job.calls:
                self._tell(job, job.progress())
        for sample in previews:
            job = self._running.get(sample.job)
            if job is not None and sample.guess is not None:
                data = preview.picture(sample.guess[0], sample.bundle.factors, sample.bundle.factor)
                job.previewed, sample.guess = time.monotonic(), None
                self._tell(job, Preview(sample.index, data))

    def _collect(self, pause: float) -> None:
        """Takes finished pictures; waits up to `pause` seconds for one when there is nothing else to do."""
        if self._decoding and pause:
            wait(self._decoding, pause, return_when="FIRST_COMPLETED")
        for future in [future for future in self._decoding if future.done()]:
            job, sample = self._decoding.pop(future)
            try:
                done = future.result()
            except Exception as error:
                self._ended(job, _explained(error, self.device, sample))
                continue
            seconds = sample.seconds + done.seconds
            self._note_pace(sample, seconds)
            self._tell(
                job,
                Rendered(
                    sample.index,
                    sample.seed,
                    done.width,
                    done.height,
                    done.png,
                    seconds,
                    done.notes,
                    sample.batch,
                    done.checks,
                ),  # fmt: skip
            )
            self._ended(job)

    def _note_pace(self, sample: Sample, seconds: float) -> None:
        request = sample.request
        if len(self._paces) > PACES:
            self._paces.clear()
        key = f"{request.model} {request.width}x{request.height}"
        self._paces[key] = seconds / sample.calls


def _explained(error: Exception, device: torch.device, sample: Sample | None = None) -> StudioError:
    """`error` as one of ours. Raises it when the device is lost: every later job would fail too."""
    if isinstance(error, StudioError):
        return error
    if memory.ran_out(error):
        what = f"{sample.request.width} x {sample.request.height} px" if sample else "This run"
        return OutOfMemory(
            f"{what} did not fit in memory; {memory.in_use(device)}.",
            hint="Ask for a smaller picture or a smaller model.",
        )
    if isinstance(error, torch.AcceleratorError):
        raise error
    log.exception("a run failed", exc_info=error)
    return EngineError(
        f"The run failed inside the engine ({type(error).__name__}).", hint="See the studio's log."
    )
