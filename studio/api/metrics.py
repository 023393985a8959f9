"""Figures for Prometheus, and one log line a request. No prompt, name, path or id is among them.

Counts of jobs are read from the library when they are asked for, so that a job run by another process of this
home counts too. Times of requests are this process's own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry, Counter, Histogram, exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.api.port import is_loopback
from studio.api.views import refusals
from studio.catalog import SCHEDULERS
from studio.errors import Forbidden, StudioError
from studio.people import LOCAL, NOBODY, speaker
from studio.schema import JobView, State
from studio.studio import Studio
from studio.webhooks.webhooks import pages

log = logging.getLogger("studio.access")

OUTCOMES: tuple[State, ...] = ("completed", "failed", "cancelled")
OVERLAP = 10.0  # s looked at again: jobs that end together may be written in any order
BOX = "studio.route"  # key of the scope
CODE = 60  # characters of a failure's code
FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
SLOW = (0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 900, 3600)


class Metrics:
    """One for a web process. `ready`: the worker holds its model."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.registry = CollectorRegistry()
        self.registry.register(Standing(studio))
        self._seen: dict[str, float] = {}
        self._begun = self._until = time.time()
        self._lock = threading.Lock()
        self._make_own()
        self._make_of_jobs()

    def _make_own(self) -> None:
        self.requests = Counter(
            "studio_http_requests", "Requests by route and status.", ("method", "route", "status"),
            registry=self.registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "studio_http_request_seconds", "From a request's head to the end of its answer.", ("route",),
            buckets=FAST, registry=self.registry,
        )  # fmt: skip

    def _make_of_jobs(self) -> None:
        labels = ("model", "scheduler")
        self.waits = Histogram(
            "studio_job_wait_seconds", "From a job's admission to its start.", buckets=SLOW,
            registry=self.registry,
        )  # fmt: skip
        self.pictures = Histogram(
            "studio_picture_seconds", "Work on one picture, by model family and scheduler.", labels,
            buckets=SLOW, registry=self.registry,
        )  # fmt: skip
        self.steps = Counter(
            "studio_steps", "Sampling steps of finished pictures; their rate is steps per second.", labels,
            registry=self.registry,
        )  # fmt: skip
        self.failures = Counter(
            "studio_job_failures", "Failed jobs by code.", ("code",), registry=self.registry
        )
        self.cached = Counter("studio_cache_hits", "Jobs answered from the library.", registry=self.registry)

    def text(self) -> bytes:
        """Prometheus' text form, brought up to date."""
        with self._lock:
            self._catch_up()
        return exposition.generate_latest(self.registry)

    def _catch_up(self) -> None:
        """Counts every job that ended since the last look, once."""
        for jobs in pages(self.studio.ended, self._until - OVERLAP):
            for job in jobs:
                if job.id not in self._seen and (job.ended or 0) >= self._begun:
                    self._count(job)
                    self._seen[job.id] = job.ended or 0.0
            self._until = max(self._until, jobs[-1].ended or 0.0)
        self._seen = {id: ended for id, ended in self._seen.items() if ended > self._until - 2 * OVERLAP}

    def _count(self, job: JobView) -> None:
        if job.cached:
            self.cached.inc()
            return
        if job.started is not None:
            self.waits.observe(max(0.0, job.started - job.created))
        if job.error is not None:
            self.failures.labels(str(job.error.get("code", ""))[:CODE]).inc()
        labels = (self._family(job.request.model), known_scheduler(job.request.scheduler))
        for image in job.images:
            self.pictures.labels(*labels).observe(image.seconds)
            self.steps.labels(*labels).inc(job.request.steps)

    def _family(self, model: str) -> str:
        """A model's name may be a client's; its family never is."""
        try:
            return self.studio.models.get(model).family
        except StudioError:
            return "gone"


def known_scheduler(name: str) -> str:
    return name if name in SCHEDULERS else "gone"


class Standing(Collector):
    """How things stand when they are asked for."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def collect(self) -> Iterator[Metric]:
        status, ready = self.studio.status(), self.studio.executor.ready()
        worker = status.worker
        rows: Mapping[str, tuple[str, float]] = {
            "studio_worker_ready": ("1 when the worker holds the default model.", float(ready)),
            "studio_jobs_queued": ("Jobs waiting.", status.queued),
            "studio_jobs_running": ("Jobs with a runner.", status.running),
            "studio_images": ("Pictures in the library, trash apart.", status.images),
            "studio_images_trashed": ("Pictures in the trash.", status.trashed),
            "studio_worker_memory_bytes": ("Memory of the worker or of its device.", worker.memory),
            "studio_models_resident": ("Models in memory.", len(worker.resident)),
            "studio_rows_per_tick": ("Mean UNet rows of the last steps.", worker.rows_per_tick),
        }
        for name, (about, value) in rows.items():
            yield GaugeMetricFamily(name, about, value=value)
        ended = CounterMetricFamily(
            "studio_jobs", "Jobs that ended, since the library began.", labels=("outcome",)
        )
        for outcome in OUTCOMES:
            ended.add_metric((outcome,), status.ended.get(outcome, 0))
        yield ended


@contextmanager
def remembered(scope: Scope) -> Iterator[None]:
    """Around the app: the route it finds is written where `Counted` looks; the walls copy the scope."""
    try:
        yield
    finally:
        scope.get(BOX, []).append(scope.get("route"))


class Counted:
    """ASGI middleware outside the walls: counts every answer, also their refusals."""

    def __init__(self, app: ASGIApp, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self.app, self.metrics, self.clock = app, metrics, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        begun, status = self.clock(), 499  # what stays where the client left before an answer
        scope[BOX] = []

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except BaseException:
            status = 500
            raise
        finally:
            self.note(scope, status, self.clock() - begun)

    def note(self, scope: Scope, status: int, seconds: float) -> None:
        route = route_of(scope, status)
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.metrics.requests.labels(method, route, str(status)).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        log.info("request", extra={"method": method, "route": route, "status": status, "seconds": seconds})


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def route_of(scope: Scope, status: int) -> str:
    """The route's own name, never an address: that may hold ids and whatever a stranger typed."""
    route = next(iter(scope[BOX]), None)
    if isinstance(route, APIRoute):
        return ".".join([*(str(tag) for tag in route.tags[:1]), route.name])
    return "refused" if status in (400, 401, 403, 404, 405, 408, 413, 415, 416, 421, 429) else "page"


def add_metrics(app: FastAPI, metrics: Metrics) -> None:
    @app.get(
        "/metrics", tags=["health"], response_class=Response, summary="Figures for Prometheus",
        responses=refusals(403) | {200: {"content": {"text/plain": {}}}},
    )  # fmt: skip
    def figures(request: Request) -> Response:
        far = request.client is not None and not is_loopback(request.client.host)
        if far and speaker.get() in (LOCAL, NOBODY):
            raise Forbidden(
                "Figures are given to this machine and to keys.",
                hint="Make one: studio keys add scraper --scope read.",
            )
        return Response(metrics.text(), media_type=exposition.CONTENT_TYPE_PLAIN_0_0_4)
