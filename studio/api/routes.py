"""GET routes that answer HEAD too, which FastAPI alone does not make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.responses import JSONResponse

F = TypeVar("F", bound=Callable[..., Any])


def get_and_head(app: FastAPI, path: str, **options: Any) -> Callable[[F], F]:
    def add(function: F) -> F:
        app.head(path, include_in_schema=False, response_class=options.get("response_class", JSONResponse))(
            function
        )
        return app.get(path, **options)(function)

    return add
