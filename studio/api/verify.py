"""Whose picture is it: `POST /api/v1/verify`; is something protected in it: `POST /api/v1/check`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool

from studio.api.native import FILE_FORM, file_of
from studio.api.views import PREFIX, refusals
from studio.studio import Studio


def add_verify(app: FastAPI, studio: Studio) -> None:
    @app.post(
        f"{PREFIX}/verify", tags=["images"], responses=refusals(415, 422),
        openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": FILE_FORM}}},
        summary="Who made a PNG, JPEG or WebP, and whether it was changed since",
    )  # fmt: skip
    async def verify(request: Request) -> dict[str, Any]:
        return asdict(await run_in_threadpool(studio.verify, await file_of(request)))

    @app.post(
        f"{PREFIX}/check", tags=["images"], responses=refusals(415, 422),
        openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": FILE_FORM}}},
        summary="Protected logos and artworks in a PNG, JPEG or WebP: match, score, place",
    )  # fmt: skip
    async def check(request: Request) -> list[dict[str, Any]]:
        return await run_in_threadpool(studio.check, await file_of(request))
