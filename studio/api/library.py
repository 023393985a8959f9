"""The library beyond one picture: stars, trash, collections, receipts, making a picture again."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI
from pydantic import BaseModel, Field

from studio.api.views import PREFIX, refusals
from studio.people import speaker
from studio.studio import Studio

Ids = Annotated[list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=500)]


class Picked(BaseModel):
    """Pictures by id."""

    images: Ids


class Starred(Picked):
    star: bool = True


class Named(BaseModel):
    name: str = Field(max_length=200)


class CollectionView(BaseModel):
    """`images`: pictures in it, trash apart. `created`: UTC, seconds since 1970."""

    id: str
    name: str
    user: str
    created: float
    images: int


class Receipt(BaseModel):
    """What made a picture besides its request; empty fields for pictures from before receipts were kept."""

    seed: int | None = None
    weights: dict[str, str] = Field({}, description="sha256 of each weight file.")
    versions: dict[str, str] = {}
    device: str = ""
    dtype: str = ""
    backend: str = ""
    noise: str = ""
    batch: list[int] = Field([], description="Fewest and most UNet rows of its steps.")
    notes: list[str] = []
    checks: list[dict[str, Any]] = Field([], description="What was looked for in it, found and done.")


class ReplayView(BaseModel):
    """`psnr`: dB, null for identical pixels. `why`: what differs from the receipt."""

    id: str
    verdict: str
    psnr: float | None
    why: tuple[str, ...]


class Changed(BaseModel):
    changed: int


def add_library(app: FastAPI, studio: Studio) -> None:
    picked: dict[str, Any] = {"tags": ["images"], "responses": refusals(404, 415, 422)}

    @app.post(f"{PREFIX}/images/star", summary="Star pictures, or take their stars", **picked)
    def star(asked: Starred) -> Changed:
        studio.star(asked.images, asked.star)
        return Changed(changed=len(asked.images))

    @app.post(f"{PREFIX}/images/trash", summary="Put pictures in the trash", **picked)
    def trash(asked: Picked) -> Changed:
        studio.trash(asked.images)
        return Changed(changed=len(asked.images))

    @app.post(f"{PREFIX}/images/restore", summary="Take pictures out of the trash", **picked)
    def restore(asked: Picked) -> Changed:
        studio.restore(asked.images)
        return Changed(changed=len(asked.images))

    @app.get(
        f"{PREFIX}/images/{{id}}/receipt", tags=["images"], responses=refusals(404),
        summary="What made a picture",
    )  # fmt: skip
    def receipt(id: str) -> Receipt:
        studio.image(id)
        return Receipt(**studio.library.receipt(id))

    @app.post(
        f"{PREFIX}/images/{{id}}/replay", tags=["images"], responses=refusals(404, 409, 503),
        summary="Make a picture again, keep nothing, say how alike it is",
    )  # fmt: skip
    def replay(id: str) -> ReplayView:
        found = studio.replay(id)
        return ReplayView(id=found.id, verdict=found.verdict, psnr=found.psnr, why=found.why)


def add_collections(app: FastAPI, studio: Studio) -> None:
    at, one = f"{PREFIX}/collections", f"{PREFIX}/collections/{{id}}"
    options: dict[str, Any] = {"tags": ["collections"], "responses": refusals(404, 409, 415, 422)}
    shelves = studio.library.collections

    @app.get(at, tags=["collections"], summary="Collections by name")
    def list_collections() -> list[CollectionView]:
        return [CollectionView(**vars(row)) for row in shelves.rows()]

    @app.post(at, status_code=201, summary="Make a collection", **options)
    def make(asked: Named) -> CollectionView:
        return CollectionView(**vars(shelves.make(asked.name, speaker.get().name)))

    @app.patch(one, summary="Give it another name", **options)
    def rename(id: str, asked: Named) -> CollectionView:
        return CollectionView(**vars(shelves.rename(id, asked.name)))

    @app.delete(one, status_code=204, summary="Remove a collection; its pictures stay", **options)
    def remove(id: str) -> None:
        shelves.remove(id)

    @app.post(f"{one}/add", summary="Put pictures in", **options)
    def put(id: str, asked: Picked) -> CollectionView:
        studio.check_owner(asked.images)
        return CollectionView(**vars(shelves.put(id, asked.images)))

    @app.post(f"{one}/take", summary="Take pictures out", **options)
    def take(id: str, asked: Picked) -> CollectionView:
        return CollectionView(**vars(shelves.take(id, asked.images)))
