"""Helpers of the API tests: a model of headers alone, a real server, the form of a refusal."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn
from PIL import Image
from safetensors.numpy import save_file
from starlette.types import ASGIApp

from studio.api.port import taken
from studio.api.server import configure
from studio.settings import Settings

STEP = 0.02  # seconds; a job of 20 steps can be seen while it runs


def make_model(folder: Path, **unet: Any) -> None:
    """Headers of a model in the diffusers layout: enough for all that does not run it."""
    parts: dict[str, dict[str, Any]] = {
        "unet": {"sample_size": 16, "cross_attention_dim": 160, **unet},
        "vae": {"block_out_channels": [8, 8, 8]},
        "text_encoder": {},
        "tokenizer": {},
        "scheduler": {"_class_name": "PNDMScheduler"},
        "controlnet-canny": {},
    }
    for part, config in parts.items():
        (folder / part).mkdir(parents=True)
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        (folder / part / name).write_text(json.dumps(config))
        if part not in ("tokenizer", "scheduler"):
            save_file(
                {"weight": np.zeros((2, 2), np.float16)},
                folder / part / "diffusion_pytorch_model.safetensors",
            )
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))


@contextmanager
def served(app: ASGIApp, settings: Settings) -> Iterator[str]:
    """The address at which `app` answers."""
    server = uvicorn.Server(configure(app, settings.trusted_proxies))
    with taken(settings) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive()


def ended(client: httpx.Client, id: str) -> dict[str, Any]:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        job: dict[str, Any] = client.get(f"/api/v1/jobs/{id}").json()
        if job["state"] in ("completed", "failed", "cancelled"):
            return job
        time.sleep(0.02)
    raise AssertionError("the job did not end")


def picture(width: int = 64, height: int = 48, kind: str = "PNG") -> bytes:
    stream = BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(stream, kind)
    return stream.getvalue()


def refused(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """The answer's error, after checking that it is in the one form and tells nothing of the machine."""
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"code", "message", "field", "hint"} and error["message"]
    assert code is None or error["code"] == code, error
    assert "Traceback" not in answer.text and "/tmp/" not in answer.text and "/root/" not in answer.text
    return error
