from __future__ import annotations

import io
import zipfile
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image


def zipped(count: int, **others: bytes) -> bytes:
    """Pictures of noise blocks: sharp, and no two alike."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(count):
            blocks = np.random.default_rng(number).integers(0, 255, (8, 8, 3)).astype(np.uint8)
            picture = io.BytesIO()
            Image.fromarray(blocks).resize((96, 96), Image.Resampling.NEAREST).save(picture, "PNG")
            archive.writestr(f"{number}.png", picture.getvalue())
            archive.writestr(f"{number}.txt", f"blocks {number}")
        for name, data in others.items():
            archive.writestr(name, data)
    return out.getvalue()


def given(client: httpx.Client, data: bytes) -> httpx.Response:
    return client.post("/api/v1/datasets?name=blocks&licence=CC0-1.0", files={"file": ("a.zip", data)})


@pytest.fixture(scope="module")
def dataset(client: httpx.Client) -> dict[str, Any]:
    answer = given(client, zipped(10, copy=b"no picture"))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_a_zip_becomes_a_set_and_says_what_was_found(client: httpx.Client, dataset: dict[str, Any]) -> None:
    figures = [dataset[name] for name in ("pictures", "training", "held_out", "ignored")]
    assert figures == [10, 9, 1, 1]
    assert client.get(f"/api/v1/datasets/{dataset['id']}").json() == dataset
    assert client.get("/api/v1/datasets/0123").status_code == 404


def test_a_set_may_be_larger_than_a_picture(client: httpx.Client) -> None:
    assert given(client, zipped(10, pad=bytes(24 * 2**20))).status_code == 201


def test_a_training_is_foreseen_run_and_told(client: httpx.Client, dataset: dict[str, Any]) -> None:
    asked = {"name": "blocks", "dataset": dataset["id"], "epochs": 2, "trigger": "blocks style"}
    cost = client.post("/api/v1/trainings/forecast", json=asked).json()
    assert cost["steps"] > 0 and cost["seconds"] is None
    answer = client.post("/api/v1/trainings", json=asked)
    assert answer.status_code == 202, answer.text
    run = answer.json()
    assert run["training"]["rank"] == 16 and run["training"]["rate"] == 1e-3
    with client.stream("GET", f"/api/v1/trainings/{run['id']}/events") as told:
        names = [line.removeprefix("event: ") for line in told.iter_lines() if line.startswith("event: ")]
    assert names[-1] == "done" and "epoch" in names
    detail = client.get(f"/api/v1/trainings/{run['id']}").json()
    assert detail["state"] == "completed" and detail["losses"] == []
    assert run["id"] in {one["id"] for one in client.get("/api/v1/trainings").json()}
    assert client.post(f"/api/v1/trainings/{run['id']}/pause", json={}).status_code == 409
    assert client.get(f"/api/v1/trainings/{run['id']}/board/0/0").status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [({"rank": 0}, "rank"), ({"rate": 10}, "rate"), ({"name": "../x"}, "name"), ({"epohs": 1}, "epohs")],
)
def test_mistakes_are_named(
    client: httpx.Client, dataset: dict[str, Any], change: dict[str, Any], field: str
) -> None:
    answer = client.post("/api/v1/trainings", json={"name": "x", "dataset": dataset["id"]} | change)
    assert answer.status_code == 422 and answer.json()["error"]["field"] == field


def test_an_archive_that_leads_outside_and_one_too_small_are_refused(client: httpx.Client) -> None:
    outside = zipped(6, **{"../evil.png": b"x"})
    cases = ((outside, "unsafe_archive"), (zipped(3), "too_few_pictures"), (b"PK no zip", "bad_archive"))
    for data, code in cases:
        answer = given(client, data)
        assert answer.status_code == 422 and answer.json()["error"]["code"] == code
    assert client.get("/api/v1/trainings/nothing").status_code == 404
