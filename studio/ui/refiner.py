"""The refiner in a form: two quiet controls, seen only where one is installed that fits the chosen model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from studio.schema import GenerationRequest, Refiner, ResolvedRequest
from studio.studio import Studio
from studio.ui.run import AT_ONCE
from studio.ui.text import Text

SWITCH = float(Refiner.model_fields["at"].default)


def fields(t: Text, studio: Studio, prefix: str, model: Any) -> dict[str, Any]:
    """Components by field name, wired to `model`."""
    choice = gr.Dropdown(
        value="",
        label=t("refiner"),
        info=t("refiner_info"),
        elem_id=f"{prefix}-refiner",
        **seen(t, studio, model.value)["refiner"],
    )
    at = gr.Slider(
        0.1,
        0.99,
        value=SWITCH,
        step=0.01,
        label=t("refiner_at"),
        elem_id=f"{prefix}-refiner-at",
        **seen(t, studio, model.value)["refiner_at"],
    )

    def fit(name: str, chosen: str | None) -> Any:
        both = seen(t, studio, name)
        known = [value for _, value in both["refiner"]["choices"]]
        return gr.update(value=chosen if chosen in known else "", **both["refiner"]), gr.update(
            **both["refiner_at"]
        )

    model.change(fit, [model, choice], [choice, at], **AT_ONCE)
    return {"refiner": choice, "refiner_at": at}


def seen(t: Text, studio: Studio, model: str) -> dict[str, dict[str, Any]]:
    """What both controls show beside `model`: the installed refiners of its family, or nothing at all."""
    found = {row.name: row for row in studio.models.list()}
    family = found[model].family if model in found else ""
    rows = [(row.label, row.name) for row in found.values() if row.refines and row.family == family]
    visible = {"visible": bool(rows)}
    return {"refiner": {"choices": [(t("refiner_none"), ""), *rows], **visible}, "refiner_at": visible}


def read(name: str | None, at: float | None) -> dict[str, Any] | None:
    """The request's field."""
    return {"model": name, "at": float(SWITCH if at is None else at)} if name else None


def asked_by(request: GenerationRequest | ResolvedRequest) -> Mapping[str, Any]:
    """A request's refiner as form values."""
    found = request.refiner
    return {"refiner": found.model if found else "", "refiner_at": found.at if found else SWITCH}
