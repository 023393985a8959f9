"""What is looked for in a finished picture, and what happens when it is found."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from studio.safety.outgoing import on_white
from studio.safety.protected import THRESHOLD, Protected
from studio.safety.protected_features import Picture
from studio.safety.rules import Policy

BLUR = 0.06  # of the longer side
GREY = (128, 128, 128)
STRICTNESS: Sequence[Policy] = ("flag", "blur", "block")


@dataclass(frozen=True)
class Finding:
    """`match`: name of what is known. `score` 0 to 1. `box`: left, top, width, height as shares."""

    match: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Checked:
    """`looked_for`: how many things. `done`: '' where nothing was found, else the policy followed."""

    check: str
    looked_for: int
    findings: tuple[Finding, ...]
    done: str = ""


Told = Mapping[str, Any]  # as `told` says it
Policies = Mapping[str, Policy]  # by the name of a check
Check = Callable[[Picture], tuple[int, tuple[Finding, ...]]]


class Checks:
    """`folder`: protected pictures. `policies`: by the name of a check; flag where it has none."""

    def __init__(self, folder: Path, policies: Policies) -> None:
        self._protected, self._policies = Protected(folder), policies
        self.table: Mapping[str, Check] = {"protected": self._find_protected}

    def look(self, file: bytes) -> tuple[Checked, ...]:
        """Every check that has something to look for. `file`: PNG, JPEG or WebP that was judged before."""
        return self._look(np.asarray(_opened(file)), {})

    def _look(self, picture: Picture, brand: Policies) -> tuple[Checked, ...]:
        found = []
        for name, check in self.table.items():
            looked_for, findings = check(picture)
            if looked_for:
                done = self._policy(name, brand) if findings else ""
                found.append(Checked(name, looked_for, findings, done))
        return tuple(found)

    def apply(
        self, file: bytes, seen: Sequence[Told] = (), brand: Policies = MappingProxyType({})
    ) -> tuple[bytes, tuple[Checked, ...]]:
        """`file`, blurred or blocked where a policy wants that, as PNG; and what was found.

        `seen`: what the worker's checks found, which need a model; what is done about it is decided here.
        `brand`: policies of the picture's brand; the stricter of its and the studio's is followed.
        """
        picture = _opened(file)
        checked = (
            *(self._ruled(one, brand) for one in seen),
            *self._look(np.asarray(picture), brand),
        )
        done = {one.done for one in checked}
        if "block" in done:
            return _png(Image.new("RGB", picture.size, GREY)), checked
        if "blur" in done:
            return _png(_blurred(picture, checked)), checked
        return file, checked

    def _policy(self, check: str, brand: Policies) -> Policy:
        return max(self._policies.get(check, "flag"), brand.get(check, "flag"), key=STRICTNESS.index)

    def _ruled(self, seen: Told, brand: Policies) -> Checked:
        findings = tuple(
            Finding(one["match"], one["score"], _rounded(tuple(one["box"]))) for one in seen["findings"]
        )
        done = self._policy(seen["check"], brand) if findings else ""
        return Checked(seen["check"], seen["looked_for"], findings, done)

    def _find_protected(self, picture: Picture) -> tuple[int, tuple[Finding, ...]]:
        index = self._protected.index()
        names = self._protected.names
        hits = index.search(picture, THRESHOLD) if index is not None else []
        return len(names), tuple(Finding(names[h.mark], round(h.score, 3), _rounded(h.box)) for h in hits)


def told(checked: tuple[Checked, ...]) -> list[dict[str, Any]]:
    """For receipts and answers: plain JSON."""
    return [
        {**vars(one), "findings": [{**vars(found), "box": list(found.box)} for found in one.findings]}
        for one in checked
    ]


def _rounded(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, width, height = (round(float(part), 4) for part in box)
    return left, top, width, height


def _blurred(picture: Image.Image, checked: tuple[Checked, ...]) -> Image.Image:
    """Only where something was found, with half as much again around it."""
    soft = picture.filter(ImageFilter.GaussianBlur(max(picture.size) * BLUR))
    out = picture.copy()
    for one in checked:
        for found in one.findings if one.done == "blur" else ():
            left, top, width, height = found.box
            box = (
                max(0, round((left - width / 4) * picture.width)),
                max(0, round((top - height / 4) * picture.height)),
                min(picture.width, round((left + width * 1.25) * picture.width)),
                min(picture.height, round((top + height * 1.25) * picture.height)),
            )  # fmt: skip
            out.paste(soft.crop(box), box)
    return out


def _opened(file: bytes) -> Image.Image:
    """What is hidden by transparency is not looked at, and not shown by a blur."""
    return on_white(Image.open(io.BytesIO(file), formats=["PNG", "JPEG", "WEBP"]))


def _png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
