"""Figures for Prometheus and lines for the log: complete, and without a word of a user."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving import ended, make_model, served

from studio.api import logs
from studio.api.app import web
from studio.errors import OutOfMemory
from studio.executors import FakeExecutor
from studio.schema import ResolvedRequest
from studio.settings import Settings
from studio.studio import Studio

SECRET = "S3CR3T"
Figures = dict[tuple[str, ...], float]


class Moody(FakeExecutor):
    """Fails prompts that say so."""

    def run(self, request: ResolvedRequest, inputs: Any) -> Any:
        if "fail" in request.prompt:
            raise OutOfMemory(f"{SECRET} needs 9 GiB.")
        return super().run(request, inputs)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    make_model(tmp_path / "models" / SECRET)
    settings = Settings(home=tmp_path, port=0, host="127.0.0.1", rows=1, model=SECRET)
    with closing(Studio.open(settings, Moody(0.01))) as studio:
        studio.start()
        with served(web(studio), settings) as address, httpx.Client(base_url=address) as client:
            yield client


def figures(client: httpx.Client) -> Figures:
    """Value by sample name and label values."""
    answer = client.get("/metrics")
    assert answer.status_code == 200 and SECRET not in answer.text and "/" not in answer.text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def make(client: httpx.Client, prompt: str, **more: Any) -> dict[str, Any]:
    asked = {"prompt": prompt, "steps": 3, "scheduler": "euler", **more}
    return ended(client, client.post("/api/v1/jobs", json=asked).json()["id"])


def test_every_job_is_counted_once_with_its_time_and_outcome(client: httpx.Client) -> None:
    assert make(client, SECRET, count=2)["state"] == "completed"
    assert make(client, f"fail {SECRET}")["state"] == "failed"
    kept = make(client, SECRET, seed=5)
    assert make(client, SECRET, seed=5)["images"] == kept["images"]
    for _ in range(2):  # asked twice, counted once
        found = figures(client)
    assert found["studio_picture_seconds_count", "pocket", "euler"] == 3
    assert found["studio_steps_total", "pocket", "euler"] == 9
    assert found["studio_picture_seconds_sum", "pocket", "euler"] > 0
    assert found["studio_job_failures_total", "out_of_memory"] == 1
    assert found["studio_cache_hits_total",] == 1
    assert found["studio_job_wait_seconds_count",] == 3
    assert found["studio_jobs_total", "completed"] == 3 and found["studio_jobs_total", "failed"] == 1
    assert found["studio_jobs_queued",] == 0 and found["studio_worker_ready",] == 1
    assert ("studio_rows_per_tick",) in found and ("studio_worker_memory_bytes",) in found


def test_every_answer_is_counted_by_route_and_status_refusals_too(client: httpx.Client) -> None:
    client.get(f"/api/v1/jobs/{SECRET}")
    client.get(f"/{SECRET}")
    client.request("BREW", "/livez")
    client.get("/livez", headers={"host": "evil.example"})
    client.get("/v1/models")
    found = figures(client)
    assert found["studio_http_requests_total", "GET", "jobs.show", "404"] == 1
    assert found["studio_http_requests_total", "GET", "refused", "404"] == 1
    assert found["studio_http_requests_total", "GET", "refused", "421"] == 1
    assert found["studio_http_requests_total", "GET", "openai.models", "200"] == 1
    assert found["studio_http_request_seconds_count", "openai.models"] == 1
    assert not [key for key in found if "BREW" in key]


def test_a_log_line_is_json_and_quotes_nobody() -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logs.Lines())
    log = logging.Logger("studio.test")
    log.addHandler(handler)
    try:
        raise ValueError(SECRET)
    except ValueError:
        log.exception("job %s failed", "1234")
    log.info("request", extra={"route": "jobs.submit", "status": 202, "seconds": 0.01, "prompt": SECRET})
    failed, request = (json.loads(line) for line in out.getvalue().splitlines())
    assert failed["error"] == "ValueError" and failed["level"] == "error"
    assert failed["at"][0].startswith("test_metrics.py:")
    assert request["route"] == "jobs.submit" and request["status"] == 202
    assert SECRET not in out.getvalue() and "/" not in out.getvalue()


def test_a_request_leaves_one_line_without_its_words(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "studio.access"):
        client.post("/api/v1/jobs", json={"prompt": SECRET, "steps": 2})
    line = json.loads(logs.Lines().format(caplog.records[-1]))
    assert (line["route"], line["status"], line["method"]) == ("jobs.submit", 202, "POST")
    assert line["seconds"] > 0 and SECRET not in json.dumps(line)
