"""A product through the REST door with the model that ships: its pixels in a real picture, and a cut-out."""

from __future__ import annotations

import io
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from serving import ended, served

from pocket.scenes import Scene, draw_with_mask
from studio.api.app import web
from studio.settings import ROOT, Settings
from studio.studio import Studio

POCKET = ROOT / "assets" / "models" / "pocket" / "model_index.json"


@pytest.mark.skipif(not POCKET.exists(), reason="the pocket model has not been made: make pocket")
def test_a_product_stands_in_a_real_picture_and_a_subject_is_cut_out_of_one(tmp_path: Path) -> None:
    photo, mask = draw_with_mask(Scene("teapot", "teal", "white", style="flat"), 256)
    out = io.BytesIO()
    Image.fromarray(photo).save(out, "JPEG", quality=95)
    settings = Settings(home=tmp_path, port=0, host="127.0.0.1")
    with closing(Studio.open(settings)) as studio:
        studio.start()
        with served(web(studio), settings) as address, httpx.Client(base_url=address, timeout=240) as client:
            sent = client.post("/api/v1/uploads", files={"file": ("teapot.jpg", out.getvalue())}).json()["id"]
            scene = {"prompt": "a red mug on a beige background", "steps": 8, "seed": 1}
            locked = {"product": {"image": sent, "width": 0.5, "edges": True}}
            pictures = []
            for asked in (scene | locked, scene | {"background": "transparent"}, scene):
                job = client.post("/api/v1/jobs", json=asked)
                assert job.status_code == 202, job.text
                image = ended(client, job.json()["id"])["images"][0]
                pictures.append(np.asarray(Image.open(io.BytesIO(client.get(image["url"]).content))))
    with_product, clear, plain = pictures
    teal = photo[mask > 127].astype(int).mean(axis=0)
    middle = with_product[75:90, 50:78].astype(int).reshape(-1, 3)
    assert np.abs(middle.mean(axis=0) - teal).max() < 40  # a teapot's belly, where a red mug was asked for
    alpha = clear[..., 3]
    assert alpha[0, 0] == alpha[-1, -1] == 0 and 0.05 < (alpha == 255).mean() < 0.6
    assert np.array_equal(clear[alpha == 255][:, :3], plain[alpha == 255])
