"""The whole way with the model that ships: HTTP, queue, worker process, engine, library, file."""

from __future__ import annotations

import base64
from contextlib import closing
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from serving import served

from studio.api.app import web
from studio.settings import ROOT, Settings
from studio.studio import Studio

POCKET = ROOT / "assets" / "models" / "pocket" / "model_index.json"


@pytest.mark.skipif(not POCKET.exists(), reason="the pocket model has not been made: make pocket")
def test_a_picture_is_made_over_http_by_the_worker_process(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, port=0, host="127.0.0.1")
    asked = {"prompt": "a red mug on a blue background", "steps": 8, "seed": 1, "count": 2}
    with closing(Studio.open(settings)) as studio:
        studio.start()
        with served(web(studio), settings) as address:
            answer = httpx.post(f"{address}/generate", json=asked, timeout=240)
            assert answer.status_code == 200, answer.text
            assert httpx.get(f"{address}/readyz").status_code == 200
    one, two = (np.asarray(Image.open(BytesIO(base64.b64decode(data)))) for data in answer.json()["images"])
    assert one.shape == two.shape == (answer.json()["height"], answer.json()["width"], 3)
    assert one.std() > 10 and np.abs(one.astype(int) - two.astype(int)).mean() > 1
