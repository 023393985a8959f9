"""Models over REST: details, downloads, default, removal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from hub_server import COMMIT, Hub, serve
from serving import STEP, make_model, refused, served

from studio.api.app import web
from studio.errors import Conflict
from studio.executors import FakeExecutor
from studio.models import Models
from studio.settings import Settings
from studio.studio import Studio


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    place = tmp_path_factory.mktemp("hub")
    make_model(place / "tiny")
    (place / "tiny" / "tokenizer" / "vocab.json").write_text("{}")
    with serve({"brand/tiny": place / "tiny"}) as running:
        yield running


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, hub: Hub) -> Iterator[httpx.Client]:
    """A studio of this file's own: its models come and go."""
    home = tmp_path_factory.mktemp("shop")
    make_model(home / "models" / "pocket")
    settings = Settings(home=home, port=0, host="127.0.0.1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", hub.url)
        with closing(Studio.open(settings, FakeExecutor(STEP))) as studio:
            studio.start()
            with served(web(studio), settings) as address, httpx.Client(base_url=address) as client:
                yield client


def pulled(shop: httpx.Client, **wish: str) -> dict[str, Any]:
    answer = shop.post("/api/v1/pulls", json=wish)
    assert answer.status_code == 202, answer.text
    until = time.monotonic() + 20
    while time.monotonic() < until:
        view: dict[str, Any] = shop.get(answer.headers["location"]).json()
        if view["state"] not in ("queued", "running"):
            return view
        time.sleep(0.02)
    raise AssertionError(view)


def test_a_model_is_pulled_told_of_made_default_and_deleted(shop: httpx.Client) -> None:
    view = pulled(shop, id="brand/tiny", name="mine")
    assert (view["state"], view["done"], view["revision"]) == ("completed", view["of"], COMMIT)
    row = shop.get("/api/v1/models/mine").json()
    assert (row["source"], row["revision"], row["default"]) == ("brand/tiny", COMMIT, False)
    assert len(row["hash"]) == 64
    assert {"512", "768", "1024"} <= set(row["needs"])
    assert row["needs"]["512"] < row["needs"]["768"] < row["needs"]["1024"]
    assert shop.post("/api/v1/models/mine/default").json()["default"]
    job = shop.post("/api/v1/jobs", json={"prompt": "a mug", "steps": 1}).json()
    assert shop.get(f"/api/v1/jobs/{job['id']}").json()["request"]["model"] == "mine"
    refused(shop.delete("/api/v1/models/mine"), 409, "model_default")
    assert shop.post("/api/v1/models/pocket/default").status_code == 200
    assert shop.delete("/api/v1/models/mine").status_code == 204
    refused(shop.get("/api/v1/models/mine"), 404, "model_not_found")
    refused(shop.delete("/api/v1/models/mine"), 404, "model_not_found")


def test_what_the_hub_refuses_is_told_at_once(shop: httpx.Client, hub: Hub) -> None:
    refused(shop.post("/api/v1/pulls", json={"id": "https://evil/x"}), 422, "bad_model_id")
    refused(shop.post("/api/v1/pulls", json={"id": "brand/none"}), 404, "hub_not_found")
    refused(shop.post("/api/v1/pulls", json={"id": "brand/tiny", "name": "../x"}), 422, "bad_name")
    refused(shop.post("/api/v1/pulls", json={"id": "brand/tiny", "name": "pocket"}), 409)
    refused(shop.post("/api/v1/pulls", json={"name": "x"}), 422)
    hub.refuse = 403
    refused(shop.post("/api/v1/pulls", json={"id": "brand/tiny"}), 403, "hub_gated")
    hub.refuse = 0


def test_downloads_are_listed_newest_first_and_one_that_ended_cannot_be_stopped(shop: httpx.Client) -> None:
    view = pulled(shop, id="brand/tiny", name="other")
    listed = shop.get("/api/v1/pulls").json()
    assert listed[0]["id"] == view["id"] and listed[0]["state"] == "completed"
    refused(shop.delete(f"/api/v1/pulls/{view['id']}"), 409)
    refused(shop.delete("/api/v1/pulls/none"), 404, "pull_not_found")


def test_a_default_fixed_by_the_environment_stays(tmp_path: Path) -> None:
    make_model(tmp_path / "models" / "pocket")
    make_model(tmp_path / "models" / "other")
    fixed = Models(Settings(home=tmp_path, model="pocket"))
    with pytest.raises(Conflict, match="STUDIO_MODEL fixes"):
        fixed.make_default("other")
    with closing(Studio.open(Settings(home=tmp_path), FakeExecutor(STEP))) as studio:
        studio.models.make_default("other")
    with closing(Studio.open(Settings(home=tmp_path), FakeExecutor(STEP))) as studio:
        assert studio.models.default() == studio.settings.model == "other"


def test_a_forecast_is_told_and_nothing_is_queued(shop: httpx.Client) -> None:
    before = shop.get("/api/v1/jobs").json()
    told = shop.post("/api/v1/forecast", json={"prompt": "a mug", "count": 2}).json()
    assert set(told) == {"bytes", "there", "fits", "policy", "tight", "rows", "seconds"}
    assert told["bytes"] > 2**28 and told["fits"] and told["rows"] == 4
    larger = shop.post("/api/v1/forecast", json={"prompt": "a mug", "count": 2, "width": 1024}).json()
    assert larger["bytes"] > told["bytes"]
    assert shop.get("/api/v1/jobs").json() == before
    refused(shop.post("/api/v1/forecast", json={"prompt": "a mug", "model": "gone"}), 404, "model_not_found")
