"""What one user may take; the machine's owner may take all. Each limit is met, and not met one below it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from studio.errors import BadRequest, StudioError
from studio.library.quotas import QuotaReached, StorageQuota
from studio.models import Models
from studio.people import Person, speaking
from studio.schema import GenerationRequest
from studio.settings import Settings
from studio.studio import Studio

ANNA, BERTA = (Person(name, frozenset({"read", "generate"})) for name in ("anna", "berta"))
Open = Callable[..., Studio]


@pytest.fixture
def opened(home: Path) -> Iterator[Open]:
    """A studio that runs nothing: what was asked waits."""
    with_limits: list[Studio] = []

    def go(**limits: Any) -> Studio:
        with_limits.append(Studio.open(Settings(home=home, executor="fake", disk_free=0, **limits)))
        return with_limits[-1]

    yield go
    for studio in with_limits:
        studio.close()


def asked(**more: Any) -> GenerationRequest:
    return GenerationRequest(prompt="a mug", width=64, height=64, **more)


def picture() -> bytes:
    out = BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(out, "PNG")
    return out.getvalue()


def test_a_user_has_so_many_jobs_and_no_more(opened: Open) -> None:
    studio = opened(user_jobs=3)
    with speaking(ANNA):
        first = [studio.submit(asked()) for _ in range(3)][0]
        with pytest.raises(QuotaReached, match="3 jobs of yours") as caught:
            studio.submit(asked())
        assert caught.value.status == 429 and caught.value.code == "user_queue_full"
        studio.cancel(first.id)
        studio.submit(asked())
    with speaking(BERTA):
        studio.submit(asked())
    for _ in range(5):
        studio.submit(asked())  # the owner of the machine


def test_many_requests_at_once_are_no_way_past_it(opened: Open) -> None:
    studio = opened(user_jobs=5)

    def ask(_: int) -> bool:
        try:
            with speaking(ANNA):
                studio.submit(asked())
        except StudioError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(24))) == 5


def test_pixels_of_a_day_are_counted_before_they_are_made(opened: Open) -> None:
    studio = opened(user_pixels=4 * 64 * 64)
    with speaking(ANNA):
        studio.submit(asked(count=3))
        with pytest.raises(QuotaReached) as caught:
            studio.submit(asked(count=2))
        assert caught.value.code == "pixel_quota"
        with pytest.raises(QuotaReached):
            studio.submit(asked(upscale=2))
        studio.submit(asked())


def test_what_a_user_keeps_has_an_end(opened: Open) -> None:
    studio = opened(user_storage=2 * len(picture()))
    with speaking(ANNA):
        studio.upload(picture())
        with pytest.raises(StorageQuota) as caught:
            for _ in range(3):
                studio.upload(picture())
        assert caught.value.status == 507
    with speaking(BERTA):
        studio.upload(picture())


def test_a_lora_that_somebody_sent_is_read_elsewhere_first(opened: Open, tmp_path: Path) -> None:
    studio = opened()
    weights = {"unet.attn2.to_k.lora_A.weight": np.full((4, 160), np.nan, np.float16),
               "unet.attn2.to_k.lora_B.weight": np.ones((160, 4), np.float16)}  # fmt: skip
    save_file(weights, tmp_path / "bad.safetensors")
    with pytest.raises(BadRequest) as caught:
        studio.add_lora(tmp_path / "bad.safetensors")
    assert caught.value.code == "non_finite"
    assert "bad" not in [row.name for row in studio.models.loras()]
    Models(studio.settings).add_lora(tmp_path / "bad.safetensors")  # the check is what kept it out
