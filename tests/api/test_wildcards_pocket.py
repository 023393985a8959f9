"""Wildcards with the model that ships, over HTTP: a seed draws one prompt and makes one picture."""

from __future__ import annotations

from contextlib import closing
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from serving import ended, served

from studio.api.app import web
from studio.settings import ROOT, Settings
from studio.studio import Studio

POCKET = ROOT / "assets" / "models" / "pocket" / "model_index.json"
PROMPT = "a {red|blue|green|yellow} __things__ on a {white|black} background"


def pixels(client: httpx.Client, id: str) -> NDArray[np.int64]:
    return np.asarray(Image.open(BytesIO(client.get(f"/api/v1/images/{id}/file").content))).astype(np.int64)


@pytest.mark.skipif(not POCKET.exists(), reason="the pocket model has not been made: make pocket")
def test_each_picture_of_a_request_is_drawn_by_its_own_seed(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, port=0, host="127.0.0.1", rows=4)
    asked = {"prompt": PROMPT, "steps": 6, "seed": 11, "count": 4}
    with closing(Studio.open(settings)) as studio:
        studio.start()
        with served(web(studio), settings) as address, httpx.Client(base_url=address, timeout=240) as client:
            assert (
                client.put("/api/v1/wildcards/things", json={"text": "mug\nsneaker\nlamp\n"}).status_code
                == 200
            )
            client.post("/generate", json={**asked, "count": 1, "seed": 1})  # the worker is there
            job = ended(client, client.post("/api/v1/jobs", json=asked).json()["id"])
            rows = [client.get(f"/api/v1/images/{image['id']}").json() for image in job["images"]]
            prompts = [row["request"]["prompt"] for row in rows]
            assert len(set(prompts)) > 2 and job["request"]["prompts"] == prompts
            for row, prompt in zip(rows, prompts, strict=True):
                literal = {**asked, "prompt": prompt, "seed": row["seed"], "count": 1}
                alone = ended(client, client.post("/api/v1/jobs", json=literal).json()["id"])
                apart = np.abs(pixels(client, row["id"]) - pixels(client, alone["images"][0]["id"]))
                assert apart.max() <= 1, prompt  # another batch shape moves a pixel by one
            assert client.post(f"/api/v1/images/{rows[3]['id']}/replay").json()["verdict"] != "different"
            again = client.post("/api/v1/jobs", json=asked).json()
            assert client.get(f"/api/v1/jobs/{again['id']}").json()["cached"]
