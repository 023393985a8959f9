"""What the Campaign tab draws: preview, forecast, progress with every run, downloads."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from studio.brand.sheet import Plan
from studio.campaigns import CampaignView, ShotView
from studio.campaigns.deliver import Named, channels
from studio.campaigns.forecast import Forecast
from studio.errors import StudioError
from studio.ui.html import Markup, element, picture_url
from studio.ui.text import Text

FIRST = 12  # runs of the preview
MOST = 400  # runs that are drawn; the table of results has all
MOST_PROBLEMS = 12
STATES = ("done", "given", "waiting", "failed", "cancelled")


def intro(t: Text) -> Markup:
    return element(
        "div",
        element("p", t("campaign_text")),
        element(
            "details", element("summary", t("campaign_columns")), element("p", t("campaign_columns_text"))
        ),
        class_="note",
    )


def line(text: str) -> Markup:
    return element("p", text, class_="caption", role="status")


def problem(t: Text, error: StudioError) -> Markup:
    return element(
        "div",
        element("p", error.message),
        element("p", error.hint, class_="hint") if error.hint else None,
        class_="sheet-problems",
        role="alert",
    )


def forecast(t: Text, plan: Plan, found: Forecast) -> Markup:
    """Figures of the whole sheet, then the bad cells."""
    if plan.problems:
        lines = [
            element(
                "li", element("b", f"{one.cell} {one.column}"), element("span", f"{one.message} {one.hint}")
            )
            for one in plan.problems[:MOST_PROBLEMS]
        ]
        left = len(plan.problems) - len(lines)
        more = element("li", t("campaign_more", count=left)) if left > 0 else None
        head = element("p", t("campaign_problems", count=len(plan.problems)))
        return element("div", head, element("ul", *lines, more), class_="sheet-problems", role="alert")
    words = [t("campaign_forecast", pictures=found.pictures, rows=len(plan.sheet.rows))]
    words.append(t("campaign_time_unknown") if found.seconds is None else duration(t, found.seconds))
    words.append(t("campaign_disk", size=megabytes(found.bytes), free=megabytes(found.free)))
    ignored = t("campaign_ignored", columns=", ".join(plan.sheet.ignored)) if plan.sheet.ignored else None
    return element(
        "div",
        element("p", " · ".join(words), class_="caption", role="status"),
        element("p", ignored, class_="caption") if ignored else None,
    )


def megabytes(size: int) -> str:
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{max(0.1, size / 2**20):.1f} MB"


def duration(t: Text, seconds: float) -> str:
    if seconds < 90:
        return t("campaign_seconds", count=max(1, round(seconds)))
    return t("campaign_minutes", count=round(seconds / 60))


def first_runs(t: Text, plan: Plan) -> Markup:
    rows = [
        element(
            "li",
            element("b", " ".join(filter(None, (shot.cells.get("sku", ""), f"#{shot.row}")))),
            element("span", shot.resolved.prompt),
            element("span", f"{shot.resolved.width} × {shot.resolved.height}", class_="figures"),
        )
        for shot in plan.shots[:FIRST]
        if shot.resolved is not None
    ]
    left = len(plan.shots) - len(rows)
    return element(
        "section",
        element("h3", t("campaign_first")),
        element("ul", *rows),
        element("p", t("campaign_more_runs", count=left), class_="caption") if left > 0 else None,
        class_="runs-list",
    )


def running(t: Text, view: CampaignView, shots: Sequence[ShotView], named: Sequence[Named]) -> Markup:
    by_place: dict[int, list[Named]] = {}
    for one in named:
        by_place.setdefault(one.shot.place, []).append(one)
    share = view.finished / view.total if view.total else 1.0
    bar = element("div", element("i", style=f"width:{share:.1%}"), class_="progress-line")
    if view.options.grid:
        pictures = grid(t, view)
    else:
        tiles = [tile(t, shot, by_place.get(shot.place, [])) for shot in shots[:MOST]]
        pictures = element("div", *tiles, class_="campaign-tiles")
    left = len(shots) - MOST
    return element(
        "section",
        element("p", summary(t, view), class_="caption", role="status", data_campaign_state=view.state),
        bar,
        downloads(t, view, named) if view.state != "running" and named else None,
        pictures,
        element("p", t("campaign_more_runs", count=left), class_="caption") if left > 0 else None,
        class_="stage",
        data_campaign=view.id,
    )


def grid(t: Text, view: CampaignView) -> Markup:
    if view.state == "running":
        return element("div", class_="grid-sheet waiting")
    return element("img", src=address(view, "contact-sheet.png"), alt=view.name, class_="grid-sheet")


def summary(t: Text, view: CampaignView) -> str:
    counts = [f"{t(f'shot_{state}')} {view.counts[state]}" for state in STATES if view.counts.get(state)]
    words = [t("campaign_of", done=view.finished, total=view.total), *counts]
    if view.eta is not None:
        words.append(t("campaign_left", time=duration(t, view.eta)))
    return " · ".join(words)


def tile(t: Text, shot: ShotView, named: Sequence[Named]) -> Markup:
    label = " ".join(filter(None, (shot.cells.get("sku", ""), f"#{shot.row}")))
    size = f"--w:{shot.request.width};--h:{shot.request.height}"
    if named:
        image = named[0].image
        inside: Markup | None = element(
            "img", src=picture_url(image.id), alt=shot.request.prompt, loading="lazy"
        )
        more = f" +{len(named) - 1}" if len(named) > 1 else ""
        note = named[0].name + more
    else:
        inside = None
        note = str(shot.error["message"]) if shot.error else t(f"shot_{shot.state}")
    return element(
        "figure",
        element("div", inside, class_=f"view {'' if named else shot.state}", style=size),
        element("figcaption", element("b", label), element("span", note, title=note)),
        data_place=shot.place,
        data_state=shot.state,
    )


def address(view: CampaignView, name: str) -> str:
    return f"/api/v1/campaigns/{view.id}/{name}"


def downloads(t: Text, view: CampaignView, named: Sequence[Named]) -> Markup:
    found = channels(named)
    links = [link(t("campaign_zip"), address(view, "pictures.zip"))]
    if len(found) > 1:
        links += [
            link(f"{name} ({count})", address(view, f"pictures.zip?channel={quote(name)}"))
            for name, count in found.items()
        ]
    links.append(link(t("campaign_results"), address(view, "results.csv")))
    links.append(link(t("campaign_contact"), address(view, "contact-sheet.png")))
    return element("div", *links, class_="acts")


def link(label: str, href: str) -> Markup:
    return element("a", label, href=href, class_="soft", download=True)


def recent(t: Text, rows: Sequence[CampaignView], chosen: str) -> Markup:
    if not rows:
        return Markup("")
    items = [
        element(
            "button",
            element("b", view.name),
            element("span", t("campaign_of", done=view.finished, total=view.total)),
            type="button",
            class_="campaign-row",
            data_act="open",
            data_id=view.id,
            aria_current="true" if view.id == chosen else None,
        )  # fmt: skip
        for view in rows
    ]
    return element("section", element("h3", t("campaign_recent")), *items, class_="campaign-recent")
