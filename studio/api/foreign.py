"""Routes that speak another tool's protocol: its form for refusals, our sentences in it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool

from studio.api.errors import invalid, unexpected
from studio.errors import StudioError
from studio.schema import parse_json

Form = Callable[[StudioError], Response]
M = TypeVar("M", bound=BaseModel)

LARGE = 2**16  # bytes; parsing more would hold up everybody else's answers


class Sent(BaseModel):
    """What such a tool sends: unknown fields are let pass, since plug-ins add their own."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, frozen=True)


def routes_of(form: Form, log: Callable[[Exception], None]) -> type[APIRoute]:
    """A route class whose refusals, foreseen or not, go out through `form`."""

    class Route(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handler = super().get_route_handler()

            async def handle(request: Request) -> Response:
                try:
                    return await handler(request)
                except StudioError as error:
                    return form(error)
                except RequestValidationError as error:
                    return form(invalid(error))
                except Exception as error:
                    log(error)
                    return form(unexpected(error))

            return handle

    return Route


def body_of(kind: type[M]) -> Callable[[Request], Coroutine[Any, Any, M]]:
    """A dependency: the JSON body as `kind`. An empty body counts as an empty object."""

    async def read(request: Request) -> M:
        body = await request.body() or b"{}"
        if len(body) < LARGE:
            return parse_json(kind, body)
        return await run_in_threadpool(parse_json, kind, body)

    return read


def described(kind: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI's description of a body that `body_of` reads."""
    return {"requestBody": {"content": {"application/json": {"schema": whole_schema(kind)}}}}


def whole_schema(kind: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema, the shapes within it written out: OpenAPI does not find its own $defs."""
    shape = kind.model_json_schema()
    inner = shape.pop("$defs", {})

    def whole(node: Any) -> Any:
        if isinstance(node, list):
            return [whole(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return whole(inner[node["$ref"].rpartition("/")[2]])
        return {key: whole(value) for key, value in node.items()}

    return dict(whole(shape))
