"""Schemathesis reads openapi.json and sends what it allows and what it does not: the answers keep to it.

A long run: FUZZ_EXAMPLES=25 python -m pytest tests/api/test_openapi_holds.py --timeout 3600.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serving import make_model, served

from studio.api.app import web
from studio.executors import FakeExecutor
from studio.settings import Settings
from studio.studio import Studio

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "1"))  # of each operation: allowed ones, and ones that are not
HELD = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
]  # fmt: skip
COSTLY = {"count": (1, 64), "n": (1, 10), "width": (64, 2048), "height": (64, 2048), "upscale": (1, 4)}
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    home = tmp_path_factory.mktemp("home")
    make_model(home / "models" / "pocket")
    with closing(Studio.open(Settings(home=home, port=0, host="127.0.0.1"), FakeExecutor())) as studio:
        studio.start()
        with served(web(studio), studio.settings) as address:
            yield schemathesis.openapi.from_url(f"{address}/openapi.json", timeout=120)


def cheapen(body: Any) -> None:
    """64 pictures of 8192 px are allowed, and take their time; a paused queue takes for ever."""
    if isinstance(body, dict) and body.get("paused") is True:
        body["paused"] = False
    for name, (least, most) in COSTLY.items() if isinstance(body, dict) else ():
        if isinstance(body.get(name), (int, float)) and least <= body[name] <= most:
            body[name] = least


def wrong(operation: Any) -> list[str]:
    """What is wrong with the answers of one operation."""
    found: list[str] = []

    def ask(case: Any) -> None:
        cheapen(case.body)
        try:
            case.call_and_validate(checks=HELD, timeout=60)
        except (Exception, FailureGroup) as error:
            for reason in getattr(error, "exceptions", [error]):
                found.append(f"{operation.label}: {' '.join(str(reason).split())[:700]}")

    bounds = settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    for mode in MODES:
        with suppress(Unsatisfiable):  # nothing can be wrong with a request that takes nothing
            bounds(given(case=operation.as_strategy(generation_mode=mode))(ask))()
    return found


def test_every_answer_keeps_to_its_description(described: Any) -> None:
    operations = [result.ok() for result in described.get_all_operations()]
    assert len(operations) > 50
    found = [line for operation in operations for line in wrong(operation)]
    assert not found, "\n".join(found)


def test_an_answer_that_is_not_described_is_found() -> None:
    app = FastAPI()
    app.get("/teapot")(lambda: JSONResponse({}, 418))
    [operation] = schemathesis.openapi.from_asgi("/openapi.json", app).get_all_operations()
    assert "418" in "".join(wrong(operation.ok()))
