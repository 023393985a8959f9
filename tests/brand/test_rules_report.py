"""A brand's rules: each turns red and green, with figures and in both languages."""

from __future__ import annotations

import string
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from studio.brand.reasons import REASONS
from studio.brand.rules import (
    MARGIN,
    RULES,
    SIDE,
    Edges,
    Light,
    Report,
    Ruling,
    Spot,
    Subject,
    When,
    Words,
    edge_share,
    edges_of,
    report,
)

WIDE, HIGH = 640, 480
SIZES = {"web": (1280, 720), "square": (1024, 1024)}
SPOT = Spot((448, 400, 128, 48), 128.0, 24, 6.0)


def plain() -> NDArray[np.uint8]:
    return np.full((HIGH, WIDE, 3), 200, np.uint8)


def checks(*boxes: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Checks of 16 px in these boxes (left, top, right, bottom) on a plain ground."""
    pixels = plain()
    rows, columns = np.indices((HIGH, WIDE)) // 16
    squares = np.where((rows + columns) % 2, 20, 230).astype(np.uint8)[..., None].repeat(3, axis=2)
    for left, top, right, bottom in boxes:
        pixels[top:bottom, left:right] = squares[top:bottom, left:right]
    return pixels


def drawn(*boxes: tuple[int, int, int, int]) -> Edges:
    return edges_of(checks(*boxes))


def ruled(rule: str, subject: Subject, when: When = "after") -> Ruling:
    return next(one for one in report(when, subject).rulings if one.rule == rule)


def subject(**changed: Any) -> Subject:
    return replace(Subject(WIDE, HIGH, edges=edges_of(plain())), **changed)


def found(check: str, done: str = "flag") -> dict[str, Any]:
    findings = [{"match": "acme", "score": 0.9, "box": [0, 0, 1, 1]}] if done else []
    return {"check": check, "looked_for": 3, "findings": findings, "done": done}


CASES: list[tuple[str, Light, Subject]] = [
    ("words", "off", subject()),
    ("words", "green", subject(words=Words(rules=2))),
    ("words", "red", subject(words=Words(refused=1, banned=("gin",), rules=2))),
    ("words", "red", subject(words=Words(refused=1, missing=("acme",), rules=2))),
    ("words", "amber", subject(words=Words(32, 7, ("gin",), rules=2, open=True))),
    ("words", "red", subject(words=Words(32, 32, ("gin",), rules=2, open=True))),
    ("words", "red", subject(words=Words(4, 1, ("gin",), rules=2))),
    ("size", "off", subject()),
    ("size", "green", subject(width=1280, height=720, sizes=SIZES)),
    ("size", "amber", subject(width=640, height=360, sizes=SIZES)),
    ("size", "red", subject(sizes=SIZES)),
    ("logo", "off", subject()),
    ("logo", "red", subject(logo_missing=True)),
    ("logo", "off", subject(logo_missing=True, transparent=True)),
    ("logo", "green", subject(logo=SPOT)),
    ("logo", "amber", subject(logo=replace(SPOT, wanted=40.0, box=(580, 440, 40, 15)))),
    ("logo", "red", subject(logo=replace(SPOT, box=(580, 440, 40, 15)))),
    ("logo", "amber", subject(logo=replace(SPOT, wanted=200.0))),
    ("logo", "amber", subject(logo=replace(SPOT, contrast=2.5))),
    ("logo", "red", subject(logo=replace(SPOT, contrast=1.4))),
    ("logo", "red", subject(logo=SPOT, edges=drawn((448, 400, 640, 480)))),
    ("logo", "amber", subject(logo=SPOT, edges=drawn((424, 376, 448, 480)))),  # in the space beside it
    ("logo", "green", subject(logo=SPOT, edges=drawn((0, 0, 400, 340)))),
    ("safe_area", "green", subject()),
    ("safe_area", "green", subject(edges=drawn((60, 60, 580, 420)))),
    ("safe_area", "amber", subject(edges=drawn((0, 60, 580, 140)))),
    ("safe_area", "red", subject(edges=drawn((0, 60, 580, 420)))),
    ("safe_area", "red", subject(edges=drawn((60, 60, 580, 480)))),
    ("safe_area", "amber", subject(edges=drawn((0, 0, 640, 480)))),
    ("palette", "off", subject()),
    ("palette", "green", subject(palette=88.0)),
    ("palette", "amber", subject(palette=60.0)),
    ("palette", "red", subject(palette=20.0)),
    ("protected", "off", subject()),
    ("protected", "green", subject(checks=[found("protected", "")])),
    ("protected", "red", subject(checks=[found("protected")])),
    ("protected", "amber", subject(checks=[found("protected", "blur")])),
    ("protected", "red", subject(checks=[found("protected", "block")])),
    ("safety", "off", subject(checks=[found("protected")])),
    ("safety", "green", subject(checks=[found("safety", "")])),
    ("safety", "red", subject(checks=[found("safety")])),
    ("safety", "amber", subject(checks=[found("safety", "blur")])),
    ("safety", "red", subject(checks=[found("safety", "block")])),
    ("provenance", "green", subject(mark="on")),
    ("provenance", "amber", subject(mark="small")),
    ("provenance", "red", subject(mark="off")),
    ("provenance", "off", subject(mark="no_mark")),
]


@pytest.mark.parametrize(("rule", "light", "asked"), CASES)
def test_a_rule_turns_to_its_light(rule: str, light: Light, asked: Subject) -> None:
    one = ruled(rule, asked)
    assert one.light == light, one
    assert all(one.reason) and one.reason[0] != one.reason[1]


def test_every_rule_is_seen_red_and_green_here() -> None:
    for light in ("green", "red"):
        assert {rule for rule, shown, _ in CASES if shown == light} == {rule.name for rule in RULES}


def test_every_reason_is_given_here_and_says_its_figures_in_both_languages() -> None:
    for english, chinese in REASONS.values():
        holes = [
            {name.removesuffix("_zh") for _, name, _, _ in string.Formatter().parse(text) if name}
            for text in (english, chinese)
        ]
        assert holes[0] == holes[1]


def test_before_a_run_only_what_can_be_known_is_judged() -> None:
    rules = [one.rule for one in report("before", Subject(WIDE, HIGH)).rulings]
    assert rules == ["words", "size", "logo", "safe_area"]
    assert ruled("safe_area", Subject(WIDE, HIGH), "before").light == "off"
    guided = Subject(WIDE, HIGH, edges=drawn((0, 0, 640, 240)))
    assert ruled("safe_area", guided, "before").light == "red"


def test_the_worst_light_is_the_reports_and_off_is_the_mildest() -> None:
    assert report("before", Subject(WIDE, HIGH)).worst.light == "off"
    assert report("after", subject(palette=10.0)).worst.rule == "palette"
    mixed: Report = report("after", subject(palette=60.0, sizes=SIZES))
    assert mixed.worst.rule == "size" and mixed.count("amber") == 1


@pytest.mark.parametrize("scale", [1, 2])
def test_edges_are_counted_alike_in_every_size(scale: int) -> None:
    small, whole = checks((0, 0, 640, 480)), (0, 0, WIDE, HIGH)
    large = small.repeat(scale, axis=0).repeat(scale, axis=1)
    share = edge_share(edges_of(large), WIDE, whole)
    assert share == pytest.approx(edge_share(edges_of(small), WIDE, whole), abs=0.02)


def test_a_picture_smaller_than_the_measure_is_taken_as_it_is() -> None:
    tiny = np.full((64, SIDE // 2, 3), 255, np.uint8)
    tiny[:, :2] = 0
    found = edges_of(tiny)
    assert found.shape == (64, SIDE // 2)
    assert edge_share(found, SIDE // 2, (0, 0, round(SIDE / 2 * MARGIN), 64)) > 0.1
    assert edge_share(found, SIDE // 2, (SIDE // 2, 64, 4, 4)) == 0


def test_words_with_braces_stand_in_a_reason_as_they_are() -> None:
    one = ruled("words", subject(words=Words(refused=1, banned=("{gin}",), rules=1)))
    assert "“{gin}”" in one.reason[0]
