"""OpenAI's images API on the studio's one queue.

Source: the request and event types of the openai Python package, 3.54.
"""

from __future__ import annotations

import logging
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from studio.api.foreign import body_of, described, routes_of
from studio.api.openai import wishes
from studio.api.openai.answers import Stream, whole
from studio.api.openai.shapes import Edit, Generate, ModelCard, ModelCards, OpenAIRefusal, Pictures
from studio.api.stream import Listeners
from studio.errors import BadRequest, StudioError
from studio.models import ModelRow
from studio.schema import GenerationRequest
from studio.studio import Studio

log = logging.getLogger("studio.openai")

MOST_FILES = 17  # sixteen pictures and a mask: what OpenAI's own takes
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": OpenAIRefusal} for status in (400, 403, 404, 409, 413, 415, 429, 500, 503)
}
EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}, "model": Pictures}}


def refusal(error: StudioError) -> JSONResponse:
    """Mistakes in the request are 400 here."""
    status = 400 if error.status == 422 else error.status
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    fault = {
        "message": f"{error.message} {error.hint}".strip(), "type": kind, "param": error.field,
        "code": error.code, "hint": error.hint,
    }  # fmt: skip
    wait = getattr(error, "retry_after", None)
    return JSONResponse({"error": fault}, status, headers={"retry-after": str(wait)} if wait else None)


def add_openai(app: FastAPI, studio: Studio, listeners: Listeners) -> None:
    kind = routes_of(refusal, lambda error: log.error("a route failed", exc_info=error))
    router = APIRouter(prefix="/v1", route_class=kind, tags=["openai"], responses=REFUSALS)
    add_images(router, studio, listeners)
    add_models(router, studio)
    app.include_router(router)


def add_images(router: APIRouter, studio: Studio, listeners: Listeners) -> None:
    @router.post(
        "/images/generations", openapi_extra=described(Generate), responses=EVENTS, response_model=Pictures,
        response_model_exclude_none=True, summary="Pictures from words; waits, or streams rough ones before",
    )  # fmt: skip
    async def generations(
        request: Request, wish: Annotated[Generate, Depends(body_of(Generate))]
    ) -> Response | Pictures:
        wanted = await run_in_threadpool(wishes.request_of, studio, wish)
        return await answered(request, wish, wanted, "image_generation")

    @router.post(
        "/images/edits", openapi_extra=edit_form(), responses=EVENTS, response_model=Pictures,
        response_model_exclude_none=True,
        summary="A picture made anew, wholly or where its mask is transparent",
    )  # fmt: skip
    async def edits(request: Request) -> Response | Pictures:
        texts, image, mask = await form_of(request)
        wish = wishes.edit_of(texts)
        wanted = await run_in_threadpool(wishes.edit_request, studio, wish, image, mask)
        return await answered(request, wish, wanted, "image_edit")

    async def answered(
        request: Request, wish: Generate, wanted: GenerationRequest, kind: str
    ) -> Response | Pictures:
        if not wish.stream:
            return await whole(studio, listeners, request, wish, wanted)
        listeners.check_room()
        job = await run_in_threadpool(studio.submit, wanted)
        return StreamingResponse(
            Stream(studio, listeners, wish, kind).lines(job), media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )  # fmt: skip


async def form_of(request: Request) -> tuple[dict[str, str], bytes, bytes | None]:
    """(texts, picture, mask) of an edit. Raises BadRequest."""
    try:
        async with request.form(max_files=MOST_FILES, max_fields=64) as form:
            texts = {name: value for name, value in form.multi_items() if isinstance(value, str)}
            files = [part for name in ("image", "image[]") for part in files_of(form, name)]
            masks = files_of(form, "mask")
            if len(files) != 1:
                raise BadRequest(
                    f"{len(files)} pictures; the studio edits one.", hint="Send one image.", field="image"
                )
            return texts, await files[0].read(), await masks[0].read() if masks else None
    except HTTPException as error:  # the parser's own refusals: too many parts, broken boundaries
        raise BadRequest("Not a readable form.", hint=str(error.detail), code="bad_form") from None


def files_of(form: FormData, name: str) -> list[UploadFile]:
    return [part for part in form.getlist(name) if isinstance(part, UploadFile)]


def edit_form() -> dict[str, Any]:
    shape = described(Edit)["requestBody"]["content"]["application/json"]["schema"]
    file = {"type": "string", "format": "binary"}
    shape["properties"] |= {"image": file, "mask": file}
    shape["required"] = ["prompt", "image"]
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": shape}}}}


def add_models(router: APIRouter, studio: Studio) -> None:
    @router.get("/models", summary="Installed models")
    def models() -> ModelCards:
        return ModelCards(data=[card(row) for row in studio.models.list()])

    @router.get("/models/{id:path}", summary="One installed model")
    def model(id: str) -> ModelCard:
        return card(studio.models.get(id))


def card(row: ModelRow) -> ModelCard:
    return ModelCard(id=row.name, created=int(row.folder.stat().st_mtime))
