"""Whose turn it is: the group that waited longest, and inside it the jobs that waited longest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from studio.engine.job import Job
from studio.engine.sample import Sample

Key = tuple[object, ...]


def next_group(jobs: Iterable[Job], rows: Mapping[Key, int]) -> list[Sample]:
    """Samples for the coming tick: equal keys, no more rows than each one's job may be in a call with.

    `rows`: of a group that ran out of memory, the rows that fit.

    Which key: that of the job that has waited longest. Which samples: a first one of each job, longest wait
    first, then a second one of each, and so on; a job's earlier pictures before its later ones.
    """
    waiting = sorted((job for job in jobs if job.samples), key=lambda job: job.served)
    if not waiting:
        return []
    key = waiting[0].samples[0].key
    alike = [[sample for sample in job.samples if sample.key == key] for job in waiting]
    most = min(job.policy.rows for job, samples in zip(waiting, alike, strict=True) if samples)
    return _within(_interleaved(alike), min(most, rows.get(key, most)))


def _interleaved(lists: Sequence[Sequence[Sample]]) -> list[Sample]:
    longest = max(map(len, lists))
    return [samples[place] for place in range(longest) for samples in lists if place < len(samples)]


def _within(samples: Sequence[Sample], most: int) -> list[Sample]:
    taken: list[Sample] = []
    rows = 0
    for sample in samples:
        if taken and rows + sample.rows > most:
            break
        taken.append(sample)
        rows += sample.rows
    return taken
