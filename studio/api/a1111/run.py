"""From an order to its pictures: submit, follow, obey skip and interrupt, put the answer together."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import aclosing, suppress
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from studio import infotext
from studio.api import pictures
from studio.api.a1111 import wishes
from studio.api.a1111.clients import Clients, Run, caller_of
from studio.api.a1111.control import thresholds
from studio.api.a1111.shapes import ImageToImage, Wish
from studio.api.a1111.wishes import Order
from studio.api.generate import failure
from studio.api.stream import Listeners
from studio.catalog import SCHEDULERS
from studio.errors import Conflict, NotFound
from studio.schema import FINAL, GenerationRequest, ImageRow, JobView, Preview, Progress, Queued, Started
from studio.studio import Studio

LOOK = 0.5  # seconds between looks whether the caller is still there


class Maker:
    """Carries out orders; one for the app."""

    def __init__(self, studio: Studio, listeners: Listeners, clients: Clients) -> None:
        self.studio, self.listeners, self.clients = studio, listeners, clients

    async def make(self, request: Request, wish: Wish) -> dict[str, Any]:
        """The answer to txt2img or img2img. Raises StudioError."""
        caller = caller_of(request)
        options = self.clients.options(caller)
        order = await run_in_threadpool(wishes.order_of, self.studio, wish, options)
        self.listeners.check_room()
        passes = 2 if order.hires is not None else 1
        run = Run(caller, wish.force_task_id or "", order.batches * passes, 1)
        self.clients.begin(run)
        try:
            await run_in_threadpool(wishes.keep_pictures, self.studio, order)
            first = order.requests()
            jobs = await self.carry_out(request, run, first)
            if order.hires is not None and not run.interrupted:
                again = await run_in_threadpool(self.second_requests, order, first, jobs)
                jobs = await self.carry_out(request, run, again)
        finally:
            self.clients.end(run)
        return await run_in_threadpool(self.answer, wish, order, jobs)

    def second_requests(
        self, order: Order, first: Sequence[GenerationRequest], jobs: Sequence[JobView]
    ) -> list[GenerationRequest]:
        assert order.hires is not None
        return [
            wishes.second_pass(order.hires, asked, (row.width, row.height), row.id, row.seed)
            for asked, job in zip(first, jobs, strict=True)
            for row in job.images
        ]

    async def carry_out(
        self, request: Request, run: Run, wanted: Sequence[GenerationRequest]
    ) -> list[JobView]:
        """The jobs once they ended. Raises what the first failed one failed of; then the others are stopped.

        All are submitted at once, so that their pictures share steps.
        """
        begun = len(run.jobs)
        try:
            for asked in wanted:
                job = await run_in_threadpool(self.studio.submit, asked)
                run.jobs.append(job.id)
                run.steps = job.request.steps
            for id in run.jobs[begun:]:
                await self.follow(request, run, id)
                run.number += 1
                run.step, run.preview = 0, b""
        except BaseException:
            await asyncio.shield(run_in_threadpool(self.stop, run.jobs[begun:]))
            raise
        jobs = [await run_in_threadpool(self.studio.job, id) for id in run.jobs[begun:]]
        for job in jobs:
            if job.state == "failed":
                raise failure(job.error or {})
        return jobs

    async def follow(self, request: Request, run: Run, id: str) -> None:
        """Until job `id` has ended. A caller who leaves takes all jobs along: nobody would fetch them."""
        if run.interrupted:
            await run_in_threadpool(self.stop, [id])
        async with aclosing(self.listeners.follow(self.studio, id, 0, LOOK)) as events:
            async for item in events:
                event = None if item is None else item[1]
                if isinstance(event, Queued):
                    run.queued = event.position
                elif isinstance(event, Started):
                    run.started = run.started or time.time()
                elif isinstance(event, Progress):
                    run.started = run.started or time.time()
                    run.step = event.step * run.steps // max(1, event.of)
                elif isinstance(event, Preview):
                    run.preview, run.previews = event.data, run.previews + 1
                elif isinstance(event, FINAL):
                    return
                if await request.is_disconnected():
                    raise Conflict("The client has left.", code="client_left")

    def interrupt(self, request: Request) -> None:
        for run in self.clients.stoppable_by(caller_of(request)):
            run.interrupted = True
            self.stop(run.jobs)

    def skip(self, request: Request) -> None:
        """Ends the batch under way; the next ones go on."""
        for run in self.clients.stoppable_by(caller_of(request)):
            run.skipped = True
            self.stop(run.jobs[run.number : run.number + 1])

    def stop(self, ids: Sequence[str]) -> None:
        for id in ids:
            with suppress(Conflict, NotFound):
                self.studio.cancel(id)

    def answer(self, wish: Wish, order: Order, jobs: Sequence[JobView]) -> dict[str, Any]:
        rows = [(job, row) for job in jobs for row in job.images]
        files = [pictures.encoded(self.studio.picture_bytes(row.id)[0]) for _, row in rows]
        if order.unit is not None:  # the edge map comes last, as there
            files.append(pictures.encoded(self.edges(order)))
        hidden = (
            {"init_images", "mask"}
            if isinstance(wish, ImageToImage) and not wish.include_init_images
            else set()
        )
        parameters = wish.model_dump()
        parameters |= dict.fromkeys(hidden)
        return {
            "images": files if wish.send_images is not False else [],
            "parameters": parameters,
            "info": json.dumps(self.info(order, jobs, [row for _, row in rows]), ensure_ascii=False),
        }

    def edges(self, order: Order) -> bytes:
        assert order.unit is not None
        low, high = thresholds(order.unit.threshold_a, order.unit.threshold_b)
        return self.studio.edges(order.fields["control"]["image"], low, high)

    def info(self, order: Order, jobs: Sequence[JobView], rows: Sequence[ImageRow]) -> dict[str, Any]:
        """As A1111's `info`; `dropped` besides: what was asked and is not to be had here."""
        asked = jobs[0].request
        texts = [infotext.text_of(row) for row in rows]
        row = SCHEDULERS[asked.scheduler]
        return {
            "prompt": asked.prompt, "all_prompts": [row.request.prompt for row in rows],
            "negative_prompt": asked.negative_prompt,
            "all_negative_prompts": [row.request.negative_prompt for row in rows],
            "seed": asked.seed, "all_seeds": [row.seed for row in rows], "subseed": asked.seed,
            "all_subseeds": [row.seed for row in rows], "subseed_strength": 0,
            "width": asked.width, "height": asked.height, "sampler_name": row.a1111,
            "cfg_scale": asked.guidance,
            "steps": asked.steps, "batch_size": asked.count, "restore_faces": False,
            "face_restoration_model": None, "sd_model_name": asked.model,
            "sd_model_hash": infotext.fields_of(texts[0]).get("Model hash") if texts else None,
            "sd_vae_name": None, "sd_vae_hash": None, "seed_resize_from_w": -1, "seed_resize_from_h": -1,
            "denoising_strength": asked.strength if asked.init_image else None,
            "extra_generation_params": {}, "index_of_first_image": 0, "infotexts": texts,
            "styles": [asked.preset] if asked.preset else [],
            "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.gmtime(jobs[0].created)), "clip_skip": 1,
            "is_using_inpainting_conditioning": False, "version": infotext.VERSION,
            "dropped": order.dropped,
        }  # fmt: skip
