"""What is found out about a picture file: plain data, light to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["intact", "changed", "untrusted", "broken"]
Verdict = Literal["ours, unchanged", "ours, changed since", "made by another program", "unknown"]


@dataclass(frozen=True)
class Manifest:
    """What a picture's manifest says.

    `state`: intact (nothing changed since it was signed by this studio), changed (pixels or metadata are
    others), untrusted (nothing changed, signed with another studio's or program's key), broken (unreadable).
    `picture`: this studio's id of it. `made`: ISO time when its own key signed it.
    """

    state: State
    signer: str = ""
    generator: str = ""
    model: str = ""
    picture: str = ""
    made: str = ""
    ai_made: bool = False


@dataclass(frozen=True)
class Verification:
    """`mark`: 8 hex digits read from the pixels, or "". `pictures`: their ids in the library."""

    verdict: Verdict
    manifest: Manifest | None
    mark: str
    pictures: tuple[str, ...]
