"""Training over REST: pictures in as a ZIP, a run while it goes on, losses, board; pause and go on."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import IO, Annotated, Any, Literal

from fastapi import Depends, FastAPI, Header, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from studio.api.native import sent_file
from studio.api.stream import Listeners, lines
from studio.api.views import PREFIX, Fault, refusals
from studio.errors import BadRequest, NotFound
from studio.schema import parse_json
from studio.studio import Studio
from studio.training.dataset import Change, summary
from studio.training.forecast import Forecast
from studio.training.request import Training, TrainRequest
from studio.trainings import RunView

AT = f"{PREFIX}/trainings"
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": TrainRequest.model_json_schema()}},
    }
}
FILE: dict[str, Any] = {"type": "object", "required": ["file"], "properties": {"file": {"type": "string"}}}
FORM: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": FILE}}}
}
Epoch = Annotated[int, InPath(ge=0, le=100)]
Place = Annotated[int, InPath(ge=0, le=8)]


class ForecastView(BaseModel):
    """`trainable` of `weights`: numbers. `memory`, `disk`: bytes. `seconds`: null before one was timed."""

    trainable: int
    weights: int
    share: float
    steps: int
    memory: int
    disk: int
    seconds: float | None


class EpochView(BaseModel):
    """`style`: 0 to 1, how near the board's look is to the pictures'. `held_out`: loss on those kept back."""

    number: int
    loss: float
    held_out: float | None
    style: float | None
    step: int
    best: int


class TrainingView(BaseModel):
    """`best`: the epoch that was or would be taken. `lora`: name of the finished style, else empty."""

    id: str
    state: Literal["queued", "running", "paused", "completed", "failed"]
    step: int
    of: int
    eta: float | None
    position: int | None
    epochs: list[EpochView]
    best: int
    lora: str
    error: Fault | None
    created: float
    training: Training


class TrainingDetail(TrainingView):
    losses: list[tuple[int, float]] = Field(description="(step, loss), 500 steps at most, evenly spread.")


class Back(BaseModel):
    epoch: int | None = Field(None, ge=1, le=100, description="Go on from the end of this epoch.")


class Changed(BaseModel):
    """`captions`: by the picture's name. What is left out stays as it was."""

    captions: dict[str, str] = Field(default_factory=dict, max_length=1000)
    hold_out: float | None = Field(None, ge=0, le=0.5)
    licence: str | None = Field(None, max_length=200)


class Captioned(BaseModel):
    """`everything`: pictures that have a caption get a new one too."""

    captioner: str = Field(max_length=200)
    everything: bool = False


async def asked(request: Request) -> TrainRequest:
    return parse_json(TrainRequest, await request.body())


Asked = Annotated[TrainRequest, Depends(asked)]


def add_training(app: FastAPI, studio: Studio, listeners: Listeners) -> None:
    add_sets(app, studio)

    @app.post(
        f"{AT}/forecast", tags=["training"], openapi_extra=BODY, responses=refusals(404, 415, 422),
        summary="What a training would take; nothing begins",
    )  # fmt: skip
    def foresee(request: Asked) -> ForecastView:
        return forecast_view(studio.trainings.plan(request).forecast)

    @app.post(
        AT, status_code=202, tags=["training"], openapi_extra=BODY,
        responses=refusals(404, 409, 415, 422), summary="Train a style; it waits for trainings before it",
    )  # fmt: skip
    def submit(request: Asked) -> TrainingView:
        return view(studio.trainings.submit(request))

    @app.get(AT, tags=["training"], summary="Trainings, newest first")
    def listed() -> list[TrainingView]:
        return [view(run) for run in studio.trainings.list()]

    @app.get(f"{AT}/{{id}}", tags=["training"], responses=refusals(404), summary="State, epochs and losses")
    def show(id: str) -> TrainingDetail:
        run = studio.trainings.get(id)
        return TrainingDetail(**view(run).model_dump(), losses=thinned(studio.trainings.losses(run.id)))

    @app.get(
        f"{AT}/{{id}}/events", tags=["training"], response_class=StreamingResponse,
        responses=refusals(404, 422, 503), summary="Steps, epochs and previews as server-sent events",
    )  # fmt: skip
    def follow(id: str, last_event_id: Annotated[str, Header()] = "0") -> Response:
        if not (last_event_id.isascii() and last_event_id.isdecimal() and len(last_event_id) < 16):
            raise BadRequest("Last-Event-ID is not a number this stream gave.", field="last-event-id")
        run = studio.trainings.get(id)
        listeners.check_room()
        told = listeners.follow(studio, run.id, int(last_event_id), teller=studio.trainings)
        return StreamingResponse(
            lines(told), media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )  # fmt: skip

    @app.post(f"{AT}/{{id}}/pause", tags=["training"], responses=refusals(404, 409), summary="Pause it")
    def pause(id: str) -> TrainingView:
        return view(studio.trainings.pause(id))

    @app.post(
        f"{AT}/{{id}}/resume", tags=["training"], responses=refusals(404, 409, 422),
        summary="Go on where it was, or from the end of an earlier epoch",
    )  # fmt: skip
    def resume(id: str, back: Back) -> TrainingView:
        return view(studio.trainings.resume(id, back.epoch))

    @app.get(
        f"{AT}/{{id}}/board/{{epoch}}/{{place}}", tags=["training"], response_class=Response,
        responses=refusals(404, 422), summary="A picture of the board after an epoch; 0 = before training",
    )  # fmt: skip
    def board(id: str, epoch: Epoch, place: Place) -> Response:
        pictures = studio.trainings.board(id, epoch)
        if place >= len(pictures):
            raise NotFound("The board has no such picture.", code="image_not_found")
        return Response(pictures[place], media_type="image/png", headers={"cache-control": "no-cache"})


