"""A brand's rules as lights: green, amber, red, or off where there is nothing to hold a picture against.

Each rule measures one thing and says it with figures, in English and Chinese. What is measured is narrower
than what a rule is called: edges are counted, nobody reads text or knows a product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from studio import edges
from studio.brand.logo import LEAST, Box
from studio.brand.reasons import REASONS

Light = Literal["green", "amber", "red", "off"]
When = Literal["before", "after"]
ORDER: tuple[Light, ...] = ("off", "green", "amber", "red")  # from mild to grave
BOTH: tuple[When, ...] = ("before", "after")
AFTER: tuple[When, ...] = ("after",)

SAME_SHAPE = 0.01  # part by which width to height may differ and still be one shape
SIDE = 256  # px of the longer side at which edges are counted, so that the figure does not follow the size
THRESHOLDS = (100, 200)  # Canny's thresholds, as a control's own
# Of a width; EBU R 95 keeps 3.5 to 5 % of each side free of anything that has to be seen.
MARGIN = 0.05
# Share of edge pixels: lines of a table that run through are below, a product above (bench/rule_lights.py).
QUIET, LOUD = 0.02, 0.05
CALM, BUSY = 0.02, 0.06  # the same where a logo lies: one line through it is below, texture above
CONTRAST, LEAST_CONTRAST = 3.0, 2.0  # WCAG 2.2, 1.4.11: 3 for what is no text
PALETTE, LEAST_PALETTE = 70.0, 50.0  # of 100


Edges = NDArray[np.bool_]  # (h, w)


@dataclass(frozen=True)
class Spot:
    """Where a logo lies. `wanted`: px of width that the brand asks for; `space`: px to be kept free around.

    `contrast`: WCAG's at the worst below it, None while there is no picture.
    """

    box: Box
    wanted: float
    space: int
    contrast: float | None = None


@dataclass(frozen=True)
class Words:
    """`drawn`: prompts looked at, `refused` of them. `banned`, `missing`: words that made it so.

    `open`: wildcards with a seed that is not drawn yet: another prompt may come. `rules`: words there are.
    """

    drawn: int = 1
    refused: int = 0
    banned: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    open: bool = False
    rules: int = 0


@dataclass(frozen=True)
class Subject:
    """What is judged. Sizes in px. `edges`: of the finished picture; before a run of what guides it.

    `logo_missing`: there ought to be one and its file is gone. `palette`: 0 to 100. `checks`: as a picture's
    receipt has them. `mark`: how copies for clients are marked; `no_mark`: the brand wants none.
    `transparent`: without a ground, which bears no logo.
    """

    width: int
    height: int
    words: Words = Words()
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    logo: Spot | None = None
    logo_missing: bool = False
    edges: Edges | None = None
    palette: float | None = None
    checks: Sequence[Mapping[str, Any]] = ()
    mark: Literal["on", "small", "off", "no_mark"] = "on"
    transparent: bool = False


@dataclass(frozen=True)
class Ruling:
    """`reason`: English and Chinese, with the figures in it."""

    rule: str
    light: Light
    title: tuple[str, str]
    reason: tuple[str, str]
    figures: Mapping[str, Any]


@dataclass(frozen=True)
class Report:
    when: When
    rulings: tuple[Ruling, ...]

    @property
    def worst(self) -> Ruling:
        """The first of the gravest."""
        return max(self.rulings, key=lambda one: ORDER.index(one.light))

    def count(self, light: Light) -> int:
        return sum(one.light == light for one in self.rulings)


Judged = tuple[Light, str, dict[str, Any]]  # light, reason's name, figures


@dataclass(frozen=True)
class Rule:
    name: str
    title: tuple[str, str]
    when: tuple[When, ...]
    judge: Callable[[Subject], Judged]


def report(when: When, subject: Subject) -> Report:
    rulings = []
    for rule in RULES:
        if when in rule.when:
            light, name, figures = rule.judge(subject)
            english, chinese = (text.format(**figures) for text in REASONS[name])
            rulings.append(Ruling(rule.name, light, rule.title, (english, chinese), figures))
    return Report(when, tuple(rulings))


def judge_words(subject: Subject) -> Judged:
    words = subject.words
    figures = {
        "drawn": words.drawn, "refused": words.refused, "rules": words.rules,
        "said": _listed(words.banned), "lacks": _listed(words.missing),
    }  # fmt: skip
    if not words.rules:
        return "off", "words_none", figures
    if not words.refused:
        return "green", "words_open" if words.open else "words_kept", figures
    name = "words_banned" if words.banned else "words_missing"
    if words.open and words.refused < words.drawn:
        return "amber", f"{name}_some", figures
    return "red", name, figures


def judge_size(subject: Subject) -> Judged:
    width, height, sizes = subject.width, subject.height, subject.sizes
    told = ", ".join(f"{name} {size[0]} × {size[1]}" for name, size in sizes.items())
    figures = {"width": width, "height": height, "channels": told}
    if not sizes:
        return "off", "size_none", figures
    fits = [name for name, size in sizes.items() if size == (width, height)]
    if fits:
        return "green", "size_fits", figures | {"channels": ", ".join(fits)}
    shape = width / height
    alike = [
        f"{name} {size[0]} × {size[1]}"
        for name, size in sizes.items()
        if abs(shape / (size[0] / size[1]) - 1) <= SAME_SHAPE
    ]
    if alike:
        return "amber", "size_shape", figures | {"channels": ", ".join(alike)}
    return "red", "size_other", figures


def judge_logo(subject: Subject) -> Judged:
    spot = subject.logo
    if subject.transparent and (spot is not None or subject.logo_missing):
        return "off", "logo_transparent", {}
    if spot is None:
        return ("red", "logo_missing", {}) if subject.logo_missing else ("off", "logo_none", {})
    figures: dict[str, Any] = {
        "width": spot.box[2], "wanted": round(spot.wanted), "space": spot.space, "least": LEAST,
    }  # fmt: skip
    if spot.wanted < LEAST:
        return "amber", "logo_left_out", figures
    if spot.box[2] < LEAST:
        return "red", "logo_squeezed", figures
    grave: list[tuple[Light, str]] = [("green", "logo_fits")]
    if spot.box[2] < spot.wanted - 1:
        grave.append(("amber", "logo_smaller"))
    if subject.edges is not None:
        share = edge_share(subject.edges, subject.width, _around(spot, subject))
        figures["edges"] = round(100 * share, 1)
        grave[0] = ("green", "logo_free" if spot.contrast is not None else "logo_free_foreseen")
        if share > CALM:
            grave.append(("red" if share > BUSY else "amber", "logo_busy"))
    if spot.contrast is not None:
        figures["contrast"] = round(spot.contrast, 1)
        if spot.contrast < CONTRAST:
            grave.append(("red" if spot.contrast < LEAST_CONTRAST else "amber", "logo_faint"))
    light, name = max(grave, key=lambda one: ORDER.index(one[0]))
    return light, name, figures


def _around(spot: Spot, subject: Subject) -> Box:
    """The logo with its space, as far as the picture goes."""
    left, top, width, height = spot.box
    first, upper = max(0, left - spot.space), max(0, top - spot.space)
    right = min(subject.width, left + width + spot.space)
    return first, upper, right - first, min(subject.height, top + height + spot.space) - upper


def judge_safe_area(subject: Subject) -> Judged:
    """Edges within MARGIN of each side; the loudest side counts."""
    figures: dict[str, Any] = {"margin": round(100 * MARGIN)}
    if subject.edges is None:
        return "off", "safe_unknown", figures
    width, height = subject.width, subject.height
    across, down = round(width * MARGIN), round(height * MARGIN)
    sides = {
        ("left", "左"): (0, 0, across, height), ("right", "右"): (width - across, 0, across, height),
        ("top", "上"): (0, 0, width, down), ("bottom", "下"): (0, height - down, width, down),
    }  # fmt: skip
    shares = {side: edge_share(subject.edges, width, box) for side, box in sides.items()}
    loudest = max(shares, key=lambda side: shares[side])
    figures |= {"edges": round(100 * shares[loudest], 1), "side": loudest[0], "side_zh": loudest[1]}
    if shares[loudest] <= QUIET:
        return "green", "safe_free", figures
    if min(shares.values()) > LOUD:
        return "amber", "safe_all_round", figures
    return ("red" if shares[loudest] > LOUD else "amber"), "safe_busy", figures


def edges_of(pixels: NDArray[np.uint8]) -> Edges:
    """Canny's edges of (H, W, 3), its longer side SIDE px; smaller pictures as they are."""
    scale = min(1.0, SIDE / max(pixels.shape[:2]))
    if scale < 1:
        size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(edges.canny(pixels, *THRESHOLDS)[..., 0] > 0)


