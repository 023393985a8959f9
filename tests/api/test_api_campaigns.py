"""Campaigns over REST, on a real server."""

from __future__ import annotations

import csv
import io
import time
import zipfile
from typing import Any

import httpx
import pytest
from PIL import Image
from serving import picture, refused

AT = "/api/v1/campaigns"
SHEET = "sku,product,scene,seed,steps,channel\nA-1,mug,on a table|in snow,1,2,web\nA-2,cup,,2,2,print\n"


def send(client: httpx.Client, data: bytes, to: str = AT, **fields: str) -> httpx.Response:
    return client.post(to, files={"file": ("spring.csv", data, "text/csv")}, data=fields)


def finished(client: httpx.Client, id: str) -> dict[str, Any]:
    until = time.monotonic() + 60
    while True:
        view: dict[str, Any] = client.get(f"{AT}/{id}").json()
        if view["state"] != "running":
            return view
        assert time.monotonic() < until, view
        time.sleep(0.05)


@pytest.fixture(scope="module")
def done(client: httpx.Client) -> dict[str, Any]:
    answer = send(client, SHEET.encode())
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"{AT}/{answer.json()['id']}"
    return finished(client, answer.json()["id"])


def test_a_sheet_is_run_to_its_end(client: httpx.Client, done: dict[str, Any]) -> None:
    assert (done["name"], done["total"], done["counts"]) == ("spring.csv", 3, {"done": 3})
    rows = client.get(f"{AT}/{done['id']}/rows").json()
    assert [(row["row"], row["prompt"], row["seed"]) for row in rows] == [
        (2, "a mug on a table", 1), (2, "a mug in snow", 1), (3, "a cup", 2),
    ]  # fmt: skip
    image = rows[2]["images"][0]
    assert image["path"] == f"print/A-2_{image['width']}x{image['height']}_2.png"
    assert client.get(image["url"]).headers["content-type"] == "image/png"
    assert done["id"] in [view["id"] for view in client.get(AT).json()]


def test_results_zip_and_contact_sheet_are_served(client: httpx.Client, done: dict[str, Any]) -> None:
    at = f"{AT}/{done['id']}"
    table = client.get(f"{at}/results.csv")
    assert "attachment" in table.headers["content-disposition"]
    assert len(list(csv.DictReader(io.StringIO(table.content.decode("utf-8-sig"))))) == 3
    with zipfile.ZipFile(io.BytesIO(client.get(f"{at}/pictures.zip").content)) as archive:
        assert len(archive.namelist()) == 5
    with zipfile.ZipFile(io.BytesIO(client.get(f"{at}/pictures.zip?channel=web").content)) as archive:
        assert sum(name.startswith("web/") for name in archive.namelist()) == 2
    refused(client.get(f"{at}/pictures.zip?channel=../web"), 404, "channel_not_found")
    assert Image.open(io.BytesIO(client.get(f"{at}/contact-sheet.png").content)).width > 200


def test_a_preview_says_what_would_be_made_and_what_is_wrong(client: httpx.Client) -> None:
    before = len(client.get(AT).json())
    text = SHEET + "A-3,pot,,x,0,web\n"
    said = send(client, text.encode(), f"{AT}/preview").json()
    assert [row["prompt"] for row in said["first"]] == ["a mug on a table", "a mug in snow", "a cup"]
    assert sorted(one["cell"] for one in said["problems"]) == ["D4", "E4"]
    assert said["forecast"]["pictures"] == 3 and said["forecast"]["free"] > 0
    assert len(client.get(AT).json()) == before
    error = refused(send(client, text.encode()), 422, "bad_sheet")
    assert "D4 (seed)" in error["message"]


def test_pictures_come_with_the_sheet(client: httpx.Client) -> None:
    files = [
        ("file", ("s.csv", b"sku,prompt,control image,steps\n1,a mug,Edge.PNG,2\n2,a cup,other.png,2\n")),
        ("pictures", ("edge.png", picture())),
    ]
    said = client.post(f"{AT}/preview", files=files).json()
    assert [row["row"] for row in said["first"]] == [2]
    assert said["problems"][0]["cell"] == "C3" and "other.png" in said["problems"][0]["message"]


def test_rows_come_as_json_too(client: httpx.Client) -> None:
    rows = [{"sku": "J-1", "prompt": "a mug", "seed": 4, "steps": 2}, {"sku": "J-2", "prompt": "a cup"}]
    wish = {"rows": rows, "name": "json", "pattern": "{sku}", "fields": {"steps": 3}}
    view = finished(client, client.post(AT, json=wish).json()["id"])
    shown = client.get(f"{AT}/{view['id']}/rows").json()
    size = f"{shown[0]['width']}x{shown[0]['height']}"
    assert [row["images"][0]["path"] for row in shown] == [f"{size}/J-1.png", f"{size}/J-2.png"]
    refused(client.post(AT, json={"rows": rows, "fields": {"promt": 1}}), 422, "unknown_field")
    refused(client.post(AT, json={"rows": []}), 422)


def test_a_row_is_changed_and_run_again(client: httpx.Client, done: dict[str, Any]) -> None:
    answer = client.patch(f"{AT}/{done['id']}/rows/3", json={"cells": {"product": "teapot"}})
    assert answer.status_code == 200, answer.text
    finished(client, done["id"])
    rows = client.get(f"{AT}/{done['id']}/rows").json()
    assert [(row["attempt"], row["prompt"]) for row in rows][2] == (1, "a teapot")
    refused(client.post(f"{AT}/{done['id']}/retry", json={}), 409)
    again = client.post(f"{AT}/{done['id']}/retry", json={"places": [2]})
    assert again.status_code == 200 and finished(client, done["id"])["counts"] == {"done": 3}


def test_a_campaign_is_cancelled(client: httpx.Client) -> None:
    rows = "".join(f"a mug,{number},150\n" for number in range(30))
    id = send(client, ("prompt,seed,steps\n" + rows).encode()).json()["id"]
    view = client.delete(f"{AT}/{id}").json()
    assert view["state"] == "cancelled" and view["finished"] == 30
    refused(client.delete(f"{AT}/{id}"), 409)


def test_a_grid_varies_a_request_along_its_axes(client: httpx.Client) -> None:
    wish = {
        "request": {"prompt": "a red mug", "steps": 2},
        "x": {"field": "guidance", "values": "2-6 (+2)"},
        "y": {"field": "scheduler", "values": "ddim, euler"},
    }
    id = client.post("/api/v1/grids", json=wish).json()["id"]
    assert finished(client, id)["counts"] == {"done": 6}
    sheet = Image.open(io.BytesIO(client.get(f"{AT}/{id}/contact-sheet.png").content))
    assert sheet.width > 3 * 192 and sheet.height > 2 * 192
    error = refused(client.post("/api/v1/grids", json={**wish, "x": {"field": "cfg", "values": "1"}}), 422)
    assert "No axis" in error["message"]
    refused(client.post("/api/v1/grids", json={**wish, "x": {"field": "steps", "values": "0"}}), 422)


@pytest.mark.parametrize("name", ["", "/rows", "/results.csv", "/contact-sheet.png", "/pictures.zip"])
def test_unknown_campaigns_are_told_alike(client: httpx.Client, name: str) -> None:
    for id in ("0" * 32, "..%2f..%2fetc", "x"):
        refused(client.get(f"{AT}/{id}{name}"), 404)