def add_sets(app: FastAPI, studio: Studio) -> None:
    @app.post(
        f"{PREFIX}/datasets", status_code=201, tags=["training"], openapi_extra=FORM,
        responses=refusals(404, 415, 422),
        summary="Pictures with captions as a ZIP: judged, split and kept; says what was left out",
    )  # fmt: skip
    async def keep_set(
        request: Request,
        name: Annotated[str, Query(max_length=100)] = "pictures",
        licence: Annotated[str, Query(max_length=200)] = "",
        hold_out: Annotated[float, Query(ge=0, le=0.5, description="Share kept back to judge.")] = 0.1,
        keep: Annotated[
            list[str] | None, Query(max_length=500, description="Names to use whatever was found.")
        ] = None,
        model: Annotated[str | None, Query(max_length=200)] = None,
    ) -> dict[str, Any]:
        async with sent_file(request) as part:
            judging = {"licence": licence, "hold_out": hold_out, "kept_anyway": keep or ()}
            return await run_in_threadpool(keep_zip, studio, part.file, name, model, judging)

    @app.get(f"{PREFIX}/datasets/{{id}}", tags=["training"], responses=refusals(404), summary="A set")
    def show_set(id: str) -> dict[str, Any]:
        return summary(studio.trainings.dataset(id))

    @app.get(
        f"{PREFIX}/datasets/{{id}}/pictures/{{file}}", tags=["training"], response_class=Response,
        responses=refusals(404) | {200: {"content": {"image/png": {}, "image/jpeg": {}}}},
        summary="A picture of a set, as it is kept",
    )  # fmt: skip
    def show_picture(id: str, file: str) -> Response:
        data = studio.trainings.picture(id, file)
        mime = "image/png" if file.endswith(".png") else "image/jpeg"
        return Response(data, media_type=mime, headers={"content-security-policy": "sandbox"})

    @app.patch(
        f"{PREFIX}/datasets/{{id}}", status_code=201, tags=["training"], responses=refusals(404, 422),
        summary="A new version of a set: other captions, split or licence",
    )  # fmt: skip
    def change_set(id: str, change: Changed) -> dict[str, Any]:
        wanted = Change(change.captions, change.hold_out, change.licence)
        return summary(studio.trainings.change(id, wanted))

    @app.get(f"{PREFIX}/captioners", tags=["training"], summary="Models at hand that write captions")
    def list_captioners() -> list[str]:
        return list(studio.trainings.captioners())

    @app.post(
        f"{PREFIX}/datasets/{{id}}/captions", status_code=201, tags=["training"],
        responses=refusals(404, 422, 500),
        summary="A new version of a set with captions by a model: a second or two for each picture",
    )  # fmt: skip
    def write_captions(id: str, asked: Captioned) -> dict[str, Any]:
        writing = studio.trainings.caption(id, asked.captioner, asked.everything)
        while True:
            try:
                next(writing)
            except StopIteration as done:
                return summary(done.value)


def keep_zip(
    studio: Studio, data: IO[bytes], name: str, model: str | None, judging: dict[str, Any]
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pictures.zip"
        with file.open("wb") as copy:
            shutil.copyfileobj(data, copy)
        return summary(studio.trainings.keep(file, name, model, **judging))


def forecast_view(found: Forecast) -> ForecastView:
    return ForecastView.model_validate(
        {name: getattr(found, name) for name in ForecastView.model_fields}
    )


def view(run: RunView) -> TrainingView:
    fields = {name: getattr(run, name) for name in TrainingView.model_fields if name != "error"}
    return TrainingView.model_validate(
        fields | {"epochs": list(run.epochs), "error": run.error, "training": run.training.model_dump()}
    )


def thinned(losses: Any, most: int = 500) -> list[tuple[int, float]]:
    every = max(1, -(-len(losses) // most))
    return list(losses[::every])
