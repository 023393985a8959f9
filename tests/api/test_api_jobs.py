"""Jobs over HTTP: queued, followed, cancelled, waited for."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from serving import ended, make_model, picture, refused, served

from studio.api.app import web
from studio.api.stream import Listeners
from studio.errors import OutOfMemory
from studio.executors import FakeExecutor
from studio.settings import Settings
from studio.studio import Studio

Finished = Callable[..., dict[str, Any]]


def read_events(
    client: httpx.Client, job: str, after: str | None = None
) -> list[tuple[int, str, dict[str, Any]]]:
    headers = {} if after is None else {"last-event-id": after}
    found = []
    with client.stream("GET", f"/api/v1/jobs/{job}/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        for block in "".join(answer.iter_text()).split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if "event" in fields:
                found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


def test_a_job_is_accepted_and_ends_with_its_pictures(client: httpx.Client, finished: Finished) -> None:
    answer = client.post("/api/v1/jobs", json={"prompt": "a red mug", "steps": 4, "count": 2, "seed": 7})
    assert answer.status_code == 202
    assert set(answer.json()) == {"id", "state"} and answer.json()["state"] == "queued"
    assert answer.headers["location"] == f"/api/v1/jobs/{answer.json()['id']}"
    job = ended(client, answer.json()["id"])
    assert (job["state"], job["progress"], job["error"]) == ("completed", 1, None)
    assert [row["seed"] for row in job["images"]] == [7, 8]
    for row in job["images"]:
        file = client.get(row["url"])
        assert file.status_code == 200
        assert Image.open(BytesIO(file.content)).size == (row["width"], row["height"]) == (64, 64)


def test_the_job_shows_the_request_with_nothing_left_open(finished: Finished) -> None:
    request = finished(prompt="a mug", steps=5)["request"]
    assert request["model"] == "pocket" and request["steps"] == 5
    assert None not in [request[name] for name in ("width", "height", "guidance", "scheduler", "seed")]


def test_text_comes_back_as_it_was_sent(finished: Finished) -> None:
    prompt = "\u202e mug Z" + "\u0301" * 500 + " 👩‍👩‍👧 <script>alert(1)</script>"
    assert finished(prompt=prompt)["request"]["prompt"] == prompt


def test_events_arrive_in_order_and_end(client: httpx.Client, finished: Finished) -> None:
    job = client.post("/api/v1/jobs", json={"prompt": "a", "steps": 4}).json()["id"]
    events = read_events(client, job)
    names = [name for _, name, _ in events]
    assert names[0] == "queued" and names[-1] == "done" and {"progress", "picture"} <= set(names)
    numbers = [number for number, _, _ in events]
    assert numbers == sorted(set(numbers))
    shown = next(data for _, name, data in events if name == "picture")
    assert client.get(shown["url"]).status_code == 200


def test_last_event_id_replays_only_what_came_after(client: httpx.Client, finished: Finished) -> None:
    job = finished(count=2)["id"]
    every = read_events(client, job)
    assert len(every) > 2
    again = read_events(client, job, after=str(every[-3][0]))
    assert again == every[-2:]


def test_a_listener_who_heard_the_end_is_told_to_stop(client: httpx.Client, finished: Finished) -> None:
    job = finished()["id"]
    last = read_events(client, job)[-1][0]
    answer = client.get(f"/api/v1/jobs/{job}/events", headers={"last-event-id": str(last)})
    assert answer.status_code == 204


def test_too_many_listeners_are_refused_before_anything_is_queued(
    studio: Studio, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = client.post("/api/v1/jobs", json={"prompt": "a", "steps": 150}).json()["id"]
    monkeypatch.setattr("studio.api.app.Listeners", lambda: Listeners(0))
    with served(web(studio), studio.settings) as address:
        refused(httpx.get(f"{address}/api/v1/jobs/{job}/events"), 503, "not_ready")
        refused(httpx.post(f"{address}/generate", json={"prompt": "b"}), 503, "not_ready")
    assert client.get("/api/v1/jobs?limit=1").json()[0]["id"] == job
    client.delete(f"/api/v1/jobs/{job}")


def test_a_preview_is_a_small_jpeg(client: httpx.Client) -> None:
    job = client.post("/api/v1/jobs", json={"prompt": "a", "steps": 20}).json()["id"]
    previews = [data for _, name, data in read_events(client, job) if name == "preview"]
    assert Image.open(BytesIO(base64.b64decode(previews[0]["jpeg"]))).format == "JPEG"


@pytest.mark.parametrize("bad", ["x", "-1", "1e3", "9" * 30])
def test_a_last_event_id_that_was_never_given_is_refused(
    client: httpx.Client, finished: Finished, bad: str
) -> None:
    answer = client.get(f"/api/v1/jobs/{finished()['id']}/events", headers={"last-event-id": bad})
    refused(answer, 422)


def test_a_listener_who_leaves_frees_his_thread(client: httpx.Client) -> None:
    job = client.post("/api/v1/jobs", json={"prompt": "a", "steps": 60}).json()["id"]
    with client.stream("GET", f"/api/v1/jobs/{job}/events") as answer:
        next(answer.iter_text())
        name = f"follow-{job[:8]}"
        assert name in [thread.name for thread in threading.enumerate()]
    until = time.monotonic() + 5
    while name in [thread.name for thread in threading.enumerate()]:
        assert time.monotonic() < until, "the thread still listens"
        time.sleep(0.02)
    client.delete(f"/api/v1/jobs/{job}")


def test_a_running_job_can_be_cancelled_once(client: httpx.Client) -> None:
    job = client.post("/api/v1/jobs", json={"prompt": "a", "steps": 150}).json()["id"]
    answer = client.delete(f"/api/v1/jobs/{job}")
    assert answer.status_code == 200 and answer.json()["state"] == "cancelled"
    assert ended(client, job)["images"] == []
    assert read_events(client, job)[-1][1] == "cancelled"


def test_a_finished_job_cannot_be_cancelled(client: httpx.Client, finished: Finished) -> None:
    refused(client.delete(f"/api/v1/jobs/{finished()['id']}"), 409)


def test_a_full_queue_says_when_to_come_again(client: httpx.Client) -> None:
    sent = [client.post("/api/v1/jobs", json={"prompt": "a", "steps": 150}) for _ in range(12)]
    full = [answer for answer in sent if answer.status_code == 429]
    for answer in sent:
        if answer.status_code == 202:
            client.delete(f"/api/v1/jobs/{answer.json()['id']}")
    assert full
    refused(full[0], 429, "queue_full")
    assert int(full[0].headers["retry-after"]) > 0


def test_jobs_are_listed_newest_first(client: httpx.Client, finished: Finished) -> None:
    first, second = finished()["id"], finished()["id"]
    listed = [job["id"] for job in client.get("/api/v1/jobs?limit=2").json()]
    assert listed == [second, first]


def test_generate_waits_and_answers_with_the_picture(client: httpx.Client) -> None:
    asked = {"prompt": "a mug", "negative_prompt": "hands", "width": 128, "height": 64, "steps": 4, "seed": 3}
    answer = client.post("/generate", json=asked)
    assert answer.status_code == 200
    said = answer.json()
    assert (said["seed"], said["width"], said["height"]) == (3, 128, 64)
    found = Image.open(BytesIO(base64.b64decode(said["image"])))
    assert found.size == (128, 64) and said["images"] == [said["image"]]


def test_waiting_callers_do_not_stop_the_server(client: httpx.Client, address: str) -> None:
    """More waiters than the server's pool has threads: waiting in it, they would leave none for others."""
    job = client.post("/api/v1/jobs", json={"prompt": "a", "steps": 150}).json()["id"]
    opened = []
    try:
        for _ in range(60):
            stream = httpx.stream("GET", f"{address}/api/v1/jobs/{job}/events", timeout=10)
            stream.__enter__()
            opened.append(stream)
        assert httpx.get(f"{address}/livez", timeout=2).status_code == 200
    finally:
        client.delete(f"/api/v1/jobs/{job}")
        for stream in opened:
            stream.__exit__(None, None, None)


