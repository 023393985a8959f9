"""Palette scores over REST: one picture's, and the library sorted by them."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Response
from pydantic import BaseModel, Field

from studio.api.views import PREFIX, ImageView, image_view, refusals
from studio.brand.palette import PaletteScore
from studio.studio import Studio


class SwatchShown(BaseModel):
    """`share` of the area. `role`, `nearest`: the palette's colour it is held against, `distance` away."""

    colour: str
    share: float = Field(ge=0, le=1)
    role: str
    nearest: str
    distance: float = Field(description="CIEDE2000")
    neutral: bool = Field(
        description="White, grey or black that the palette does not name: counts a quarter."
    )


class ScoreShown(BaseModel):
    preset: str
    score: float = Field(ge=0, le=100)
    swatches: list[SwatchShown]


class ScoredImage(ImageView):
    score: float = Field(ge=0, le=100)


def add_palettes(app: FastAPI, studio: Studio) -> None:
    @app.get(
        f"{PREFIX}/palette/{{id}}", tags=["brand"], responses=refusals(404, 422),
        summary="How well a picture keeps to a preset's palette, and the colours that make it so",
    )  # fmt: skip
    def score(id: str, preset: Annotated[str | None, Query(max_length=80)] = None) -> ScoreShown:
        name, found = studio.palette_score(id, preset)
        return shown(name, found)

    @app.get(
        f"{PREFIX}/palette/{{id}}/recoloured", tags=["brand"], response_class=Response,
        responses=refusals(404, 422) | {200: {"content": {"image/png": {}}}},
        summary="The picture with its hues drawn toward the palette; light and shade stay",
    )  # fmt: skip
    def recoloured(
        id: str,
        preset: Annotated[str | None, Query(max_length=80)] = None,
        strength: Annotated[float, Query(ge=0, le=1, allow_inf_nan=False)] = 0.6,
    ) -> Response:
        data = studio.recoloured(id, preset, strength)
        return Response(data, media_type="image/png", headers={"cache-control": "private, max-age=300"})

    @app.get(
        f"{PREFIX}/palette", tags=["brand"], responses=refusals(404, 422),
        summary="The newest pictures, those that keep best to a preset's palette first",
    )  # fmt: skip
    def ranked(
        preset: Annotated[str, Query(max_length=80)],
        at_least: Annotated[float, Query(ge=0, le=100)] = 0.0,
        search: Annotated[str, Query(max_length=500)] = "",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> list[ScoredImage]:
        rows = studio.by_palette(preset, at_least, search)[:limit]
        return [ScoredImage(**image_view(row).model_dump(), score=found.score) for row, found in rows]


def shown(preset: str, found: PaletteScore) -> ScoreShown:
    return ScoreShown(
        preset=preset, score=found.score, swatches=[SwatchShown(**vars(one)) for one in found.swatches]
    )
