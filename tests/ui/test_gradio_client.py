"""gradio_client against the page: mistakes in the studio's words, and no file that was not uploaded.

What it gets from the shipped model is tested in test_pixels.py, who may fetch it in test_signed_in.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio_client
import httpx
import pytest
from conftest import generated
from gradio_client.exceptions import AppError
from PIL import Image
from walk import Api


def test_pictures_come_as_files_with_their_seeds(address: str, tmp_path: Path, api: Api) -> None:
    made = generated(address, tmp_path, prompt="a mug", steps=2, seed=7, count=2, loras=[{"name": "neon"}])
    assert [row["seed"] for row in made] == [7, 8]
    for row in made:
        with Image.open(row["image"]) as image:
            assert image.size == (128, 128) and tmp_path in Path(row["image"]).parents
        assert httpx.get(f"{address}/api/v1/images/{row['id']}").json()["seed"] == row["seed"]


def test_a_mistake_is_told_in_the_studios_words(address: str, tmp_path: Path) -> None:
    with pytest.raises(AppError, match="from 1 to 150"):
        generated(address, tmp_path, prompt="a mug", steps=0)
    with pytest.raises(AppError, match="No model 'nope'"):
        generated(address, tmp_path, prompt="a mug", model="nope")


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("place", ["/etc/hostname", "{home}/secret.png", "../../etc/hostname", "", "\0"])
def test_only_what_was_uploaded_is_read(address: str, home: Path, place: str, marked: bool) -> None:
    """Gradio hands a client's file over as a place on the server's disk, whatever place it says."""
    Image.new("RGB", (64, 64)).save(home / "secret.png")
    config = httpx.get(f"{address}/config").json()
    [call] = [one for one in config["dependencies"] if one["api_name"] == "generate"]
    file = {"path": place.format(home=home)} | ({"meta": {"_type": "gradio.FileData"}} if marked else {})
    given = ["a mug", *[None] * 9, 1, *[None] * 5, file, None]
    assert len(call["inputs"]) == len(given)
    said = httpx.post(f"{address}/gradio_api/run/generate", json={"data": given, "fn_index": call["id"]})
    assert said.status_code == 500 and ("No such upload" in said.text or said.json() == {"error": None})


def test_a_picture_can_be_sent_to_start_from(address: str, tmp_path: Path) -> None:
    Image.new("RGB", (80, 48), "teal").save(tmp_path / "start.png")
    start = gradio_client.handle_file(str(tmp_path / "start.png"))
    [row] = generated(
        address, tmp_path, prompt="a mug", steps=2, init_image=start, strength=0.5, canny_image=start, low=40
    )
    asked = httpx.get(f"{address}/api/v1/images/{row['id']}").json()["request"]
    assert asked["init_image"] and asked["control"]["low"] == 40


def test_the_chinese_page_and_its_events_are_for_browsers(address: str) -> None:
    """The page's own events change with it: a program that could call them would break at each release."""
    named = httpx.get(f"{address}/gradio_api/info").json()
    assert list(named["named_endpoints"]) == ["/generate"] and not named["unnamed_endpoints"]


@pytest.mark.parametrize(
    "nonsense", [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, "<img src=x onerror=1>"]
)
def test_nonsense_for_any_event_of_the_page_leaves_nothing_behind(
    address: str, home: Path, api: Api, nonsense: Any
) -> None:
    """Whoever reaches the page can call what its buttons call, with whatever they like."""
    before = traces(address, home)
    with httpx.Client(base_url=address, timeout=60) as client:
        events = client.get("/config").json()["dependencies"]
        for event in (one for one in events if one["backend_fn"] and one["inputs"]):
            body = {"data": [nonsense] * len(event["inputs"]), "fn_index": event["id"]}
            said = said_to(client, body | {"session_hash": f"nonsense-{event['id']}"})
            for secret in (str(home), "root:x:0", "Traceback"):
                assert secret not in said, event["api_name"]
    assert traces(address, home) == before


def said_to(client: httpx.Client, body: dict[str, Any]) -> str:
    assert client.post("/gradio_api/queue/join", json=body).status_code == 200
    said = ""
    with client.stream(
        "GET", "/gradio_api/queue/data", params={"session_hash": body["session_hash"]}
    ) as lines:
        for line in lines.iter_lines():
            said += line
            if "process_completed" in line:
                return said
    return said


def traces(address: str, home: Path) -> tuple[Any, ...]:
    lists = ("jobs", "images", "campaigns", "trainings", "presets", "collections", "review/links", "models")
    kept = [httpx.get(f"{address}/api/v1/{name}").json() for name in lists]
    files = [str(file) for name in ("uploads", "loras", "presets") for file in (home / name).rglob("*")]
    return kept, sorted(files)
