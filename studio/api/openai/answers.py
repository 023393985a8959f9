"""Answers in OpenAI's form, whole or as a stream of events with rough pictures in between."""

from __future__ import annotations

import io
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

from fastapi import Request
from PIL import Image
from starlette.concurrency import run_in_threadpool

from studio.api.generate import failure, generated
from studio.api.openai.shapes import Datum, Generate, Pictures, Usage
from studio.api.openai.wishes import QUALITIES
from studio.api.pictures import encoded
from studio.api.stream import Listeners
from studio.api.views import image_url
from studio.errors import Conflict, NotFound, StudioError
from studio.schema import (
    FINAL,
    TRANSPARENT,
    Cancelled,
    Failed,
    GenerationRequest,
    ImageRow,
    JobView,
    Picture,
    Preview,
    Progress,
)
from studio.studio import Studio

LOOK = 0.5  # seconds between looks whether the caller is still there


async def whole(
    studio: Studio, listeners: Listeners, request: Request, wish: Generate, wanted: GenerationRequest
) -> Pictures:
    """Raises what the job failed of."""
    done = await generated(studio, listeners, request, wanted)
    base = str(request.base_url).rstrip("/")
    return await run_in_threadpool(answer, studio, wish, studio.job(done.id), base)


def answer(studio: Studio, wish: Generate, job: JobView, base: str) -> Pictures:
    """`base`: the address the client called, for those who want the pictures as addresses."""
    as_url = wish.response_format == "url" or (
        wish.response_format is None and (wish.model or "").startswith("dall-e")
    )
    data = []
    for row in job.images:  # framed by a preset, drawn from wildcards: then each has its own
        told = row.request.prompt if row.request.prompt != wish.prompt else None
        if as_url:
            data.append(Datum(url=base + image_url(row.id), revised_prompt=told))
        else:
            data.append(Datum(b64_json=encoded(file_of(studio, row, wish)), revised_prompt=told))
    return Pictures(created=int(job.created), data=data, usage=usage_of(studio, job), **view_of(wish, job))


def view_of(wish: Generate, job: JobView) -> dict[str, str]:
    size = f"{job.images[0].width}x{job.images[0].height}" if job.images else ""
    return {
        "size": size or f"{job.request.width}x{job.request.height}",
        "quality": QUALITIES.get(wish.quality or "", "medium"),
        "output_format": job.request.format,
        "background": TRANSPARENT if job.request.background == TRANSPARENT else "opaque",
    }


def usage_of(studio: Studio, job: JobView) -> Usage:
    words = 0
    with suppress(StudioError):  # no finished picture is lost for the sake of a count
        words = studio.count_tokens(job.request.prompt, job.request.model)
    return Usage(
        input_tokens=words, output_tokens=0, total_tokens=words,
        input_tokens_details={"text_tokens": words, "image_tokens": 0},
    )  # fmt: skip


def file_of(studio: Studio, row: ImageRow, wish: Generate) -> bytes:
    data = studio.picture_bytes(row.id)[0]
    if wish.output_compression is None or row.format == "png":
        return data
    return repacked(data, row.format, quality=wish.output_compression)


def repacked(data: bytes, format: str, size: tuple[int, int] | None = None, quality: int = 90) -> bytes:
    """A picture of ours encoded anew, at `size` px where one is given."""
    opened = Image.open(io.BytesIO(data))
    clear = opened.has_transparency_data and format != "jpeg"
    picture = opened.convert("RGBA" if clear else "RGB")
    picture = picture if size is None else picture.resize(size, Image.Resampling.BICUBIC)
    out = io.BytesIO()
    picture.save(out, format, **({} if format == "png" else {"quality": quality}))
    return out.getvalue()


class Stream:
    """One streamed request. `kind`: image_generation or image_edit."""

    def __init__(self, studio: Studio, listeners: Listeners, wish: Generate, kind: str) -> None:
        self.studio, self.listeners, self.wish, self.kind = studio, listeners, wish, kind
        self.sent = 0  # rough pictures
        self.share = 0.0  # of all steps

    async def lines(self, job: JobView) -> AsyncIterator[str]:
        """Server-sent events. A client that leaves takes the job along."""
        ended = False
        try:
            async with aclosing(self.listeners.follow(self.studio, job.id, 0, LOOK)) as events:
                async for item in events:
                    if item is None:
                        yield ": still here\n\n"
                        continue
                    line = await run_in_threadpool(self.line, job, item[1])
                    ended = isinstance(item[1], FINAL)
                    if line:
                        yield line
        except StudioError as error:
            yield self.broken(error)
        finally:
            if not ended:
                with suppress(Conflict, NotFound):
                    self.studio.cancel(job.id)

    def line(self, job: JobView, event: Any) -> str:
        """'' for what this protocol has no event for."""
        if isinstance(event, Progress):
            self.share = event.step / max(1, event.of)
        elif isinstance(event, Preview):
            return self.partial(job, event)
        elif isinstance(event, Picture):
            return self.completed(event)
        elif isinstance(event, Failed):
            return self.broken(failure(event.error))
        elif isinstance(event, Cancelled):
            return self.broken(Conflict("The job was cancelled.", code="cancelled"))
        return ""

    def partial(self, job: JobView, event: Preview) -> str:
        most = self.wish.partial_images or 0
        if self.sent >= most or self.share < self.sent / most:
            return ""
        size = round(job.request.width * job.request.upscale), round(job.request.height * job.request.upscale)
        data = repacked(event.data, job.request.format, size)
        self.sent += 1
        more = {"partial_image_index": self.sent - 1, "created_at": int(time.time())}
        return self.event("partial_image", {"b64_json": encoded(data), **view_of(self.wish, job), **more})

    def completed(self, event: Picture) -> str:
        row = self.studio.image(event.id)
        job = self.studio.job(row.job)
        more = {"created_at": int(row.created), "usage": usage_of(self.studio, job).model_dump()}
        data = encoded(file_of(self.studio, row, self.wish))
        return self.event("completed", {"b64_json": data, **view_of(self.wish, job), **more})

    def event(self, name: str, data: dict[str, Any]) -> str:
        kind = f"{self.kind}.{name}"
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n"

    def broken(self, error: StudioError) -> str:
        fault = {"message": error.message, "type": "server_error", "param": error.field, "code": error.code}
        return f"event: error\ndata: {json.dumps({'type': 'error', 'error': fault})}\n\n"
