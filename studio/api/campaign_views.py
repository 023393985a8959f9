"""What the API says of campaigns, as shapes that OpenAPI shows."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, Field

from studio.api.views import Fault, image_url
from studio.brand.sheet import Plan
from studio.campaigns import CampaignView, ShotView
from studio.campaigns.deliver import Named
from studio.campaigns.forecast import Forecast

FIRST = 20  # runs that a preview shows
MOST_PROBLEMS = 200


class CampaignShown(BaseModel):
    """`counts`: runs by state. `eta`: seconds left, null while unknown. Times: UTC, seconds since 1970."""

    id: str
    name: str
    state: str
    total: int
    finished: int
    progress: float = Field(ge=0, le=1)
    counts: dict[str, int]
    eta: float | None
    created: float
    ended: float | None


class PictureShown(BaseModel):
    """`path`: its name in the ZIP."""

    id: str
    seed: int
    width: int
    height: int
    path: str
    url: str


class RunShown(BaseModel):
    """One run of a row. `place`: from 0, for retry. `row`: of the sheet, whose headings are row 1."""

    place: int
    row: int
    state: str
    attempt: int
    cells: dict[str, str]
    prompt: str
    width: int
    height: int
    seed: int
    job: str | None
    error: Fault | None
    images: list[PictureShown]


class ProblemShown(BaseModel):
    row: int
    column: str
    cell: str
    message: str
    hint: str


class ForecastShown(BaseModel):
    """`seconds`: null where no picture like these was made yet. Sizes in bytes."""

    runs: int
    pictures: int
    seconds: float | None
    bytes: int
    free: int


class FirstRun(BaseModel):
    row: int
    prompt: str
    width: int
    height: int
    seed: int | None
    preset: str | None
    count: int


class Preview(BaseModel):
    columns: list[str]
    rows: int
    ignored: list[str] = Field(description="Columns that neither a setting nor a prompt uses.")
    first: list[FirstRun]
    problems: list[ProblemShown]
    forecast: ForecastShown


def campaign(view: CampaignView) -> CampaignShown:
    return CampaignShown(
        id=view.id, name=view.name, state=view.state, total=view.total, finished=view.finished,
        progress=view.finished / view.total if view.total else 1.0, counts=dict(view.counts), eta=view.eta,
        created=view.created, ended=view.ended,
    )  # fmt: skip


def runs(shots: Sequence[ShotView], named: Sequence[Named]) -> list[RunShown]:
    by_place: dict[int, list[PictureShown]] = {}
    for one in named:
        image = one.image
        by_place.setdefault(one.shot.place, []).append(
            PictureShown(
                id=image.id, seed=image.seed, width=image.width, height=image.height, path=one.path,
                url=image_url(image.id),
            )  # fmt: skip
        )
    return [
        RunShown(
            place=shot.place, row=shot.row, state=shot.state, attempt=shot.attempt, cells=dict(shot.cells),
            prompt=shot.request.prompt, width=shot.request.width, height=shot.request.height,
            seed=shot.request.seed, job=shot.job, error=Fault(**shot.error) if shot.error else None,
            images=by_place.get(shot.place, []),
        )  # fmt: skip
        for shot in shots
    ]


def preview(plan: Plan, forecast: Forecast) -> Preview:
    return Preview(
        columns=list(plan.sheet.columns),
        rows=len(plan.sheet.rows),
        ignored=list(plan.sheet.ignored),
        first=[
            FirstRun(
                row=shot.row, prompt=shot.resolved.prompt, width=shot.resolved.width,
                height=shot.resolved.height, seed=shot.request.seed, preset=shot.request.preset,
                count=shot.request.count,
            )  # fmt: skip
            for shot in plan.shots[:FIRST]
            if shot.resolved is not None
        ],
        problems=[
            ProblemShown(
                row=one.row, column=one.column, cell=one.cell, message=one.message, hint=one.hint
            )
            for one in plan.problems[:MOST_PROBLEMS]
        ],
        forecast=ForecastShown(
            runs=forecast.runs, pictures=forecast.pictures, seconds=forecast.seconds, bytes=forecast.bytes,
            free=forecast.free,
        ),  # fmt: skip
    )
