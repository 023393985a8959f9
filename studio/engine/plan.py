"""How each job is run so that it fits: the fastest policy whose forecast there is room for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from studio.engine import memory
from studio.errors import OutOfMemory
from studio.models.forecast import CODE, SPARE, Forecast, policies, shapes_of
from studio.schema import ResolvedRequest
from studio.settings import Settings

if TYPE_CHECKING:
    from studio.models import Models


class Planner:
    def __init__(self, settings: Settings, models: Models, device: torch.device, kind: str) -> None:
        """`kind`: of the numbers, see kind_of."""
        self._asked, self._models, self._device = settings.memory_bytes, models, device
        self._dtype = kind
        self.process = memory.process(device)
        self.ladder = tuple(policies(settings.rows))  # fastest first

    def budget(self, resident: int) -> int:
        """Bytes for models and runs; `resident`: what models hold now."""
        overhead = self.process + CODE if self.process else 0
        return memory.budget(self._asked, self._device, resident, overhead)

    def lowest(self, request: ResolvedRequest) -> Forecast:
        """With the smallest policy."""
        shapes = shapes_of(self._models, request)
        return shapes.forecast(self._dtype, shapes.run(request), self.ladder[-1], self.process)

    def choose(self, request: ResolvedRequest, room: int, running: Iterable[Forecast]) -> Forecast:
        """The first of the ladder that fits beside what is running, else the last."""
        shapes, others = shapes_of(self._models, request), tuple(running)
        run = shapes.run(request)
        for policy in self.ladder:
            found = shapes.forecast(self._dtype, run, policy, self.process)
            if together((*others, found)) <= room:
                return found
        return self.lowest(request)

    def check(self, request: ResolvedRequest, resident: int) -> None:
        """Raises OutOfMemory where model and run cannot fit with the smallest policy, whoever else leaves."""
        least, room = self.lowest(request), self.budget(resident)
        if least.weights + least.work > room:
            shapes, overhead = shapes_of(self._models, request), least.process
            said, hint = shapes.refusal(
                self._dtype, shapes.run(request), self.ladder[-1], overhead - CODE, room + overhead
            )
            raise OutOfMemory(said, hint=hint)


def together(forecasts: Iterable[Forecast]) -> int:
    """Bytes that runs side by side take beyond the models."""
    found = tuple(forecasts)
    if not found:
        return 0
    call, draw = max(one.call for one in found), max(one.draw for one in found)
    apart = any(not one.policy.beside for one in found)
    overlap = not apart and (len(found) > 1 or found[0].overlap)
    return int(SPARE * (call + draw if overlap else max(call, draw)))
