"""A1111's API, as its plug-ins and clients call it, on the studio's one queue.

Source: modules/api/api.py and modules/api/models.py of AUTOMATIC1111/stable-diffusion-webui.
"""

from __future__ import annotations

import io
import logging
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from PIL import Image

from studio.api import pictures
from studio.api.a1111 import extras, lists
from studio.api.a1111.clients import Clients, Run, caller_of, offer_cookie
from studio.api.a1111.run import Maker
from studio.api.a1111.shapes import ImageToImage, TaskQuestion, TextToImage
from studio.api.foreign import Sent, body_of, described, routes_of
from studio.api.stream import Listeners
from studio.errors import BadRequest, StudioError
from studio.studio import Studio

log = logging.getLogger("studio.a1111")


class A1111Refusal(Sent):
    """How this protocol says no."""

    error: str
    detail: str
    body: str
    errors: str


class Anything(Sent):
    """An object of any fields."""

    model_config = {"extra": "allow"}


REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": A1111Refusal} for status in (400, 403, 404, 413, 415, 421, 422, 429, 500, 503)
}


def refusal(error: StudioError) -> JSONResponse:
    wait = getattr(error, "retry_after", None)
    status = 400 if error.code == "scheduler_not_found" else error.status
    body = {
        "error": error.code, "detail": f"{error.message} {error.hint}".strip(), "body": "",
        "errors": error.message,
    }  # fmt: skip
    return JSONResponse(body, status, headers={"retry-after": str(wait)} if wait else None)


def add_a1111(app: FastAPI, studio: Studio, listeners: Listeners) -> None:
    clients = Clients()
    maker = Maker(studio, listeners, clients)
    kind = routes_of(refusal, lambda error: log.error("a route failed", exc_info=error))

    def router(prefix: str) -> APIRouter:
        return APIRouter(
            prefix=prefix, route_class=kind, tags=["a1111"], responses=REFUSALS,
            dependencies=[Depends(offer_cookie)],
        )  # fmt: skip

    api, control, internal = router("/sdapi/v1"), router("/controlnet"), router("/internal")
    add_making(api, maker)
    add_state(api, clients, maker)
    add_set_options(api, studio, clients)
    lists.add_options(api, studio, clients)
    lists.add_lists(api, studio)
    lists.add_machine(api, studio)
    extras.add_extras(api, studio)
    lists.add_control_lists(control)
    extras.add_detect(control, studio)
    add_task(internal, clients)
    for one in (api, control, internal):
        app.include_router(one)


def add_making(router: APIRouter, maker: Maker) -> None:
    @router.post("/txt2img", openapi_extra=described(TextToImage), summary="Pictures from words; waits")
    async def txt2img(
        request: Request, wish: Annotated[TextToImage, Depends(body_of(TextToImage))]
    ) -> dict[str, Any]:
        return await maker.make(request, wish)

    @router.post("/img2img", openapi_extra=described(ImageToImage), summary="Pictures from a picture; waits")
    async def img2img(
        request: Request, wish: Annotated[ImageToImage, Depends(body_of(ImageToImage))]
    ) -> dict[str, Any]:
        return await maker.make(request, wish)

    @router.post("/interrupt", summary="End the caller's requests; they answer with what is done")
    def interrupt(request: Request) -> dict[str, Any]:
        maker.interrupt(request)
        return {}

    @router.post("/skip", summary="End the batch under way; the next ones go on")
    def skip(request: Request) -> dict[str, Any]:
        maker.skip(request)
        return {}


def add_set_options(router: APIRouter, studio: Studio, clients: Clients) -> None:
    @router.post("/options", openapi_extra=described(Anything), summary="Set the caller's options")
    def set_options(
        request: Request, given: Annotated[Anything, Depends(body_of(Anything))]
    ) -> dict[str, Any]:
        clients.set_options(caller_of(request), lists.chosen(studio, dict(given.model_extra or {})))
        return {}


def add_state(router: APIRouter, clients: Clients, maker: Maker) -> None:
    @router.get("/progress", summary="Of the caller's oldest request")
    def progress(request: Request, skip_current_image: bool = False) -> dict[str, Any]:
        runs = clients.seen_by(caller_of(request))
        run = runs[0] if runs else None
        return {
            "progress": 0.0 if run is None else run.progress,
            "eta_relative": 0.0 if run is None else run.eta,
            "state": state_of(run),
            "current_image": None if run is None or skip_current_image else preview_of(run),
            "textinfo": None,
        }


def state_of(run: Run | None) -> dict[str, Any]:
    if run is None:
        return {
            "skipped": False, "interrupted": False, "stopping_generation": False, "job": "", "job_count": 0,
            "job_timestamp": "0", "job_no": 0, "sampling_step": 0, "sampling_steps": 0,
        }  # fmt: skip
    stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime(run.started)) if run.started else "0"
    return {
        "skipped": run.skipped, "interrupted": run.interrupted, "stopping_generation": False,
        "job": f"Batch {min(run.number + 1, run.batches)} out of {run.batches}", "job_count": run.batches,
        "job_timestamp": stamp, "job_no": run.number, "sampling_step": run.step, "sampling_steps": run.steps,
    }  # fmt: skip


def preview_of(run: Run) -> str | None:
    """base64 PNG of the newest rough picture."""
    if not run.preview:
        return None
    out = io.BytesIO()
    Image.open(io.BytesIO(run.preview)).save(out, "PNG", compress_level=1)
    return pictures.encoded(out.getvalue())


def add_task(router: APIRouter, clients: Clients) -> None:
    @router.post(
        "/progress", openapi_extra=described(TaskQuestion), summary="Of a request with force_task_id"
    )
    def task_progress(
        request: Request, asked: Annotated[TaskQuestion, Depends(body_of(TaskQuestion))]
    ) -> dict[str, Any]:
        caller, task = caller_of(request), asked.id_task or ""
        if not task:
            raise BadRequest("id_task is required.", field="id_task", code="missing_field")
        runs = clients.seen_by(caller)
        run = next((run for run in runs if run.task == task), None)
        if run is None:
            done = clients.is_done(caller, task)
            return task_view(False, False, done) | {"textinfo": None if done else "Waiting..."}
        if not run.started:
            return task_view(False, True, False) | {
                "textinfo": f"In queue: {run.queued + 1}/{run.queued + 1}"
            }
        view = task_view(True, False, False) | {"progress": run.progress, "eta": run.eta}
        if asked.live_preview is not False and run.previews > (asked.id_live_preview or -1):
            image = preview_of(run)
            view["live_preview"] = image and f"data:image/png;base64,{image}"
            view["id_live_preview"] = run.previews
        return view


def task_view(active: bool, queued: bool, completed: bool) -> dict[str, Any]:
    return {
        "active": active, "queued": queued, "completed": completed, "progress": None, "eta": None,
        "live_preview": None, "id_live_preview": -1, "textinfo": None,
    }  # fmt: skip
