"""The queue as a whole: what waits in which order, pausing it, moving and holding a job."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from studio.api import views
from studio.api.views import PREFIX, refusals
from studio.people import only_of
from studio.studio import Studio


class QueueView(BaseModel):
    """`waiting`: ids in the order in which they go, users taking turns; held ones are not among them."""

    paused: bool
    queued: int
    running: int
    waiting: list[str]


class QueueChange(BaseModel):
    model_config = ConfigDict(extra="forbid")
    paused: bool = Field(description="No job begins while it is paused; running ones go on.")


class JobChange(BaseModel):
    """What is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")
    priority: Annotated[int, Field(ge=-100, le=100, strict=True)] | None = None
    held: bool | None = Field(None, description="True: it waits until it is let go.")
    before: str | None = Field(None, max_length=64, description="Id of the waiting job it goes before.")


def add_queue(app: FastAPI, studio: Studio) -> None:
    @app.get(f"{PREFIX}/queue", tags=["jobs"], summary="What waits, in its order")
    def show() -> QueueView:
        queued, running = studio.jobs.counts()
        queue = studio.jobs.queue
        line = queue.line()
        if (user := only_of()) is not None:  # the others' jobs are counted, not named
            mine = {job.id for job in studio.jobs.recent(len(line) + 1, user)}
            line = [id for id in line if id in mine]
        return QueueView(paused=queue.paused(), queued=queued, running=running, waiting=line)

    @app.patch(f"{PREFIX}/queue", tags=["jobs"], responses=refusals(415, 422), summary="Pause it, or go on")
    def pause(asked: QueueChange) -> QueueView:
        studio.jobs.pause(asked.paused)
        return show()

    @app.patch(
        f"{PREFIX}/jobs/{{id}}", tags=["jobs"], responses=refusals(404, 409, 415, 422),
        summary="Priority, place and holding back of a waiting job",
    )  # fmt: skip
    def change(id: str, asked: JobChange) -> views.JobDetail:
        studio.job(id)
        return views.job_view(studio.jobs.change(id, asked.priority, asked.held, asked.before))
