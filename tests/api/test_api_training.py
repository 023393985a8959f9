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


def test_captions_split_and_licence_of_a_set_can_be_changed(
    client: httpx.Client, dataset: dict[str, Any]
) -> None:
    at = f"/api/v1/datasets/{dataset['id']}"
    change = {"captions": {"3.png": "red blocks"}, "hold_out": 0.3, "licence": "ours"}
    answer = client.patch(at, json=change)
    assert answer.status_code == 201, answer.text
    new = answer.json()
    rows = {row["name"]: row for row in new["rows"]}
    assert (rows["3.png"]["caption"], rows["4.png"]["caption"]) == ("red blocks", "blocks 4")
    assert (new["held_out"], new["licence"]) == (3, "ours") and new["id"] != dataset["id"]
    assert client.get(at).json() == dataset
    picture = client.get(f"{at}/pictures/{rows['3.png']['file']}")
    assert picture.headers["content-type"] == "image/png" and picture.content.startswith(b"\x89PNG")
    assert client.get(f"{at}/pictures/none.png").status_code == 404
    wrong = client.patch(at, json={"captions": {"none.png": "x"}})
    assert (wrong.status_code, wrong.json()["error"]["field"]) == (404, "captions")
    assert client.patch(at, json={"hold_out": 0.9}).status_code == 422


def test_a_share_and_pictures_to_keep_are_told_with_the_upload(client: httpx.Client) -> None:
    query = {"name": "blocks", "hold_out": 0.2, "keep": ["5.png", "6.png"]}
    answer = client.post("/api/v1/datasets", params=query, files={"file": ("a.zip", zipped(10))})
    assert answer.status_code == 201 and answer.json()["held_out"] == 2


def test_without_a_captioner_nobody_writes(client: httpx.Client, dataset: dict[str, Any]) -> None:
    assert client.get("/api/v1/captioners").json() == []
    answer = client.post(f"/api/v1/datasets/{dataset['id']}/captions", json={"captioner": "blip"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "captioner_not_found")


def test_the_prior_is_foreseen_and_its_mistakes_are_named(
    client: httpx.Client, dataset: dict[str, Any]
) -> None:
    asked = {"name": "kept", "dataset": dataset["id"], "epochs": 1}
    alone = client.post("/api/v1/trainings/forecast", json=asked).json()
    beside = client.post("/api/v1/trainings/forecast", json=asked | {"prior": "a mug"}).json()
    assert beside["memory"] > alone["memory"] and beside["steps"] == alone["steps"]
    nameless = client.post("/api/v1/trainings", json=asked | {"prior_set": dataset["id"]})
    assert (nameless.status_code, nameless.json()["error"]["field"]) == (422, "prior")
    gone = client.post("/api/v1/trainings", json=asked | {"prior": "a mug", "prior_set": "0" * 32})
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "dataset_not_found")
