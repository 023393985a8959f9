"""POST /api/v1/infotext: what a picture was made with, whichever tool made it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from studio.api.native import file_of
from studio.api.views import PREFIX, refusals
from studio.infotext import Found
from studio.schema import Frozen, GenerationRequest, parse_json
from studio.studio import Studio

MAX_TEXT = 200_000  # characters


class Pasted(Frozen):
    """Settings as text: A1111's infotext, or the JSON of Fooocus, InvokeAI, ComfyUI, SwarmUI."""

    text: str = Field(min_length=1, max_length=MAX_TEXT)


class Recovered(BaseModel):
    tool: str = Field(description="Who wrote the settings.")
    request: dict[str, Any] = Field(description="Fields of a generation request; others were not told.")
    unmatched: list[str] = Field(description="What this studio cannot follow, a line each.")


def add_infotext(app: FastAPI, studio: Studio) -> None:
    part = {"file": {"type": "string", "format": "binary"}}
    file = {"type": "object", "required": ["file"], "properties": part}
    body = {
        "application/json": {"schema": Pasted.model_json_schema()},
        "multipart/form-data": {"schema": file},
    }

    @app.post(
        f"{PREFIX}/infotext", tags=["images"], responses=refusals(415, 422),
        openapi_extra={"requestBody": {"required": True, "content": body}},
        summary="Settings of a picture of ours or of another tool, and what of them cannot be followed",
    )  # fmt: skip
    async def infotext(request: Request) -> Recovered:
        if "multipart" in request.headers.get("content-type", ""):
            return view(await run_in_threadpool(studio.recover, await file_of(request)))
        pasted = parse_json(Pasted, await request.body())
        return view(await run_in_threadpool(studio.recover_text, pasted.text))


def view(found: Found) -> Recovered:
    settled: GenerationRequest = found.settled()
    asked = settled.model_dump(mode="json", include=set(found.fields) & settled.model_fields_set)
    return Recovered(tool=found.tool, request=asked, unmatched=found.unmatched)
