"""What the checks looked for in a picture, what they found, and what was done: always shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from studio.ui.html import Markup, element
from studio.ui.text import Text


def card(t: Text, checks: Sequence[Mapping[str, Any]]) -> Markup | None:
    if not checks:
        return None
    lines = [line for check in checks for line in lines_of(t, check)]
    return element("ul", *[element("li", line) for line in lines], class_="checks", role="status")


def lines_of(t: Text, check: Mapping[str, Any]) -> list[str]:
    safety = check["check"] == "safety"
    if not check["findings"]:
        return [t("check_safe" if safety else "check_none", count=check["looked_for"])]
    done = t(f"check_{check['done']}")
    if safety:
        return [t("check_unsafe", names=", ".join(one["match"] for one in check["findings"]), done=done)]
    return [
        t(
            "check_found", match=found["match"], score=f"{found['score']:.0%}",
            left=f"{found['box'][0]:.0%}", top=f"{found['box'][1]:.0%}", done=done,
        )
        for found in check["findings"]
    ]  # fmt: skip
