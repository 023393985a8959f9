"""What every tab that runs something shares: the two buttons, how a run is told, how it is stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gradio as gr

from studio.errors import StudioError
from studio.studio import Studio
from studio.ui import stage
from studio.ui.text import Text

Updates = dict[Any, Any]  # new value or gr.update by component; components left out stay as they are
CAMPAIGN = "campaign:"  # before the id of one where Cancel is told what to stop
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
AT_ONCE: dict[str, Any] = {**QUIET, "queue": False}

log = logging.getLogger("studio.ui")


def buttons(t: Text, prefix: str, label: str = "") -> tuple[Any, Any]:
    """Generate and Cancel in one place: the second takes the first one's room while a run goes on."""
    with gr.Column(elem_classes=["act"], min_width=0):
        go = gr.Button(
            label or t("generate"), variant="primary", elem_id=f"{prefix}-generate", elem_classes=["go"]
        )
        stop = gr.Button(
            t("cancel"), variant="stop", elem_id=f"{prefix}-cancel", elem_classes=["stop"], visible=False
        )
    return go, stop


def busy(parts: Mapping[str, Any], jobs: str) -> Updates:
    """`jobs`: ids, blanks between them, also of campaigns (CAMPAIGN); Cancel stops them all."""
    return {parts["job"]: jobs, parts["go"]: gr.update(visible=False), parts["stop"]: gr.update(visible=True)}


def idle(parts: Mapping[str, Any]) -> Updates:
    return {parts["go"]: gr.update(visible=True), parts["stop"]: gr.update(visible=False)}


def told(t: Text, parts: Mapping[str, Any], run: Callable[[], Iterator[Updates]]) -> Iterator[Updates]:
    """The run's updates; a refusal or a fault is shown in its place, and Generate always comes back."""
    try:
        yield from run()
    except StudioError as error:
        yield {parts["view"]: stage.problem(t, error.as_dict()), **idle(parts)}
    except Exception:
        log.exception("a run on the page ended in a fault")
        yield {
            parts["view"]: stage.problem(t, {"message": t("fault"), "hint": t("fault_hint")}),
            **idle(parts),
        }


def cancel(studio: Studio) -> Callable[[str], None]:
    def act(jobs: str) -> None:
        for job in jobs.split():
            try:
                if job.startswith(CAMPAIGN):
                    studio.campaigns.cancel(job.removeprefix(CAMPAIGN))
                else:
                    studio.cancel(job)
            except StudioError:
                continue  # it ended in the meantime: nothing to say

    return act
