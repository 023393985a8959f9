"""Review links: making, ending, extending them, and hearing what clients said.

The clients' own page is not among these routes: it is another app on another port (studio/review).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from studio.api.views import PREFIX, refusals
from studio.people import speaker
from studio.review.links import LinkView, ShareRequest, Tunnels, read_span
from studio.review.pages import iso
from studio.review.qr import qr
from studio.review.review import Review
from studio.review.store import Kind, Said
from studio.review.words import LANGUAGES
from studio.schema import parse_json
from studio.studio import Studio

AT = f"{PREFIX}/review/links"


class LinkDetail(BaseModel):
    """A link. `expires`, `created`, `last_visit`: ISO 8601, UTC. `url`: empty once it has ended.

    `prepared`: how many of the images can be seen by now; the others are being copied.
    """

    id: str
    url: str
    title: str
    note: str
    state: str
    created: str
    expires: str
    pin: bool
    download: str
    views: int | None
    viewers: int
    last_visit: str | None
    images: tuple[str, ...]
    prepared: int
    approved: int
    rejected: int
    comments: int
    tunnel: str | None
    tunnel_state: str
    tunnel_problem: str


class Line(BaseModel):
    """A line of the trail. `image`: library id. `x`, `y`: 0 to 1 of the picture, or null."""

    number: int
    link: str
    image: str | None
    name: str
    kind: Kind
    text: str
    x: float | None
    y: float | None
    at: str


class Extension(BaseModel):
    model_config = ConfigDict(extra="forbid")

    expires: float | str = Field(description="Seconds from now, or 1h, 7d; at most 30d.")


class Carrier(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Tunnels | None = Field(description="gradio, ssh, or null to close the link's tunnel.")


class TakenIn(BaseModel):
    new: int


def link_detail(link: LinkView) -> LinkDetail:
    fields: dict[str, Any] = {name: getattr(link, name) for name in LinkDetail.model_fields}
    for name in ("created", "expires", "last_visit"):
        fields[name] = iso(fields[name]) if fields[name] is not None else None
    return LinkDetail(**fields)


def line_of(said: Said) -> Line:
    return Line(
        number=said.number, link=said.link, image=said.source, name=said.name, kind=said.kind,
        text=said.text, x=said.x, y=said.y, at=iso(said.at),
    )  # fmt: skip


async def shared(request: Request) -> ShareRequest:
    return parse_json(ShareRequest, await request.body())


async def extended(request: Request) -> Extension:
    return parse_json(Extension, await request.body())


async def carried(request: Request) -> Carrier:
    return parse_json(Carrier, await request.body())


def body(shape: type[BaseModel]) -> dict[str, Any]:
    schema = shape.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def add_review(app: FastAPI, studio: Studio) -> None:
    add_links(app, studio)
    add_forms(app, studio.review)
    add_feedback(app, studio.review)


def add_links(app: FastAPI, studio: Studio) -> None:
    review = studio.review

    @app.post(
        AT, status_code=201, tags=["review"], openapi_extra=body(ShareRequest),
        responses=refusals(404, 415, 422, 503), summary="Share pictures with clients at a link of their own",
    )  # fmt: skip
    def share(asked: Annotated[ShareRequest, Depends(shared)], response: Response) -> LinkDetail:
        link = studio.share(asked)
        response.headers["location"] = f"{AT}/{link.id}"
        return link_detail(link)

    @app.get(AT, tags=["review"], summary="Review links, newest first, ended ones too")
    def show_links() -> list[LinkDetail]:
        return [link_detail(link) for link in review.all()]

    @app.get(f"{AT}/{{id}}", tags=["review"], responses=refusals(404), summary="One link")
    def show(id: str) -> LinkDetail:
        return link_detail(review.get(id))

    @app.delete(f"{AT}/{{id}}", tags=["review"], responses=refusals(404), summary="End a link at once")
    def revoke(id: str) -> LinkDetail:
        return link_detail(review.revoke(id, speaker.get().name))

    @app.post(
        f"{AT}/{{id}}/extend", tags=["review"], openapi_extra=body(Extension),
        responses=refusals(404, 409, 415, 422), summary="Let a link live longer, counted from now",
    )  # fmt: skip
    def extend(id: str, asked: Annotated[Extension, Depends(extended)]) -> LinkDetail:
        return link_detail(review.extend(id, read_span(asked.expires), speaker.get().name))

    @app.post(
        f"{AT}/{{id}}/tunnel", tags=["review"], openapi_extra=body(Carrier),
        responses=refusals(404, 409, 415, 422), summary="Open or close a tunnel for a link",
    )  # fmt: skip
    def carry(id: str, asked: Annotated[Carrier, Depends(carried)]) -> LinkDetail:
        return link_detail(review.carry(id, asked.kind))


def add_forms(app: FastAPI, review: Review) -> None:
    """A link on paper, and a room in a file."""
    png: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}}
    zipped: dict[int | str, dict[str, Any]] = {200: {"content": {"application/zip": {}}}}

    @app.get(
        f"{AT}/{{id}}/qr", tags=["review"], response_class=Response, responses=refusals(404, 409) | png,
        summary="The link as a QR code",
    )  # fmt: skip
    def code(id: str) -> Response:
        return Response(qr(review.address(id)), media_type="image/png", headers={"cache-control": "no-store"})

    @app.get(
        f"{AT}/{{id}}/package", tags=["review"], response_class=Response,
        responses=refusals(404, 409, 422) | zipped, summary="The room as a file that works offline",
    )  # fmt: skip
    def package(
        id: str, language: Annotated[str, Query(pattern=f"^({'|'.join(LANGUAGES)})$")] = "en"
    ) -> Response:
        headers = {"content-disposition": f'attachment; filename="review-{review.get(id).id}.zip"'}
        return Response(review.package(id, language), media_type="application/zip", headers=headers)


def add_feedback(app: FastAPI, review: Review) -> None:
    @app.get(f"{AT}/{{id}}/trail", tags=["review"], responses=refusals(404), summary="All that happened")
    def trail(id: str) -> list[Line]:
        review.get(id)
        return [line_of(line) for line in review.trail(id)]

    @app.get(f"{PREFIX}/review/feedback", tags=["review"], responses=refusals(422), summary="News of clients")
    def feedback(after: Annotated[int, Query(ge=0)] = 0) -> list[Line]:
        return [line_of(line) for line in review.trail(after=after)]

    @app.post(
        f"{PREFIX}/review/feedback", status_code=201, tags=["review"], responses=refusals(415, 422),
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {}}}},
        summary="Take in a package's feedback file",
    )  # fmt: skip
    def take_in(data: Annotated[bytes, Depends(raw)]) -> TakenIn:
        return TakenIn(new=review.take_in(data))


async def raw(request: Request) -> bytes:
    return await request.body()
