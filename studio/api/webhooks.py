"""Addresses that are told when a job has ended."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Response
from pydantic import BaseModel, Field

from studio.api.foreign import body_of, described
from studio.api.views import PREFIX, refusals
from studio.schema import Frozen
from studio.studio import Studio
from studio.webhooks import Hook


class Wanted(Frozen):
    """`secret`: signs what is sent; left out: one is made and told in the answer."""

    url: str = Field(min_length=1, max_length=2000)
    secret: str = Field("", max_length=200)


class HookView(BaseModel):
    """`secret` is told once. `last`: job, state, attempts and status of the newest delivery."""

    id: str
    url: str
    created: float
    secret: str = Field("", description="For checking X-Studio-Signature; told when the hook is made.")
    last: dict[str, Any] | None = None


def view(hook: Hook) -> HookView:
    last = None if hook.last is None else dict(hook.last)
    return HookView(id=hook.id, url=hook.url, created=hook.created, secret=hook.secret, last=last)


def add_webhooks(app: FastAPI, studio: Studio) -> None:
    @app.post(
        f"{PREFIX}/webhooks", status_code=201, tags=["webhooks"], openapi_extra=described(Wanted),
        responses=refusals(415, 422), summary="Be told when a job of yours has ended",
    )  # fmt: skip
    def add(wanted: Annotated[Wanted, Depends(body_of(Wanted))]) -> HookView:
        return view(studio.webhooks.add(wanted.url, wanted.secret))

    @app.get(f"{PREFIX}/webhooks", tags=["webhooks"], responses=refusals(), summary="Your webhooks")
    def hooks() -> list[HookView]:
        return [view(hook) for hook in studio.webhooks.list()]

    @app.delete(
        f"{PREFIX}/webhooks/{{id}}", status_code=204, tags=["webhooks"], responses=refusals(404),
        summary="No longer be told",
    )  # fmt: skip
    def remove(id: str) -> Response:
        studio.webhooks.remove(id)
        return Response(status_code=204)
