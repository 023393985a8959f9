"""Campaigns over REST: a sheet in, its rows' states while it runs, pictures, results and a ZIP out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from studio.api import campaign_views as shown
from studio.api.archives import send_archive
from studio.api.foreign import whole_schema
from studio.api.routes import get_and_head
from studio.api.views import PREFIX, refusals
from studio.brand.grid import read_axis
from studio.brand.names import PATTERN
from studio.brand.sheet import Sheet, read_sheet, sheet_of
from studio.campaigns import Options
from studio.errors import BadRequest
from studio.schema import Frozen, GenerationRequest, parse, parse_json
from studio.studio import Studio

MAX_PICTURES = 64  # files of one form; more are sent to uploads before, and named by their ids
TEXTS = ("name", "pattern", "preset", "model")
PIECE = 256 * 2**10  # bytes of a ZIP that are sent at a time
AT = f"{PREFIX}/campaigns"


class Wish(Frozen):
    """A campaign asked for in JSON. `rows`: cells by column. `fields`: for rows that leave them out."""

    rows: list[dict[str, str | int | float | None]] = Field(min_length=1, max_length=2_000)
    name: str = Field("", max_length=120)
    pattern: str = Field(PATTERN, max_length=200)
    fields: dict[str, Any] = Field(default_factory=dict)


class AxisWish(Frozen):
    field: str = Field(max_length=200)
    values: str = Field(max_length=10_000)


class GridWish(Frozen):
    """`matrix`: instead of axes, the parts of the prompt with | between them, in every combination."""

    request: dict[str, Any]
    matrix: bool = False
    x: AxisWish | None = None
    y: AxisWish | None = None
    z: AxisWish | None = None
    name: str = Field("", max_length=120)


class Cells(Frozen):
    cells: dict[str, str] = Field(min_length=1, max_length=64)


class Places(Frozen):
    places: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list, max_length=5_000)


class Asked(BaseModel):
    """What came in, whichever way. `pictures`: file content by name, for cells that name a file."""

    table: list[list[str]] | None = None
    data: bytes = b""
    name: str = ""
    pattern: str = PATTERN
    fields: dict[str, Any] = Field(default_factory=dict)
    pictures: dict[str, bytes] = Field(default_factory=dict)

    def sheet(self) -> Sheet:
        return sheet_of(self.table) if self.table is not None else read_sheet(self.data)

    def options(self, pictures: Mapping[str, str]) -> Options:
        known = set(GenerationRequest.model_fields)
        unknown = [name for name in self.fields if name not in known]
        if unknown:
            raise BadRequest(f"Unknown field {unknown[0][:80]!r}.", field="fields", code="unknown_field")
        return Options(pattern=self.pattern, fields=self.fields, pictures=pictures)


async def asked(request: Request) -> Asked:
    if request.headers.get("content-type", "").startswith("multipart/"):
        return await from_form(request)
    wish = parse_json(Wish, await request.body())
    columns = list(dict.fromkeys(name for row in wish.rows for name in row))
    cells = [["" if row.get(name) is None else str(row[name]) for name in columns] for row in wish.rows]
    return Asked(table=[columns, *cells], name=wish.name, pattern=wish.pattern, fields=wish.fields)


async def from_form(request: Request) -> Asked:
    """Parts: `file` (the sheet), any number of `pictures`, `name`, `pattern`, `preset`, `model`."""
    try:
        async with request.form(max_files=MAX_PICTURES + 1, max_fields=16) as form:
            sheet = form.get("file")
            if not isinstance(sheet, UploadFile):
                hint = "Send multipart with a CSV or XLSX as the part named file."
                raise BadRequest("The form has no sheet.", field="file", hint=hint)
            texts = {name: str(form[name]) for name in TEXTS if form.get(name)}
            found = Asked(data=await sheet.read(), name=texts.get("name", sheet.filename or "")[:120])
            found.pattern = texts.get("pattern", PATTERN)
            found.fields = {name: texts[name] for name in ("preset", "model") if name in texts}
            for part in form.getlist("pictures"):
                if isinstance(part, UploadFile) and part.filename:
                    found.pictures[part.filename.replace("\\", "/").casefold()[-200:]] = await part.read()
            return found
    except HTTPException as error:
        raise BadRequest(
            "Not a readable form.", field="file", hint=str(error.detail), code="bad_form"
        ) from None


def body_of(kind: type[Frozen]) -> Callable[[Request], Any]:
    async def read(request: Request) -> Any:
        return parse_json(kind, await request.body() or b"{}")

    return read


def add_campaigns(app: FastAPI, studio: Studio) -> None:
    add_starts(app, studio)
    add_changes(app, studio)
    add_results(app, studio)


def add_starts(app: FastAPI, studio: Studio) -> None:
    both = {"application/json": {"schema": whole_schema(Wish)}, "multipart/form-data": FORM}
    body = {"requestBody": {"required": True, "content": both}}

    def start(wish: Asked) -> shown.CampaignShown:
        options = wish.options({})
        sheet = wish.sheet()
        options = wish.options({name: studio.upload(data) for name, data in wish.pictures.items()})
        return shown.campaign(studio.campaigns.create(sheet, options, wish.name))

    def look(wish: Asked) -> shown.Preview:
        """Pictures that came along are kept as uploads: cells that name them can only be judged with them."""
        sheet = wish.sheet()
        options = wish.options({name: studio.upload(data) for name, data in wish.pictures.items()})
        plan = studio.campaigns.plan(sheet, options)
        return shown.preview(plan, studio.campaigns.forecast(plan))

    @app.post(
        AT, status_code=202, tags=["campaigns"], openapi_extra=body, responses=refusals(404, 415, 422, 507),
        summary="Start a campaign from a sheet; 202 means every row is on disk",
    )  # fmt: skip
    async def create(request: Request, response: Response) -> shown.CampaignShown:
        made = await run_in_threadpool(start, await asked(request))
        response.headers["location"] = f"{AT}/{made.id}"
        return made

    @app.post(
        f"{AT}/preview", tags=["campaigns"], openapi_extra=body, responses=refusals(415, 422),
        summary="What a sheet would make: first runs, bad cells, time and disk",
    )  # fmt: skip
    async def preview(request: Request) -> shown.Preview:
        return await run_in_threadpool(look, await asked(request))

    @app.post(
        f"{PREFIX}/grids", status_code=202, tags=["campaigns"], responses=refusals(404, 415, 422),
        openapi_extra=described(GridWish),
        summary="Start an X/Y/Z grid or a prompt matrix; it runs and is read as a campaign",
    )  # fmt: skip
    def grid(wish: Annotated[Any, Depends(body_of(GridWish))]) -> shown.CampaignShown:
        base = parse(GenerationRequest, wish.request)
        axes = [read_axis(axis.field, axis.values) for axis in (wish.x, wish.y, wish.z) if axis is not None]
        if wish.matrix and axes:
            raise BadRequest(
                "A prompt matrix has no axes of its own.", hint="Leave x, y and z out.", field="matrix"
            )
        if wish.matrix:
            return shown.campaign(studio.campaigns.create_matrix(base, wish.name))
        return shown.campaign(studio.campaigns.create_grid(base, axes, wish.name))


FORM = {
    "schema": {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": {"type": "string", "format": "binary", "description": "CSV or XLSX"},
            "pictures": {"type": "array", "items": {"type": "string", "format": "binary"}},
            "name": {"type": "string"},
            "pattern": {"type": "string"},
            "preset": {"type": "string"},
            "model": {"type": "string"},
        },
    }
}


def described(kind: type[Frozen]) -> dict[str, Any]:
    return {"requestBody": {"content": {"application/json": {"schema": whole_schema(kind)}}}}


def add_changes(app: FastAPI, studio: Studio) -> None:
    campaigns = studio.campaigns

    @app.get(AT, tags=["campaigns"], responses=refusals(422), summary="Newest campaigns first")
    def recent(limit: Annotated[int, Query(ge=1, le=200)] = 50) -> list[shown.CampaignShown]:
        return [shown.campaign(view) for view in campaigns.recent(limit)]

    @app.get(f"{AT}/{{id}}", tags=["campaigns"], responses=refusals(404), summary="How far a campaign is")
    def show(id: str) -> shown.CampaignShown:
        return shown.campaign(campaigns.get(id))

    @app.get(f"{AT}/{{id}}/rows", tags=["campaigns"], responses=refusals(404), summary="State of every run")
    def rows(id: str) -> list[shown.RunShown]:
        return shown.runs(campaigns.shots(id), campaigns.pictures(id))

    @app.delete(f"{AT}/{{id}}", tags=["campaigns"], responses=refusals(404, 409), summary="Cancel a campaign")
    def cancel(id: str) -> shown.CampaignShown:
        return shown.campaign(campaigns.cancel(id))

    @app.post(
        f"{AT}/{{id}}/retry", tags=["campaigns"], responses=refusals(404, 409, 415, 422),
        openapi_extra=described(Places),
        summary="Run failed and cancelled rows again, or the ones in places",
    )  # fmt: skip
    def retry(id: str, wish: Annotated[Any, Depends(body_of(Places))]) -> shown.CampaignShown:
        return shown.campaign(campaigns.retry(id, wish.places))

    @app.patch(
        f"{AT}/{{id}}/rows/{{row}}", tags=["campaigns"], responses=refusals(404, 409, 415, 422),
        openapi_extra=described(Cells), summary="Change cells of a row of the sheet and run the row again",
    )  # fmt: skip
    def edit(id: str, row: int, wish: Annotated[Any, Depends(body_of(Cells))]) -> shown.CampaignShown:
        return shown.campaign(campaigns.edit(id, row, wish.cells))


def add_results(app: FastAPI, studio: Studio) -> None:
    campaigns = studio.campaigns

    @get_and_head(
        app, f"{AT}/{{id}}/results.csv", tags=["campaigns"], response_class=Response,
        responses=refusals(404) | {200: {"content": {"text/csv": {}}}}, summary="One line for each picture",
    )  # fmt: skip
    def results(id: str) -> Response:
        return saved(campaigns.results(id), "text/csv; charset=utf-8", "results.csv")

    @get_and_head(
        app, f"{AT}/{{id}}/contact-sheet.png", tags=["campaigns"], response_class=Response,
        responses=refusals(404) | {200: {"content": {"image/png": {}}}},
        summary="All pictures on one; of a grid, the grid with its labels",
    )  # fmt: skip
    def contact(id: str) -> Response:
        data = campaigns.contact_sheet(id)
        return Response(data, media_type="image/png", headers={"cache-control": "no-store"})

    @app.get(
        f"{AT}/{{id}}/pictures.zip", tags=["campaigns"], response_class=StreamingResponse,
        responses=refusals(404) | {200: {"content": {"application/zip": {}}}},
        summary="Pictures by channel with results and contact sheet; ?channel= for one of them",
    )  # fmt: skip
    def pictures(id: str, channel: Annotated[str, Query(max_length=200)] = "") -> Response:
        name = f"campaign-{id[:12]}.zip"
        return send_archive(studio.settings.home, name, lambda file: campaigns.write_zip(id, file, channel))


def saved(data: bytes, mime: str, name: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return Response(data, media_type=mime, headers=headers)
