"""How long a campaign will take and how much disk it wants, from what pictures like it took before."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from studio.campaigns.store import CampaignView, Store
from studio.errors import DiskLow
from studio.library import Library
from studio.schema import ResolvedRequest

LOOK_BACK = 200  # pictures of the library that a forecast learns from
PNG_SHARE = 1.1  # bytes a pixel of a PNG, where no picture of that model is there to go by
RECENT = 24  # finished pictures that the remaining time is reckoned from


@dataclass(frozen=True)
class Forecast:
    """`seconds`: of work, None where no picture like these was made yet. Sizes in bytes."""

    runs: int
    pictures: int
    seconds: float | None
    bytes: int
    free: int


def of(requests: Sequence[ResolvedRequest], library: Library, home: Path) -> Forecast:
    pace: dict[str, list[float]] = {}
    weight: dict[str, list[float]] = {}
    for row in library.images(limit=LOOK_BACK):
        pixels = row.width * row.height
        pace.setdefault(row.request.model, []).append(row.seconds / (pixels * row.request.steps))
        try:
            weight.setdefault(row.request.model, []).append(row.file.stat().st_size / pixels)
        except OSError:
            continue  # taken away by hand: other pictures tell as well
    seconds: float | None = 0.0
    size = 0.0
    for request in requests:
        pixels = request.width * request.height * request.count
        drawn = pixels * request.upscale**2
        known = pace.get(request.model)
        if seconds is not None:
            seconds = seconds + statistics.median(known) * pixels * request.steps if known else None
        size += drawn * (statistics.median(weight[request.model]) if request.model in weight else PNG_SHARE)
    pictures = sum(request.count for request in requests)
    return Forecast(len(requests), pictures, seconds, round(size), shutil.disk_usage(home).free)


def check_disk(found: Forecast) -> None:
    """Raises DiskLow with both figures where the pictures would not fit."""
    if found.bytes > found.free:
        raise DiskLow(
            f"The campaign wants about {found.bytes / 2**20:.0f} MB; {found.free / 2**20:.0f} MB are free.",
            hint="Make room, or split the sheet.",
        )


def with_eta(view: CampaignView, store: Store, library: Library) -> CampaignView:
    """The view with the seconds left, from the pace of its last pictures."""
    left = view.total - view.finished
    if view.state != "running" or not left:
        return view
    jobs = [shot.job for shot in store.shots(view.id, ("done",))[-RECENT:] if shot.job]
    ends = sorted(rows[-1].created for rows in library.of_jobs(jobs).values() if rows)
    if len(ends) < 2 or ends[-1] <= ends[0]:
        return view
    return replace(view, eta=left * (ends[-1] - ends[0]) / (len(ends) - 1))