def test_generate_cancels_the_job_of_a_caller_who_left(client: httpx.Client, address: str) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{address}/generate", json={"prompt": "left alone", "steps": 150}, timeout=0.3)
    left = client.get("/api/v1/jobs?limit=1").json()[0]
    assert left["request"]["prompt"] == "left alone"
    assert ended(client, left["id"])["state"] == "cancelled"


def test_generate_says_what_the_run_failed_of(tmp_path: Path) -> None:
    class Failing(FakeExecutor):
        def run(self, request: Any, inputs: Any) -> Any:
            raise OutOfMemory("2048 px needs 9.0 GiB; 4.0 GiB is free.", hint="Ask for 512 px.")
            yield

    make_model(tmp_path / "models" / "pocket")
    settings = Settings(home=tmp_path, port=0, host="127.0.0.1")
    with closing(Studio.open(settings, Failing())) as studio:
        studio.start()
        with served(web(studio), settings) as address:
            error = refused(httpx.post(f"{address}/generate", json={"prompt": "a"}), 500, "out_of_memory")
    assert "9.0 GiB" in error["message"] and error["hint"] == "Ask for 512 px."


def test_canny_and_init_pictures_are_uploads(client: httpx.Client, finished: Finished) -> None:
    id = client.post("/api/v1/uploads", files={"file": ("x.png", picture(), "image/png")}).json()["id"]
    job = finished(control={"type": "canny", "image": id}, init_image=id, strength=0.5)
    assert job["state"] == "completed" and job["request"]["control"]["image"] == id
