"""What one user may take of what all share: places in the queue, pixels of a day, room on the disk."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from studio.errors import StudioError
from studio.library.database import Database
from studio.library.tables import images, jobs, uploads
from studio.people import LOCAL, speaker
from studio.schema import ResolvedRequest
from studio.settings import Settings

DAY = 24 * 3600.0  # s
FRESH = 60.0  # s that a sum over a user's files holds; what is kept meanwhile is added to it
LOCKS = 16


class QuotaReached(StudioError):
    status = 429
    code = "quota_reached"
    retry_after = 60  # s


class StorageQuota(QuotaReached):
    status = 507
    code = "storage_quota"


class Quotas:
    """Counts for users and keys. The owner of the machine, who is `local`, has no quota."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._locks = [threading.Lock() for _ in range(LOCKS)]
        self._stored: dict[str, tuple[float, int]] = {}

    @contextmanager
    def place(self, request: ResolvedRequest) -> Iterator[None]:
        """Put the job into the queue inside: two requests at once are no way past the limit.

        Raises QuotaReached, StorageQuota.
        """
        user = speaker.get().name
        if user == LOCAL.name:
            yield
            return
        with self._locks[hash(user) % LOCKS]:
            self._check_jobs(user, request)
            self.check_storage(0)
            yield

    def _check_jobs(self, user: str, request: ResolvedRequest) -> None:
        settings, since = self._settings, time.time() - DAY
        open_jobs = select(jobs.c.request).where(jobs.c.user == user, jobs.c.state.in_(("queued", "running")))
        area = func.coalesce(func.sum(images.c.width * images.c.height), 0)
        made = select(area).where(images.c.user == user, images.c.created > since)
        with self._database.read() as connection:
            waiting = [json.loads(text) for text in connection.scalars(open_jobs)]
            pixels = int(connection.scalar(made) or 0)
        if len(waiting) >= settings.user_jobs:
            raise QuotaReached(
                f"{len(waiting)} jobs of yours are waiting or running; a user may have {settings.user_jobs}.",
                hint="Wait until one has ended, or cancel one.",
                code="user_queue_full",
            )
        pixels += sum(pixels_of(one) for one in waiting) + pixels_of(request.model_dump())
        if pixels > settings.user_pixels:
            raise QuotaReached(
                f"That would be {pixels / 1e6:.1f} megapixels within a day; "
                f"a user may make {settings.user_pixels / 1e6:.1f}.",
                hint="Ask for fewer or smaller pictures, or wait. The limit is STUDIO_USER_PIXELS.",
                code="pixel_quota",
            )

    def check_storage(self, more: int) -> None:
        """Before `more` bytes are kept. Raises StorageQuota."""
        user, most = speaker.get().name, self._settings.user_storage
        if user == LOCAL.name:
            return
        at, stored = self._stored.get(user, (-FRESH, 0))
        if time.monotonic() - at >= FRESH:
            at, stored = time.monotonic(), self._sum(user)
        if stored + more > most or (not more and stored >= most):
            self._stored.pop(user, None)  # after some were deleted, the next request counts anew
            raise StorageQuota(
                f"Your pictures and uploads take {stored / 2**30:.2f} GiB of {most / 2**30:.2f}.",
                hint="Who runs the studio can raise STUDIO_USER_STORAGE or remove old pictures.",
            )
        self._stored[user] = (at, stored + more)

    def _sum(self, user: str) -> int:
        """Bytes of a user's files, trash included."""
        home, total = self._settings.home, 0
        for folder, table in (("pictures", images), ("uploads", uploads)):
            query = select(table.c.id, table.c.format).where(table.c.user == user)
            with self._database.read() as connection:
                rows = connection.execute(query).all()
            total += sum(size_of(home / folder / f"{row.id}.{row.format}") for row in rows)
        return total


def pixels_of(request: Mapping[str, Any]) -> int:
    """Of a request's pictures, enlarged as it asks."""
    scale = float(request.get("upscale", 1))
    return int(request["width"] * request["height"] * request["count"] * scale * scale)


def size_of(file: Path) -> int:
    with suppress(OSError):
        return file.stat().st_size
    return 0
