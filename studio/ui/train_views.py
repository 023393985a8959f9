"""What Train draws: the set before and after, what was found in it, runs with their curves and boards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from studio.training.dataset import ORIGINS, Dataset, Entry
from studio.training.forecast import Forecast
from studio.training.frames import Pair
from studio.trainings import RunView
from studio.ui.html import Markup, data_uri, element
from studio.ui.text import Text

LEFT_OUT = 12  # names of pictures that are shown
CURVE = (320, 90)  # px of the loss curve's drawing area


def checked(t: Text, dataset: Dataset, found: Forecast) -> Markup:
    """The set in figures, what was left out and why, and what training takes."""
    left_out = [entry for entry in dataset.entries if not entry.used]
    rows = [
        element(
            "li",
            element("b", entry.name),
            element("span", ", ".join(t(f"train_{finding}") for finding in entry.findings)),
            element("span", t("train_like", name=entry.like)) if entry.like else None,
            class_="refused",
        )
        for entry in left_out[:LEFT_OUT]
    ]
    problems = [
        element("li", element("b", name), element("span", t(f"train_{what}")), class_="refused")
        for name, what in dataset.problems[:LEFT_OUT]
    ]
    theirs = claims(t, dataset.used)
    time = t("train_timed")
    if found.seconds is not None:
        time = t("train_minutes", minutes=max(1, round(found.seconds / 60)))
    facts = [
        t("train_used", used=len(dataset.training), held_out=len(dataset.held_out)),
        t("train_left_out", count=len(left_out)),
        t("train_weights", count=f"{found.trainable:,}", share=f"{found.share:.1%}"),
        t("train_cost", steps=found.steps, memory=f"{found.memory / 2**30:.2f}", time=time),
    ]
    return element(
        "section",
        *[element("p", fact) for fact in facts],
        element("p", t("train_claims")) if theirs else None,
        element("ul", *theirs) if theirs else None,
        element("ul", *rows, *problems) if rows or problems else None,
        class_="shelf",
        data_used=len(dataset.used),
    )


def claims(t: Text, entries: Iterable[Entry]) -> list[Markup]:
    """Pictures that somebody says are theirs, with what the file says."""
    return [
        element(
            "li",
            element("b", entry.name),
            element("span", ", ".join(t(f"train_{one}") for one in entry.findings if one in ORIGINS)),
            element("span", entry.detail),
            class_="claimed",
        )
        for entry in entries
        if set(ORIGINS) & set(entry.findings)
    ][:LEFT_OUT]


def framed(t: Text, pairs: Iterable[Pair]) -> Markup:
    """Each picture with the part that is kept drawn on it, and as training sees it."""
    cards = [_card(t, pair) for pair in pairs]
    return element("section", *cards, class_="train-frames") if cards else Markup("")


def _card(t: Text, pair: Pair) -> Markup:
    entry, (width, height) = pair.entry, pair.frame.bucket
    before, after = (data_uri(picture, "image/jpeg") for picture in (pair.before, pair.after))
    kept = element("i", style=_box(pair), class_="kept")
    whole = element("img", src=before, alt=t("train_before", name=entry.name))
    sizes = t("train_frame", before=f"{entry.width} × {entry.height}", after=f"{width} × {height}")
    return element(
        "figure",
        element("div", whole, kept, class_="before"),
        element("img", src=after, alt=t("train_after", name=entry.name)),
        element("figcaption", sizes),
    )


def _box(pair: Pair) -> str:
    left, top = pair.frame.box[:2]
    width, height = pair.frame.kept
    wide, high = pair.entry.width, pair.entry.height
    shares = {"left": left / wide, "top": top / high, "width": width / wide, "height": height / high}
    return ";".join(f"{name}:{share:.2%}" for name, share in shares.items())


def running(t: Text, run: RunView, losses: Sequence[tuple[int, float]], pictures: Sequence[bytes]) -> Markup:
    state = t(f"train_state_{run.state}")
    told = f"{t('step', step=run.step, of=run.of)}" if run.of else ""
    if run.eta is not None:
        told += f" · {t('train_left', minutes=max(1, round(run.eta / 60)))}"
    marks = [
        element("li", element("b", t("train_epoch", number=one["number"])), element("span", scores(t, one)))
        for one in run.epochs
    ]
    error = run.error or {}
    return element(
        "section",
        element("h3", f"{run.training.title or run.training.name} · {state}"),
        element("p", told, class_="caption", role="status"),
        element("p", f"{error.get('message', '')} {error.get('hint', '')}", class_="bad") if error else None,
        curve(losses) if len(losses) > 1 else None,
        element("ul", *marks) if marks else None,
        element("p", t("train_best", epoch=run.best)) if run.best else None,
        element("div", *[element("img", src=data_uri(one, "image/png"), alt="") for one in pictures],
                class_="train-board"),
        class_="shelf",
        data_state=run.state,
        data_lora=run.lora or None,
    )  # fmt: skip


def scores(t: Text, epoch: Mapping[str, Any]) -> str:
    said = [t("train_loss", loss=f"{epoch['loss']:.4f}")]
    if epoch["held_out"] is not None:
        said.append(t("train_held_out", loss=f"{epoch['held_out']:.4f}"))
    if epoch["style"] is not None:
        said.append(t("train_style", score=f"{epoch['style']:.0%}"))
    return " · ".join(said)


def curve(losses: Sequence[tuple[int, float]]) -> Markup:
    """Mean loss over stretches of the run, on a scale from 0 to the highest."""
    width, height = CURVE
    stretch = max(1, len(losses) // 80)
    means = [
        sum(loss for _, loss in losses[at : at + stretch]) / len(losses[at : at + stretch])
        for at in range(0, len(losses), stretch)
    ]
    top, last = max(means) or 1.0, max(1, len(means) - 1)
    points = " ".join(
        f"{place / last * width:.1f},{height - mean / top * height:.1f}" for place, mean in enumerate(means)
    )
    line = element("polyline", points=points, fill="none", stroke="currentColor", **{"stroke-width": "1.5"})
    return element("svg", line, viewBox=f"0 0 {width} {height}", width="100%", height=height, role="img")


def runs(t: Text, known: Sequence[RunView]) -> Markup:
    """Earlier runs, those that paused with a button to go on."""
    rows = [
        element(
            "li",
            element("b", run.training.title or run.training.name),
            element("span", t(f"train_state_{run.state}")),
            element("button", t("train_resume"), type="button", class_="soft", data_act="resume",
                    data_run=run.id)
            if run.state in ("paused", "failed") else None,
        )
        for run in known[:LEFT_OUT]
    ]  # fmt: skip
    return element("section", element("ul", *rows), class_="shelf") if rows else Markup("")
