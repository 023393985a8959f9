"""The studio's own API: jobs, their events, pictures, uploads, and what can be picked.

Thin: each route is one verb of `Studio`. A route that only waits for the disk is `def`: it runs in a thread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, FastAPI, Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from studio.api import views
from studio.api.generate import generated
from studio.api.routes import get_and_head
from studio.api.stream import Listeners, lines
from studio.api.views import PREFIX, refusals
from studio.catalog import SCHEDULERS
from studio.errors import BadRequest
from studio.models.forecast import Outlook
from studio.schema import GenerationRequest, parse_json
from studio.studio import Studio

FILE_FORM = {
    "schema": {
        "type": "object", "required": ["file"],
        "properties": {"file": {"type": "string", "format": "binary"}},
    }
}  # fmt: skip


async def asked(request: Request) -> GenerationRequest:
    """The body as a request, read here so that a mistake is told with its position and nearest field."""
    return parse_json(GenerationRequest, await request.body())


Asked = Annotated[GenerationRequest, Depends(asked)]
AT_ONCE = 16  # requests on their way into the queue; the others wait in the order they came in
IMMUTABLE = "private, max-age=31536000, immutable"  # an id never gets other bytes


KEY = {
    "parameters": [
        {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 255}}
    ]
}


def check_key(key: str | None) -> str | None:
    """Raises BadRequest for one that is empty, longer than 255 characters or not plain ASCII."""
    if key is not None and not (0 < len(key) < 256 and key.isascii() and key.isprintable()):
        raise BadRequest(
            f"Idempotency-Key has {len(key)} characters; 1 to 255 of plain ASCII are a key.",
            hint="A UUID does well.",
            field="idempotency-key",
            code="bad_idempotency_key",
        )
    return key


def add_jobs(app: FastAPI, studio: Studio, listeners: Listeners) -> None:
    body, door = views.request_body(), CapacityLimiter(AT_ONCE)

    @app.post(
        f"{PREFIX}/jobs", status_code=202, tags=["jobs"], openapi_extra=body | KEY,
        responses=refusals(404, 409, 415, 422, 429, 503, 507), response_model=views.Accepted,
        summary="Queue a request; 202 means it is on disk",
    )  # fmt: skip
    async def submit(request: Request) -> JSONResponse:
        """With an `Idempotency-Key`, the same request sent again within a day is the same job."""
        # By hand and with one turn in a thread: dependencies and an answer to be checked took 0.4 ms of 2.
        wanted, key = await asked(request), check_key(request.headers.get("idempotency-key"))
        job = await to_thread.run_sync(studio.submit, wanted, key, limiter=door)
        told = {"id": job.id, "state": job.state}
        return JSONResponse(told, 202, headers={"location": f"{PREFIX}/jobs/{job.id}"})

    @app.post(
        f"{PREFIX}/forecast", tags=["jobs"], openapi_extra=body, responses=refusals(404, 415, 422),
        summary="Memory and time of a request; nothing is queued",
    )  # fmt: skip
    def forecast(request: Asked) -> Outlook:
        return studio.forecast(request)

    @app.get(f"{PREFIX}/jobs", tags=["jobs"], responses=refusals(422), summary="Newest jobs first")
    def list_jobs(limit: Annotated[int, Query(ge=1, le=200)] = 50) -> list[views.JobDetail]:
        return [views.job_view(job) for job in studio.jobs_list(limit)]

    @app.delete(
        f"{PREFIX}/jobs/{{id:path}}", tags=["jobs"], responses=refusals(404, 409), summary="Cancel a job"
    )
    def cancel(id: str) -> views.JobDetail:
        return views.job_view(studio.cancel(id))

    @get_and_head(
        app, f"{PREFIX}/jobs/{{id:path}}", tags=["jobs"], responses=refusals(404),
        summary="State, progress and pictures of a job",
    )  # fmt: skip
    def show(id: str) -> views.JobDetail:
        return views.job_view(studio.job(id))

    @app.post(
        "/generate", tags=["jobs"], openapi_extra=body, responses=refusals(404, 409, 415, 422, 429, 503),
        summary="Make a picture and wait for it",
    )  # fmt: skip
    async def generate(request: Request, wanted: Asked) -> views.Generated:
        return await generated(studio, listeners, request, wanted)


def add_events(app: FastAPI, studio: Studio, listeners: Listeners) -> None:
    @app.get(
        f"{PREFIX}/jobs/{{id}}/events", tags=["jobs"], response_class=StreamingResponse,
        responses=refusals(404, 422, 503)
        | {200: {"content": {"text/event-stream": {}}}, 204: {"description": "All was told already"}},
        summary="Events of a job as server-sent events, from the first or after Last-Event-ID",
    )  # fmt: skip
    def follow(id: str, last_event_id: Annotated[str, Header()] = "0") -> Response:
        job = studio.job(id)
        if not (last_event_id.isascii() and last_event_id.isdecimal() and len(last_event_id) < 16):
            raise BadRequest("Last-Event-ID is not a number this stream gave.", field="last-event-id")
        after = int(last_event_id)
        if job.final and next(iter(studio.events(id, after)), None) is None:
            return Response(status_code=204)  # tells a browser's EventSource to stop coming back
        listeners.check_room()
        return StreamingResponse(
            lines(listeners.follow(studio, id, after)),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )


def add_images(app: FastAPI, studio: Studio) -> None:
    @app.get(f"{PREFIX}/images", tags=["images"], responses=refusals(422), summary="Library, newest first")
    def search(
        search: Annotated[str, Query(max_length=500)] = "",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        before: Annotated[str | None, Query(max_length=64)] = None,
        trash: bool = False,
        star: bool = False,
        collection: Annotated[str | None, Query(max_length=64)] = None,
    ) -> list[views.ImageView]:
        """`search`: words of the prompt, or model:, preset:, lora:, colour:, date:YYYY-MM-DD and a name."""
        rows = studio.images(search, limit, before, trash, star, collection)
        return [views.image_view(row) for row in rows]

    @get_and_head(
        app, f"{PREFIX}/images/{{id}}/file", tags=["images"], response_class=Response,
        responses=refusals(404) | {200: {"content": {"image/png": {}, "image/jpeg": {}, "image/webp": {}}}},
        summary="The picture itself; ?download=1 to save it",
    )  # fmt: skip
    def file(
        id: str, request: Request, download: bool = False,
        metadata: Annotated[Literal["internal", "client"] | None, Query()] = None, logo: bool = True,
    ) -> Response:  # fmt: skip
        """`metadata`: internal = with its settings, client = pixels, colour profile and marks of origin;
        left out, a download holds what the picture's brand says, else what the studio's setting does.

        `logo`: whether a client copy bears the logo of its preset, where that has one.
        """
        if metadata is None:
            metadata = studio.download_of(id) if download else "internal"
        plain = metadata == "client"
        data, mime = studio.client_copy(id, logo) if plain else studio.picture_bytes(id)
        tag = f'"{id}-client{"" if logo else "-bare"}"' if plain else f'"{id}"'
        headers = {"etag": tag, "cache-control": IMMUTABLE, "content-security-policy": "sandbox"}
        if headers["etag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if download:  # the id alone: no name that a stranger chose gets into a header
            headers["content-disposition"] = f'attachment; filename="{id}.{mime.removeprefix("image/")}"'
        return Response(data, media_type=mime, headers=headers)

    @app.get("/gradio_api/stream/{name}", include_in_schema=False)
    def client_file(name: str) -> Response:
        """Where gradio_client fetches what studio/ui/endpoints.py answered: ID.png."""
        data, mime = studio.picture_bytes(name.partition(".")[0])
        return Response(data, media_type=mime, headers={"cache-control": IMMUTABLE})

    @get_and_head(
        app, f"{PREFIX}/images/{{id:path}}", tags=["images"], responses=refusals(404),
        summary="A picture's row with the request that made it",
    )  # fmt: skip
    def image(id: str) -> views.ImageDetail:
        return views.image_detail(studio.image(id), studio.checks_of(id))

    @app.post(
        f"{PREFIX}/uploads", status_code=201, tags=["images"], responses=refusals(415, 422),
        openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": FILE_FORM}}},
        summary="Give a PNG, JPEG or WebP, to use as control.image, init_image or mask",
    )  # fmt: skip
    async def upload(request: Request) -> views.Uploaded:
        return views.Uploaded(id=await run_in_threadpool(studio.upload, await file_of(request)))


async def file_of(request: Request) -> bytes:
    async with sent_file(request) as part:
        return await part.read()


@asynccontextmanager
async def sent_file(request: Request) -> AsyncIterator[UploadFile]:
    """The form's `file`; the walls bound its size. What the sender calls it is not looked at."""
    try:
        async with request.form(max_files=1, max_fields=8) as form:
            part = form.get("file")
            if not isinstance(part, UploadFile):
                raise BadRequest(
                    "The form has no file.", field="file", hint="Send multipart with a part named file."
                )
            yield part
    except HTTPException as error:  # the parser's own refusals: too many parts, broken boundaries
        raise BadRequest(
            "Not a readable form.", field="file", hint=str(error.detail), code="bad_form"
        ) from None


