"""A room in its own process, as a studio keeps it, with pictures drawn for the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect
from rooms import Rooms, Shelf

from studio.review.review import Review
from studio.settings import Settings

expect.set_options(timeout=30_000)  # a busy machine is no fault of the page


@pytest.fixture
def review(tmp_path: Path) -> Iterator[Review]:
    """Not started: what needs no process."""
    with closing(Review(Settings(home=tmp_path, review_port=0), Shelf().give)) as review:
        yield review


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    """One running room for the tests of a file."""
    home, shelf = tmp_path_factory.mktemp("home"), Shelf()
    with closing(Review(Settings(home=home, review_port=0), shelf.give)) as review:
        review.start()
        yield Rooms(review, shelf)


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=20) as client:
        yield client
