"""The room as one file that works without a connection, and what comes back from it."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from studio.errors import BadRequest, Conflict, NotFound, TooLarge
from studio.review import keys
from studio.review.feedback import tell
from studio.review.links import Links
from studio.review.pages import Pages, pieces_of
from studio.review.room import MIMES
from studio.review.store import Copy, Kind, Link, say
from studio.review.words import Text
from studio.schema import parse_json

FORMAT = "review-feedback-1"
LARGEST = 2 * 2**20  # bytes of a feedback file
MOST = 2_000  # lines of one


class Entry(BaseModel):
    """One thing a client said offline. `id`: drawn by the page; a line that comes twice is kept once."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    picture: str = Field(max_length=64)
    kind: Kind
    text: str = Field("", max_length=8_000)
    x: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    y: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)


class Feedback(BaseModel):
    """What the offline page saves. `seal`: proves that the file comes from this link's package."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: str
    link: str = Field(max_length=64)
    seal: str = Field(max_length=64)
    name: str = Field(min_length=1, max_length=240)
    entries: list[Entry] = Field(max_length=MOST)


def pack(links: Links, id: str, language: str) -> bytes:
    link = links.get(id)
    if not link.live():
        raise Conflict("The link has ended.", hint="Extend it first, or share the pictures again.")
    found = links.store.copies(id)
    missing = len(links.unmade(id))
    if missing:
        raise Conflict(
            f"{len(found) - missing} of {len(found)} pictures are copied.", hint="Try again in a moment."
        )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("review.html", page(links, link, found, Text(language)))
        for copy in found if link.download == "copy" else ():
            data = (links.store.pictures / str(copy.whole)).read_bytes()
            archive.writestr(f"picture-{copy.item}-{copy.version}.png", data)
    return out.getvalue()


def page(links: Links, link: Link, copies: list[Copy], t: Text) -> str:
    """The room's page with everything inside it; nothing is loaded from anywhere."""
    pages = Pages()
    style = pages.css(link)
    script = pages.script + pages.offline
    facts = {"format": FORMAT, "link": link.id, "seal": links.seal(link.id)}
    words = {key: t(key) for key in ("approve", "reject", "you_approved", "you_rejected", "approved_by",
                                     "rejected_by", "name_first")}  # fmt: skip

    def data_url(copy: Copy) -> str:
        data = (links.store.pictures / copy.shown).read_bytes()
        return f"data:{MIMES[copy.shown.rpartition('.')[2]]};base64,{base64.b64encode(data).decode()}"

    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{sha256(style)}'; "
        f"script-src 'sha256-{sha256(script)}'; base-uri 'none'; form-action 'none'"
    )
    return pages.page(
        "offline.html", link, t, "#", offline=True, coming=0, note=link.note, ends="", copies=False, name="",
        ask_name=True, pieces=pieces_of(copies, (), None, t, data_url), css=style, js=script,
        policy_text=policy, facts={**facts, "words": words},
    )  # fmt: skip


def sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def take_in(links: Links, data: bytes) -> int:
    if len(data) > LARGEST:
        raise TooLarge(
            f"The file has {len(data) / 2**20:.1f} MB; at most {LARGEST / 2**20:.0f} MB are taken."
        )
    feedback: Feedback = parse_json(Feedback, data)
    if feedback.format != FORMAT:
        raise BadRequest("This is no feedback file of a review package.", field="format")
    try:
        link = links.get(feedback.link)
    except NotFound:
        link = None
    if link is None or not keys.same(links.seal(feedback.link).encode(), feedback.seal.encode()):
        raise BadRequest(
            "This feedback belongs to no package of this studio.", field="seal", code="foreign_feedback"
        )
    name = tell(feedback.name, one_line=True)
    pictures = {copy.id for copy in links.store.copies(link.id)}
    entries = [checked(entry, pictures) for entry in feedback.entries]
    return keep(links, link, name, entries)


def checked(entry: Entry, pictures: set[str]) -> dict[str, Any]:
    if entry.picture not in pictures or entry.kind not in ("approved", "rejected", "withdrew", "comment"):
        raise BadRequest(f"Entry {entry.id} fits no picture of the link.", field="entries")
    text = tell(entry.text) if entry.kind == "comment" else ""
    if entry.kind == "comment" and not text:
        raise BadRequest(f"Entry {entry.id} is an empty comment.", field="entries")
    both = entry.x is not None and entry.y is not None
    return {
        "picture": entry.picture, "kind": entry.kind, "text": text, "entry": entry.id,
        "x": entry.x if both else None, "y": entry.y if both else None,
    }  # fmt: skip


def keep(links: Links, link: Link, name: str, entries: list[dict[str, Any]]) -> int:
    with links.store.write() as connection:
        query = "SELECT COUNT(*) FROM said WHERE link = ?"
        before = connection.execute(query, (link.id,)).fetchone()[0]
        for entry in entries:
            say(connection, link.id, name=name, **entry)
        new = int(connection.execute(query, (link.id,)).fetchone()[0] - before)
        if new:
            say(connection, link.id, "imported", name=name, text=str(new))
    return new
