"""The page's own components, each a `gr.HTML` with a small script of assets/js."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from studio.catalog import FAMILIES
from studio.models import LoraRow
from studio.settings import ROOT
from studio.ui.html import Markup, element
from studio.ui.text import Text

ASSETS = ROOT / "assets"
BUDGET = 1.5  # sum of |weight| above which stacked styles start to fight (USERS.md 17)

# One listener for every button in the markup: its data-* attributes are what the event carries.
CLICKS = """
element.addEventListener('click', (event) => {
  const hit = event.target.closest('[data-act]');
  if (hit) trigger('select', { ...hit.dataset });
});
"""


def script(name: str) -> str:
    return (ASSETS / "js" / f"{name}.js").read_text(encoding="utf-8")


def board(value: Markup, **options: Any) -> Any:
    """Server-made markup whose `data-act` buttons raise `select`; the event's `_data` has their data-*."""
    return gr.HTML(value, js_on_load=CLICKS, apply_default_css=False, **options)


def picker(t: Text, elem_id: str) -> Any:
    """Upload, drop, paste or webcam. Value: a picture's id, or empty."""
    inside = element(
        "div",
        element(
            "div",
            element("img", alt=t("picture")),
            element("video", autoplay=True, playsinline=True, muted=True),
            element("span", t("drop"), class_="picker-hint"),
            class_="picker-view",
        ),
        element(
            "div",
            element(
                "label",
                t("choose"),
                element(
                    "input", type="file", accept="image/png,image/jpeg,image/webp", aria_label=t("choose")
                ),
                class_="soft",
            ),
            element("button", t("camera"), type="button", data_do="camera", class_="soft when-idle"),
            element("button", t("shoot"), type="button", data_do="shoot", class_="soft when-camera"),
            element("button", t("close"), type="button", data_do="close", class_="soft when-camera"),
            element(
                "button", "×", type="button", data_do="clear", class_="tiny when-full", aria_label=t("clear")
            ),
            class_="picker-acts",
        ),
        element("p", class_="picker-note", role="status"),
        class_="picker",
        data_state="empty",
    )
    words = {"sending": t("sending"), "offline": t("offline"), "camera": t("no_camera")}
    return part("picker", "", inside, elem_id, {"words": words})


def dropper(t: Text, elem_id: str, hint: str, to: str) -> Any:
    """A line that takes a picture file, and any dropped on its tab. Value: what `to` answered, as JSON."""
    inside = element(
        "div",
        element(
            "label",
            element("span", hint, class_="picker-hint"),
            element("span", t("choose"), class_="soft"),
            element("input", type="file", accept="image/png,image/jpeg,image/webp", aria_label=t("choose")),
        ),
        element("p", class_="picker-note", role="status"),
        class_="dropper",
    )
    words = {"sending": t("sending"), "offline": t("offline")}
    return part("dropper", "", inside, elem_id, {"to": to, "words": words})


def stack(t: Text, rows: Sequence[LoraRow], elem_id: str) -> Any:
    """LoRA rows with weights and the strength budget. Value: see `stacked`."""
    words = {
        key: t(f"stack_{key}")
        for key in ("add", "none", "remove", "weight", "trigger", "budget", "over", "locked")
    } | {"refused": t("refused")}
    config = {"words": words, "budget": BUDGET, "known": shelved(rows)}
    return part("stack", stacked([]), element("div", class_="stack"), elem_id, config)


def part(name: str, value: str, inside: Markup, elem_id: str, config: Mapping[str, Any]) -> Any:
    """A component drawn by assets/js/<name>.js. `inside` is fixed markup: Gradio reads it as a template.

    `config` goes in as a JSON literal, not as props: an update that leaves this component alone wipes them
    (Gradio 6.31). Values are strings for a like reason: the next event's diff changes a dict in place.
    """
    return gr.HTML(
        value,
        html_template=str(inside),
        js_on_load=f"const config = {json.dumps(config)};\n{script(name)}",
        apply_default_css=False,
        elem_id=elem_id,
    )


def stacked(
    loras: Sequence[Mapping[str, Any]], *, locked: bool = False, shelf: Sequence[LoraRow] | None = None
) -> str:
    """The stack's value, JSON: `{"rows": [{name, weight}], "locked", "known"?}`. `shelf`: files, if new."""
    value: dict[str, Any] = {"rows": list(loras), "locked": locked}
    return json.dumps(value if shelf is None else value | {"known": shelved(shelf)})


def unstacked(value: str) -> list[dict[str, Any]]:
    """The rows of a stack's value, as the request wants them."""
    return [{"name": row["name"], "weight": float(row["weight"])} for row in json.loads(value)["rows"]]


def shelved(rows: Sequence[LoraRow]) -> list[dict[str, Any]]:
    return [
        {
            "name": row.name,
            "title": row.title or row.name,
            "base": FAMILIES[row.base].label if row.base in FAMILIES else "?",
            "rank": row.rank,
            "trigger": row.trigger,
            "problem": row.problem,
        }
        for row in rows
    ]


def gigabytes(bytes: int) -> str:
    return f"{bytes / 2**30:.1f} GiB" if bytes >= 2**30 else f"{bytes / 2**20:.0f} MiB"
