"""For monitoring and for people who write programs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
from serving import make_model, refused, served

from studio.api.app import web
from studio.catalog import SCHEDULERS
from studio.executors import FakeExecutor
from studio.schema import GenerationRequest
from studio.settings import Settings
from studio.studio import Studio

Finished = Callable[..., dict[str, Any]]


class Loading(FakeExecutor):
    def ready(self) -> bool:
        return False


def readiness(home: Path) -> httpx.Response:
    settings = Settings(home=home, port=0, host="127.0.0.1")
    with closing(Studio.open(settings, Loading())) as studio, served(web(studio), settings) as address:
        assert httpx.get(f"{address}/livez").status_code == 200
        return httpx.get(f"{address}/readyz")


def test_a_ready_studio_says_so(client: httpx.Client) -> None:
    assert client.get("/livez").json() == {"status": "ok"}
    assert client.get("/readyz").json()["device"] == "fake"


def test_a_loading_worker_is_not_ready(tmp_path: Path) -> None:
    make_model(tmp_path / "models" / "pocket")
    answer = readiness(tmp_path)
    assert "loading" in refused(answer, 503, "not_ready")["message"]
    assert int(answer.headers["retry-after"]) > 0


def test_a_broken_default_model_is_named_as_the_reason(tmp_path: Path) -> None:
    make_model(tmp_path / "models" / "pocket")
    (tmp_path / "models" / "pocket" / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    assert "unet" in refused(readiness(tmp_path), 503, "not_ready")["message"]


def test_metrics_are_figures_without_words_of_users(client: httpx.Client, finished: Finished) -> None:
    finished(prompt="S3CR3T-PROMPT")
    text = client.get("/metrics").text
    rows = dict(line.split(" ") for line in text.splitlines() if not line.startswith("#"))
    assert float(rows["studio_worker_ready"]) == 1 and float(rows["studio_images"]) >= 1
    assert float(rows['studio_jobs_total{outcome="completed"}']) >= 1
    assert "S3CR3T" not in text and "/" not in text


def test_metrics_are_for_this_machine_alone(studio: Studio) -> None:
    async def ask(client: str) -> int:
        transport = httpx.ASGITransport(web(studio), client=(client, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            return (await http.get("/metrics")).status_code

    assert [asyncio.run(ask(client)) for client in ("127.0.0.1", "::1", "192.168.0.7")] == [200, 200, 403]


def test_metrics_are_given_to_a_scraper_with_a_key(tmp_path: Path) -> None:
    make_model(tmp_path / "models" / "pocket")
    with closing(Studio.open(Settings(home=tmp_path), FakeExecutor())) as studio:
        studio.accounts.add_user("anna", "correct horse battery")
        key = studio.accounts.add_key("scraper", ["read"])[1]

        async def ask(headers: dict[str, str]) -> int:
            transport = httpx.ASGITransport(web(studio), client=("192.168.0.7", 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
                return (await http.get("/metrics", headers=headers)).status_code

        keyed = {"authorization": f"Bearer {key}"}
        assert [asyncio.run(ask(headers)) for headers in ({}, keyed)] == [401, 200]


def test_every_choice_can_be_listed(client: httpx.Client) -> None:
    schedulers = client.get("/api/v1/schedulers").json()
    assert [row["name"] for row in schedulers] == list(SCHEDULERS)
    model = client.get("/api/v1/models").json()[0]
    assert (model["name"], model["default"], model["controls"]) == ("pocket", True, ["canny"])
    assert "folder" not in model
    assert isinstance(client.get("/api/v1/loras").json(), list)
    plain = next(row for row in client.get("/api/v1/presets").json() if row["name"] == "plain")
    assert set(plain["title"]) == {"en", "zh"} and "prompt" in plain["sets"]


def test_openapi_describes_the_request_and_the_refusals(client: httpx.Client) -> None:
    api = client.get("/openapi.json").json()
    submit = api["paths"]["/api/v1/jobs"]["post"]
    shape = submit["requestBody"]["content"]["application/json"]["schema"]
    assert set(shape["properties"]) == set(GenerationRequest.model_fields)
    assert {"202", "400", "403", "404", "413", "415", "422", "429"} <= set(submit["responses"])
    assert submit["responses"]["422"]["content"]["application/json"]["schema"]["$ref"].endswith("/Refusal")


def test_every_reference_in_openapi_leads_somewhere(client: httpx.Client) -> None:
    api = client.get("/openapi.json").json()

    def references(node: Any) -> set[str]:
        if isinstance(node, dict):
            own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
            return own.union(*map(references, node.values()))
        return set().union(*map(references, node)) if isinstance(node, list) else set()

    known = {f"#/components/schemas/{name}" for name in api["components"]["schemas"]}
    assert references(api) <= known


def test_the_documentation_page_needs_no_other_host(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.status_code == 200 and "/api/v1/jobs" in page.text and "guidance" in page.text
    assert "<script" not in page.text and "//" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