def add_choices(app: FastAPI, studio: Studio) -> None:
    @app.get(f"{PREFIX}/models", tags=["choices"], summary="Installed models")
    def models() -> list[views.ModelView]:
        return [
            views.ModelView.model_validate(
                {name: getattr(row, name) for name in views.ModelView.model_fields if name != "default"}
                | {"default": row.name == studio.models.default()}
            )
            for row in studio.models.list()
        ]

    @app.get(f"{PREFIX}/schedulers", tags=["choices"], summary="Schedulers with advice")
    def schedulers() -> list[views.SchedulerView]:
        return [
            views.SchedulerView(
                name=name, label=row.label, steps=row.steps, advice={"en": row.advice, "zh": row.advice_zh}
            )
            for name, row in SCHEDULERS.items()
        ]

    @app.get(f"{PREFIX}/loras", tags=["choices"], summary="Installed LoRAs; unusable ones say why")
    def loras() -> list[views.LoraView]:
        return [
            views.LoraView.model_validate({name: getattr(row, name) for name in views.LoraView.model_fields})
            for row in studio.models.loras()
        ]

    @app.get(f"{PREFIX}/presets", tags=["choices"], summary="Brand presets and what they set")
    def presets() -> list[views.PresetView]:
        return [views.preset_view(row) for row in studio.presets.list()]
