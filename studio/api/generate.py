"""POST /generate: one call, one picture. The same queue as everything else; the call waits."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from contextlib import aclosing, suppress
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from studio.api.stream import Listeners
from studio.api.views import Generated
from studio.errors import Conflict, EngineError, NotFound, NotReady
from studio.schema import FINAL, GenerationRequest
from studio.studio import Studio

LOOK = 0.5  # seconds between looks whether the caller is still there


async def generated(
    studio: Studio, listeners: Listeners, request: Request, wanted: GenerationRequest
) -> Generated:
    """Raises what the job failed of. A caller who leaves takes the job along: nobody would fetch it."""
    listeners.check_room()
    job = await run_in_threadpool(studio.submit, wanted)
    ended = False
    try:
        async with aclosing(listeners.follow(studio, job.id, 0, LOOK)) as events:
            async for item in events:
                ended = item is not None and isinstance(item[1], FINAL)
                if ended or await request.is_disconnected():
                    break
        if studio.jobs.draining and not ended:
            raise NotReady("The studio is stopping.", hint=f"Job {job.id} goes on when it is started again.")
    finally:
        if not (ended or studio.jobs.draining):
            with suppress(Conflict, NotFound):
                await run_in_threadpool(studio.cancel, job.id)
    return await run_in_threadpool(answer, studio, job.id)


def answer(studio: Studio, id: str) -> Generated:
    """Reads the job's pictures. Raises Conflict when it was cancelled, EngineError when it failed."""
    job = studio.job(id)
    if job.state == "cancelled":
        raise Conflict("The job was cancelled before its picture was done.", code="cancelled")
    if job.state == "failed" or not job.images:
        raise failure(job.error or {})
    files = [base64.b64encode(studio.picture_bytes(row.id)[0]).decode() for row in job.images]
    first = job.images[0]
    return Generated(
        image=files[0], images=files, seed=first.seed, format=first.format, width=first.width,
        height=first.height, seconds=job.seconds, id=job.id,
    )  # fmt: skip


def failure(error: Mapping[str, Any]) -> EngineError:
    """A job's error, kept as data, as what the caller of a waiting route gets."""
    return EngineError(
        error.get("message", "The job failed."), hint=error.get("hint", ""), field=error.get("field"),
        code=error.get("code", EngineError.code),
    )  # fmt: skip
