"""Palette scores over REST."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
from PIL import Image
from serving import refused

from studio.brand.colour import to_oklab
from studio.brand.palette import score_pixels


def test_a_picture_is_scored_and_the_library_sorted(
    client: httpx.Client, finished: Callable[..., dict[str, Any]]
) -> None:
    image = finished(preset="nordic", prompt="a pelican in two colours")["images"][0]["id"]
    said = client.get(f"/api/v1/palette/{image}").json()
    assert said["preset"] == "nordic" and 0 <= said["score"] <= 100
    assert abs(sum(one["share"] for one in said["swatches"]) - 1) < 0.01
    rows = client.get("/api/v1/palette", params={"preset": "nordic", "search": "pelican"}).json()
    assert image in [row["id"] for row in rows]
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    best = client.get("/api/v1/palette", params={"preset": "nordic", "at_least": 100}).json()
    assert all(row["score"] == 100 for row in best)
    refused(client.get("/api/v1/palette/" + "0" * 32), 404)
    refused(client.get("/api/v1/palette", params={"preset": "nobody"}), 404)


def test_a_picture_comes_nearer_to_the_palette_and_keeps_its_light(
    client: httpx.Client, finished: Callable[..., dict[str, Any]]
) -> None:
    image = finished(preset="guochao", prompt="a heron to recolour")["images"][0]["id"]
    at = f"/api/v1/palette/{image}/recoloured"
    kept, moved = (read(client.get(at, params={"strength": strength})) for strength in (0, 1))
    palette = {"red": "#C8102E", "gold": "#D4A24C", "green": "#2E8B57"}
    near = [score_pixels(pixels.reshape(-1, 3), palette).score for pixels in (kept, moved)]
    assert near[1] > near[0]
    assert abs(to_oklab(moved)[..., 0] - to_oklab(kept)[..., 0]).mean() < 0.01
    refused(client.get(at, params={"strength": "nan"}), 422)
    refused(client.get(f"/api/v1/palette/{'0' * 32}/recoloured"), 404)


def read(answer: httpx.Response) -> np.ndarray:
    assert answer.headers["content-type"] == "image/png"
    picture = Image.open(io.BytesIO(answer.content))
    assert not picture.info
    return np.asarray(picture)
