"""Brand files over REST: read, save, versions, delete; kits out, brands of any kind in."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import FastAPI, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from studio.api.archives import send_archive
from studio.api.native import FILE_FORM, file_of, sent_file
from studio.api.views import PREFIX, PresetView, preset_view, refusals
from studio.errors import NotFound
from studio.kits.kits import Kind, digest
from studio.people import speaker
from studio.presets.yaml_nodes import MAX_BYTES
from studio.studio import Studio

AT = f"{PREFIX}/presets/{{name}}"


class Brand(BaseModel):
    """`base`: SHA-256 of the text the change was made from; another text there by now is a conflict."""

    text: str = Field(max_length=MAX_BYTES)
    base: str | None = Field(None, pattern="^[0-9a-f]{64}$")


class Source(BaseModel):
    """`base`: to be sent back with a change. `own`: the company's file, not the shipped one."""

    text: str
    base: str
    own: bool


class VersionView(BaseModel):
    number: int
    by: str
    at: float
    sha256: str


class SignerView(BaseModel):
    name: str
    fingerprint: str
    ours: bool


class KitPicture(BaseModel):
    kind: Kind
    file: str


class BroughtView(BaseModel):
    """`name`: of the preset it became, empty where `problem` says why not. `left_out`: not carried over."""

    name: str
    source: str
    left_out: tuple[str, ...]
    loras: tuple[str, ...]
    signer: SignerView | None
    problem: str


def add_kits(app: FastAPI, studio: Studio) -> None:
    @app.get(
        f"{AT}/source", tags=["brands"], responses=refusals(404, 422), summary="The file as it was typed"
    )
    def source(name: str) -> Source:
        text = studio.kits.text(name)
        return Source(text=text, base=digest(text), own=studio.kits.is_own(name))

    @app.put(AT, tags=["brands"], responses=refusals(409, 422), summary="Save a brand file as a new version")
    def save(name: str, brand: Brand) -> PresetView:
        return preset_view(studio.kits.save(name, brand.text, speaker.get().name, brand.base))

    @app.delete(
        AT, tags=["brands"], status_code=204, responses=refusals(404, 409, 422),
        summary="Delete a brand file of the company's own; its versions stay",
    )  # fmt: skip
    def delete(name: str) -> None:
        studio.kits.delete(name)

    @app.get(
        f"{AT}/versions", tags=["brands"], responses=refusals(422), summary="Saved versions, newest first"
    )
    def versions(name: str) -> list[VersionView]:
        return [VersionView(**vars(row)) for row in studio.kits.versions(name)]

    @app.get(
        f"{AT}/versions/{{number}}",
        tags=["brands"],
        responses=refusals(404, 422),
        summary="The text of a version",
    )
    def version(name: str, number: Annotated[int, InPath(ge=1, le=99_999)]) -> Source:
        text = studio.kits.version(name, number)
        return Source(text=text, base=digest(text), own=True)

    add_pictures(app, studio)
    add_trade(app, studio)


def add_pictures(app: FastAPI, studio: Studio) -> None:
    @app.get(
        f"{PREFIX}/kits/{{kind}}/{{file}}", tags=["brands"], response_class=Response,
        responses=refusals(404, 422) | {200: {"content": {"image/png": {}, "image/jpeg": {}}}},
        summary="A logo or sample picture by the name that brand files give it",
    )  # fmt: skip
    def picture(kind: Kind, file: str) -> Response:
        found = studio.kits.picture(kind, file)
        if found is None:
            raise NotFound(f"No such file among the {kind}.", code="image_not_found")
        mime = "image/png" if found.suffix == ".png" else "image/jpeg"
        headers = {"cache-control": "no-cache", "content-security-policy": "sandbox"}
        return Response(found.read_bytes(), media_type=mime, headers=headers)

    @app.post(
        f"{PREFIX}/kits/{{kind}}", tags=["brands"], status_code=201, responses=refusals(409, 415, 422),
        openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": FILE_FORM}}},
        summary="Keep a logo or sample picture for brand files to name; says by what name",
    )  # fmt: skip
    async def keep(
        request: Request,
        kind: Kind,
        name: Annotated[str, Query(max_length=200, description="Without its ending.")],
        replace: bool = False,
    ) -> KitPicture:
        data = await file_of(request)
        file = await run_in_threadpool(studio.keep_kit_picture, kind, name, data, replace)
        return KitPicture(kind=kind, file=file)


def add_trade(app: FastAPI, studio: Studio) -> None:
    @app.get(
        f"{AT}/kit", tags=["brands"], response_class=StreamingResponse,
        responses=refusals(404, 422) | {200: {"content": {"application/zip": {}}}},
        summary="A signed .brandkit: the brand file and the LoRAs it wears",
    )  # fmt: skip
    def kit(name: str) -> Response:
        by = speaker.get().name
        return send_archive(
            studio.settings.home, f"{name}.brandkit", lambda out: studio.trade.export(name, by, out)
        )

    @app.post(
        f"{PREFIX}/kits", tags=["brands"], status_code=201, responses=refusals(409, 413, 415, 422),
        openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": FILE_FORM}}},
        summary="Bring brands in: .brandkit, brand file, A1111's styles.csv, Fooocus preset",
    )  # fmt: skip
    async def bring(
        request: Request,
        filename: Annotated[str, Query(max_length=200, description="Its ending tells what it is.")],
        replace: bool = False,
    ) -> list[BroughtView]:
        by = speaker.get().name
        async with sent_file(request) as part:
            rows = await run_in_threadpool(studio.trade.bring, part.file, filename, by, replace)
        return [BroughtView(**asdict(row)) for row in rows]
