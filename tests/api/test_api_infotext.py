"""POST /api/v1/infotext: a picture, or its text, and what of it can be followed."""

from __future__ import annotations

import io

import httpx
from PIL import Image, PngImagePlugin
from serving import picture, refused

TEXT = "a red mug\nNegative prompt: hands\nSteps: 7, Sampler: Euler a, CFG scale: 5, Seed: 3, Model: lost"
READ = {
    "prompt": "a red mug", "negative_prompt": "hands", "steps": 7, "guidance": 5.0, "seed": 3,
    "scheduler": "euler-ancestral",
}  # fmt: skip


def test_a_picture_and_its_text_say_the_same(client: httpx.Client) -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("parameters", TEXT)
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=notes)
    for answer in (
        client.post("/api/v1/infotext", json={"text": TEXT}),
        client.post("/api/v1/infotext", files={"file": out.getvalue()}),
    ):
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"tool": "A1111", "request": READ, "unmatched": ["Model: lost"]}


def test_the_answer_is_a_request_that_can_be_sent(client: httpx.Client) -> None:
    asked = client.post("/api/v1/infotext", json={"text": TEXT}).json()["request"]
    assert client.post("/api/v1/jobs", json=asked).status_code == 202


def test_what_carries_no_settings_is_refused(client: httpx.Client) -> None:
    refused(client.post("/api/v1/infotext", files={"file": picture()}), 422, "no_settings")
    refused(client.post("/api/v1/infotext", files={"file": b"no picture"}), 422, "unsupported_image")
    refused(client.post("/api/v1/infotext", json={"text": ""}), 422)
    refused(client.post("/api/v1/infotext", json={"text": "a", "txt": "b"}), 422, "unknown_field")
    refused(client.post("/api/v1/infotext", files={"file": b"x" * 400_000}), 413)
