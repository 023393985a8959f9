"""Wildcard files over REST: what `__name__` in a prompt can draw from."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from pydantic import BaseModel, Field

from studio.api.foreign import whole_schema
from studio.api.views import PREFIX, refusals
from studio.schema import Frozen, parse_json
from studio.studio import Studio
from studio.wildcards import MAX_BYTES, WildcardFile

AT = f"{PREFIX}/wildcards"


class WildcardShown(BaseModel):
    """`lines`: how many can be drawn, 0 for a file that cannot be read. `first`: some of them."""

    name: str
    lines: int
    first: list[str]


class WildcardText(Frozen):
    """One value a line; lines that begin with # are notes."""

    text: str = Field(max_length=MAX_BYTES)


async def asked(request: Request) -> WildcardText:
    return parse_json(WildcardText, await request.body())


def add_wildcards(app: FastAPI, studio: Studio) -> None:
    body: dict[str, Any] = {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": whole_schema(WildcardText)}},
        }
    }

    @app.get(AT, tags=["choices"], summary="Wildcard files for prompts: __name__ draws one of its lines")
    def files() -> list[WildcardShown]:
        return [shown(row) for row in studio.wildcards.list()]

    @app.put(
        f"{AT}/{{name:path}}", tags=["choices"], openapi_extra=body, responses=refusals(404, 415, 422),
        summary="Make or replace a wildcard file; its name may have folders",
    )  # fmt: skip
    def put(name: str, wish: Annotated[WildcardText, Depends(asked)]) -> WildcardShown:
        return shown(studio.wildcards.put(name, wish.text))

    @app.delete(
        f"{AT}/{{name:path}}", status_code=204, tags=["choices"], responses=refusals(404, 422),
        summary="Delete a wildcard file",
    )  # fmt: skip
    def delete(name: str) -> Response:
        studio.wildcards.delete(name)
        return Response(status_code=204)


def shown(row: WildcardFile) -> WildcardShown:
    return WildcardShown(name=row.name, lines=row.lines, first=list(row.first))
