"""Installed models one by one, and models on their way from the hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from pydantic import BaseModel, Field

from studio.api.routes import get_and_head
from studio.api.views import PREFIX, Fault, refusals
from studio.models import ModelRow, PullView
from studio.schema import Frozen, parse_json
from studio.studio import Studio


class Wish(Frozen):
    """`id`: OWNER/NAME, or OWNER/NAME/FILE.safetensors, either with @REVISION. `name`: to pick it by.

    `control`: what a ControlNet reads, where its name does not tell.
    """

    id: str = Field(max_length=400)
    name: str | None = Field(None, max_length=100)
    control: str | None = Field(None, max_length=40)


class ModelDetail(BaseModel):
    name: str
    label: str
    family: str
    size: int = Field(description="Native width and height in px.")
    steps: int
    guidance: float
    scheduler: str
    prediction: str
    controls: tuple[str, ...]
    bytes: int
    builtin: bool
    default: bool
    refines: bool = Field(description="It finishes pictures of another model and begins none.")
    distilled: str = Field(description="Kind of few-step model; empty for an ordinary one.")
    source: str = Field(description="File or hub id it came from.")
    revision: str = Field(description="Commit on the hub.")
    hash: str = Field(description="SHA-256 of its file, or of its files' hashes; empty where not reckoned.")
    needs: dict[int, int] = Field(description="Side of a square picture in px -> bytes of memory, about.")


class ControlView(BaseModel):
    """`control`: what it reads. `fits`: models that use it. The rest as of a model."""

    name: str
    control: str
    fits: tuple[str, ...]
    bytes: int
    source: str
    revision: str
    hash: str


class PullDetail(BaseModel):
    """`done`, `of` in bytes."""

    id: str
    source: str
    model: str
    revision: str
    state: str
    done: int
    of: int
    seconds: float
    error: Fault | None


async def asked(request: Request) -> Wish:
    return parse_json(Wish, await request.body())


def add_models(app: FastAPI, studio: Studio) -> None:
    at = f"{PREFIX}/models/{{name}}"

    @get_and_head(app, at, tags=["models"], responses=refusals(404, 422), summary="A model and what it needs")
    def model(name: str) -> ModelDetail:
        return detail(studio, studio.models.get(name))

    @app.post(
        f"{at}/default", tags=["models"], responses=refusals(404, 409, 422),
        summary="Make it the model of requests that name none",
    )  # fmt: skip
    def choose(name: str) -> ModelDetail:
        studio.models.make_default(name)
        return detail(studio, studio.models.get(name))

    @app.delete(
        at, status_code=204, tags=["models"], responses=refusals(404, 409),
        summary="Delete the files of a model or ControlNet",
    )  # fmt: skip
    def remove(name: str) -> Response:
        studio.models.remove(name)
        return Response(status_code=204)

    @app.get(f"{PREFIX}/controls", tags=["models"], summary="ControlNets that were taken in")
    def controls() -> list[ControlView]:
        rows = studio.models.controls.list()
        return [ControlView.model_validate(row, from_attributes=True) for row in rows]


def add_pulls(app: FastAPI, studio: Studio) -> None:
    shape = Wish.model_json_schema()

    @app.post(
        f"{PREFIX}/pulls", status_code=202, tags=["models"], responses=refusals(403, 404, 409, 415, 422, 503),
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": shape}}}},
        summary="Fetch a model, ControlNet or LoRA of the hub; begun downloads go on where they ended",
    )  # fmt: skip
    def pull(wish: Annotated[Wish, Depends(asked)], response: Response) -> PullDetail:
        begun = studio.pulls.start(wish.id, wish.name, wish.control)
        response.headers["location"] = f"{PREFIX}/pulls/{begun.id}"
        return shown(begun)

    @app.get(f"{PREFIX}/pulls", tags=["models"], summary="Downloads, newest first")
    def pulls() -> list[PullDetail]:
        return [shown(view) for view in studio.pulls.list()]

    @app.get(
        f"{PREFIX}/pulls/{{id}}", tags=["models"], responses=refusals(404), summary="A download's progress"
    )
    def show(id: str) -> PullDetail:
        return shown(studio.pulls.get(id))

    @app.delete(
        f"{PREFIX}/pulls/{{id}}", tags=["models"], responses=refusals(404, 409), summary="Stop a download"
    )
    def cancel(id: str) -> PullDetail:
        return shown(studio.pulls.cancel(id))


def detail(studio: Studio, row: ModelRow) -> ModelDetail:
    own: Mapping[str, Any] = {
        "default": row.name == studio.models.default(),
        "needs": studio.models.needs(row.name, studio.executor.status().dtype),
    }
    fields = [name for name in ModelDetail.model_fields if name not in own]
    return ModelDetail(**{name: getattr(row, name) for name in fields}, **own)


def shown(view: PullView) -> PullDetail:
    return PullDetail.model_validate(view, from_attributes=True)
