"""A brand's rules over REST: of a request before it runs, and of a finished picture."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, Field

from studio.api import views
from studio.api.native import Asked
from studio.api.views import PREFIX, refusals
from studio.brand.rules import Light, Report, When
from studio.studio import Studio

Both = dict[Literal["en", "zh"], str]


class RulingShown(BaseModel):
    """`figures`: the numbers in `reason`, for programs."""

    rule: str
    light: Light = Field(description="off: there is nothing to hold it against, and the reason says so.")
    title: Both
    reason: Both
    figures: dict[str, Any]


class ReportShown(BaseModel):
    """`worst`: the gravest light of all rules."""

    when: When
    worst: Light
    rulings: list[RulingShown]


def add_rules(app: FastAPI, studio: Studio) -> None:
    @app.post(
        f"{PREFIX}/rules", tags=["brand"], openapi_extra=views.request_body(),
        responses=refusals(404, 415, 422),
        summary="What the brand's rules say of a request; nothing is queued",
    )  # fmt: skip
    def before(request: Asked) -> ReportShown:
        return shown(studio.rules_before(request))

    @app.get(
        f"{PREFIX}/images/{{id}}/rules", tags=["brand"], responses=refusals(404),
        summary="What the brand's rules say of a finished picture",
    )  # fmt: skip
    def after(id: str) -> ReportShown:
        return shown(studio.rules_after(id))


def shown(report: Report) -> ReportShown:
    return ReportShown(
        when=report.when,
        worst=report.worst.light,
        rulings=[
            RulingShown(
                rule=one.rule,
                light=one.light,
                title=both(one.title),
                reason=both(one.reason),
                figures=dict(one.figures),
            )  # fmt: skip
            for one in report.rulings
        ],
    )


def both(texts: tuple[str, str]) -> Both:
    return {"en": texts[0], "zh": texts[1]}
