"""Palette scores over REST."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
from serving import refused


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
