"""What is left to make of a job: picture i has seed + i, so a stretch of pictures is a request of its own."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace

from studio.schema import MAX_SEED, Event, Preview, Progress, Rendered, ResolvedRequest


@dataclass(frozen=True)
class Part:
    """`first`: index in the job of its first picture. `made`: pictures that are there before it, `of` all."""

    request: ResolvedRequest
    first: int
    made: int
    of: int

    def of_job(self, event: Event) -> Event:
        """An event of this stretch as one of the whole job."""
        if isinstance(event, (Preview, Rendered)):
            return replace(event, index=event.index + self.first)
        if isinstance(event, Progress):
            each = event.of / self.request.count  # steps of one picture
            return Progress(round(self.made * each) + event.step, round(self.of * each), event.eta)
        return event


def missing(request: ResolvedRequest, there: Set[int]) -> list[Part]:
    """The job without the pictures `there`, as stretches of indexes that follow each other."""
    parts: list[Part] = []
    index, made = 0, len(there)
    while index < request.count:
        first = index
        while index < request.count and index not in there:
            index += 1
        if index > first:
            seed = (request.seed + first) % (MAX_SEED + 1)
            changed = {"seed": seed, "count": index - first, "prompts": request.prompts[first:index]}
            stretch = request.model_copy(update=changed)
            parts.append(Part(stretch, first, made, request.count))
            made += index - first
        index += 1
    return parts
