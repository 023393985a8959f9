"""What a run will cost in memory and time, told before it begins; one that cannot fit is refused."""

from __future__ import annotations

from studio.errors import DoesNotFit
from studio.executors import Executor
from studio.models import Models
from studio.models.forecast import Forecast, Outlook, Policy, foresee, kind_of, machine_memory, shapes_of
from studio.schema import ResolvedRequest
from studio.settings import Settings


class Outlooks:
    """`settings` bounds memory and rows; `executor` says what its process holds and how fast it was."""

    def __init__(self, settings: Settings, models: Models, executor: Executor) -> None:
        self._settings, self._models, self._executor = settings, models, executor

    def of(self, request: ResolvedRequest) -> Outlook:
        return self._look(request)[0]

    def check(self, request: ResolvedRequest) -> None:
        """Raises DoesNotFit for a run for which the machine is too small, whatever else leaves its memory."""
        outlook, least = self._look(request)
        if not outlook.fits:
            shapes, worker = shapes_of(self._models, request), self._executor.status()
            run = shapes.run(request)
            said, hint = shapes.refusal(
                kind_of(worker.backend, worker.dtype), run, least.policy, worker.process, outlook.there
            )
            raise DoesNotFit(said, hint=hint, field="width")

    def _look(self, request: ResolvedRequest) -> tuple[Outlook, Forecast]:
        worker, shapes = self._executor.status(), shapes_of(self._models, request)
        there = (self._settings.memory_bytes or machine_memory()) if worker.device == "cpu" else 0
        run = shapes.run(request)
        found = foresee(shapes, run, self._settings.rows, worker, there)
        pace = worker.paces.get(f"{request.model} {request.width}x{request.height}")
        seconds = None if pace is None else pace * request.steps * request.count
        fits = not there or found.peak <= there
        rows, tight = min(run.rows, found.policy.rows), found.policy != Policy(self._settings.rows)
        return Outlook(found.peak, there, fits, found.policy.name, tight, rows, seconds), found
