"""What the room's templates are filled with. Everything a person wrote is escaped by Jinja."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from studio.review.brand import Colours, colours_of
from studio.review.store import Copy, Link, Said, Visitor, verdicts
from studio.review.words import Text

TEMPLATES = Path(__file__).with_name("templates")
PIN_SIZE = 0.024  # radius of a pin, of the picture's longer side


@dataclass(frozen=True)
class Comment:
    """`pin`: its number on the picture, or 0. `cx`, `cy`: px of the shown picture."""

    number: int
    name: str
    text: str
    when: str
    iso: str
    pin: int = 0
    cx: float = 0.0
    cy: float = 0.0


@dataclass(frozen=True)
class Piece:
    """A picture with what was said of it. `compare`: the version before it, or ''."""

    id: str
    item: int
    version: int
    versions: int
    width: int
    height: int
    url: str
    radius: float
    mine: str
    compare: str
    approved: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    comments: tuple[Comment, ...] = field(default=())


class Pages:
    """The templates, read once."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True, auto_reload=False,
        )  # fmt: skip
        self._css = (TEMPLATES / "room.css").read_text(encoding="utf-8")
        self.script = (TEMPLATES / "room.js").read_text(encoding="utf-8")
        self.offline = (TEMPLATES / "offline.js").read_text(encoding="utf-8")

    def page(self, template: str, link: Link, t: Text, base: str, /, **more: Any) -> str:
        """`base`: where the link's own addresses begin."""
        colours = colours_of(link.brand.get("palette", {}))
        fields = {
            "t": t, "base": base, "strip": colours.strip, "heading": link.title or t("untitled"),
            "brand": t.of(link.brand.get("title", {})), "logo": link.brand.get("logo", ""),
            "offline": False, **more,
        }  # fmt: skip
        return self._templates.get_template(template).render(fields)

    def css(self, link: Link | None) -> str:
        """None: for whom the brand is still a secret."""
        return root(colours_of(link.brand.get("palette", {}) if link else {})) + self._css

    def door(self, t: Text, base: str, problem: str) -> str:
        """The page that asks for the PIN; nothing of the link is on it."""
        fields = {"t": t, "base": base, "strip": (), "heading": t("pin_title"), "problem": problem}
        return self._templates.get_template("pin.html").render(fields)


def root(colours: Colours) -> str:
    return f":root {{ --accent: {colours.accent}; --ground: {colours.ground}; }}\n"


def pieces_of(
    copies: Sequence[Copy], trail: Sequence[Said], visitor: Visitor | None, t: Text,
    url: Callable[[Copy], str],
) -> list[Piece]:  # fmt: skip
    standing = verdicts(list(trail))
    counts: dict[int, int] = {}
    for copy in copies:
        counts[copy.item] = counts.get(copy.item, 0) + 1
    found = []
    for copy in copies:
        mine = standing.get((copy.id, str(visitor.id))) if visitor else None
        before = [c.id for c in copies if c.item == copy.item and c.version == copy.version - 1]
        votes = [line for (picture, _), line in standing.items() if picture == copy.id]
        found.append(
            Piece(
                copy.id,
                copy.item,
                copy.version,
                counts[copy.item],
                copy.width,
                copy.height,
                url(copy),
                max(copy.width, copy.height) * PIN_SIZE,
                mine.kind if mine else "",
                (before or [""])[0],
                tuple(line.name for line in votes if line.kind == "approved"),
                tuple(line.name for line in votes if line.kind == "rejected"),
                comments_of(copy, trail, t),
            )  # fmt: skip
        )
    return found


def comments_of(copy: Copy, trail: Sequence[Said], t: Text) -> tuple[Comment, ...]:
    """In the order they came; pins count from 1."""
    found, pins = [], 0
    for line in trail:
        if line.kind != "comment" or line.picture != copy.id:
            continue
        place: dict[str, Any] = {}
        if line.x is not None and line.y is not None:
            pins += 1
            place = {"pin": pins, "cx": round(line.x * copy.width, 2), "cy": round(line.y * copy.height, 2)}
        found.append(Comment(line.number, line.name, line.text, day(line.at, t), iso(line.at), **place))
    return tuple(found)


def day(at: float, t: Text) -> str:
    """UTC, to the minute."""
    when = datetime.fromtimestamp(at, UTC)
    if t.language == "zh":
        return f"{when.year}年{when.month}月{when.day}日 {when:%H:%M}"
    return f"{when.day} {when:%b %Y, %H:%M}"


def iso(at: float) -> str:
    """UTC to the second, as ISO 8601 with Z."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