def edge_share(drawn: Edges, width: int, box: Box) -> float:
    """Share of `box` that lies on an edge; `box` in px of a picture `width` px wide."""
    part = drawn.shape[1] / width
    left, top, wide, high = (round(one * part) for one in box)
    inside = drawn[top : top + max(1, high), left : left + max(1, wide)]
    return float(inside.mean()) if inside.size else 0.0


def judge_palette(subject: Subject) -> Judged:
    score = subject.palette
    if score is None:
        return "off", "palette_none", {}
    figures = {"score": round(score), "good": round(PALETTE), "least": round(LEAST_PALETTE)}
    if score >= PALETTE:
        return "green", "palette_near", figures
    return ("amber" if score >= LEAST_PALETTE else "red"), "palette_far", figures


def judge_protected(subject: Subject) -> Judged:
    return _checked(subject, "protected")


def judge_safety(subject: Subject) -> Judged:
    return _checked(subject, "safety")


def _checked(subject: Subject, check: str) -> Judged:
    found = next((one for one in subject.checks if one["check"] == check), None)
    if found is None:
        return "off", f"{check}_off", {}
    names = _listed(tuple(dict.fromkeys(str(one["match"]) for one in found["findings"])))
    figures = {"looked_for": found["looked_for"], "names": names}
    if not found["findings"]:
        return "green", f"{check}_clean", figures
    if found["done"] == "blur":
        return "amber", f"{check}_blurred", figures
    return "red", f"{check}_blocked" if found["done"] == "block" else f"{check}_found", figures


def judge_provenance(subject: Subject) -> Judged:
    lights: Mapping[str, Light] = {"on": "green", "small": "amber", "off": "red", "no_mark": "off"}
    return lights[subject.mark], f"mark_{subject.mark}", {}


def _listed(words: Sequence[str]) -> str:
    more = f" +{len(words) - 5}" if len(words) > 5 else ""
    return ", ".join(f"“{word[:40]}”" for word in words[:5]) + more


RULES: tuple[Rule, ...] = (
    Rule("words", ("Words", "用词"), BOTH, judge_words),
    Rule("size", ("Size", "尺寸"), BOTH, judge_size),
    Rule("logo", ("Logo clear space", "标志留白"), BOTH, judge_logo),
    Rule("safe_area", ("Safe area", "安全区"), BOTH, judge_safe_area),
    Rule("palette", ("Palette", "配色"), AFTER, judge_palette),
    Rule("protected", ("Protected pictures", "受保护图片"), AFTER, judge_protected),
    Rule("safety", ("Safety", "内容安全"), AFTER, judge_safety),
    Rule("provenance", ("Provenance mark", "来源标记"), AFTER, judge_provenance),
)
