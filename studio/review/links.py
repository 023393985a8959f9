"""The studio's side of the room: making links, ending them, hearing what clients said."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from studio.errors import BadRequest, Conflict, NotFound
from studio.review import copies, keys
from studio.review.store import Copy, Download, Link, Said, Store, say, verdicts

DAY = 24 * 3600.0
LONGEST = 30 * DAY
KEPT = 30 * DAY  # after its end a link can still be extended; then its pictures are erased
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY, "w": 7 * DAY}
State = Literal["live", "expired", "revoked"]
Tunnels = Literal["gradio", "ssh"]


class ShareRequest(BaseModel):
    """`images`: library ids, in the order they are shown. `expires`: seconds from now."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    images: tuple[str, ...] = Field(min_length=1, max_length=100, strict=False)
    title: str = Field("", max_length=120)
    note: str = Field("", max_length=2_000)
    expires: float = Field(7 * DAY, ge=1, le=LONGEST, strict=False, description="seconds from now, or 1h, 7d")
    pin: str | None = Field(None, min_length=4, max_length=64)
    download: Download = "none"
    views: int | None = Field(None, ge=1, le=5_000, description="most visitors")
    preset: str | None = Field(None, max_length=64, description="whose colours the room wears")
    tunnel: Tunnels | None = None

    @field_validator("expires", mode="before")
    @classmethod
    def _span(cls, value: Any) -> Any:
        return span(value) if isinstance(value, str) else value

    @field_validator("images")
    @classmethod
    def _once(cls, ids: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(ids))


def read_span(value: float | str) -> float:
    """As `span`. Raises BadRequest."""
    try:
        return span(value) if isinstance(value, str) else float(value)
    except ValueError as error:
        raise BadRequest(f"{value!r} is no time: {error}.", field="expires") from None


def span(text: str) -> float:
    """Seconds of '90s', '30m', '1h', '7d', '2w', or of a plain number of seconds. Raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhdw]?)", text.strip().lower())
    if found is None:
        raise ValueError("write a time such as 30m, 1h or 7d")
    return float(found[1]) * UNITS[found[2] or "s"]


@dataclass(frozen=True)
class Chosen:
    """A picture for a link, by its library id, with its sides in px.

    `group`: pictures of one group are versions of each other.
    """

    source: str
    width: int
    height: int
    group: str


@dataclass(frozen=True)
class LinkView:
    """A link as the studio shows it. `url`: '' once it has ended. Times: UTC, s since 1970; None: never.

    `prepared`: how many of the pictures can be seen; the others are being copied.
    """

    id: str
    url: str
    title: str
    note: str
    state: State
    created: float
    expires: float
    pin: bool
    download: Download
    views: int | None
    viewers: int
    last_visit: float | None
    images: tuple[str, ...]
    approved: int
    rejected: int
    comments: int
    tunnel: str | None
    prepared: int = 0
    tunnel_state: str = ""
    tunnel_problem: str = ""


@dataclass
class Verdict:
    """What clients think of one picture of the library, over all its links."""

    approved: list[str] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    comments: int = 0
    last: int = 0

    @property
    def state(self) -> str:
        if self.rejected:
            return "rejected"
        return "approved" if self.approved else "commented" if self.comments else ""


class Links:
    """`folder`: the room's; made at the first link. `key_file` lies outside: the room never reads it."""

    def __init__(self, folder: Path, key_file: Path) -> None:
        self.folder, self._key_file = folder, key_file
        self._store: Store | None = None

    def close(self) -> None:
        if self._store is not None:
            self._store.close()

    def begun(self) -> bool:
        """Whether there ever was a link."""
        return self.folder.is_dir()

    @property
    def store(self) -> Store:
        if self._store is None:
            self._store = Store(self.folder)
        return self._store

    def token(self, link: str) -> str:
        return keys.derive(keys.read_key(self._key_file), "link", link)

    def seal(self, link: str) -> str:
        """What a feedback file of the link's offline package must carry."""
        return keys.derive(keys.read_key(self._key_file), "package", link)

    # --- making and ending ---

    def share(
        self, request: ShareRequest, chosen: Sequence[Chosen], brand: Mapping[str, Any], by: str = ""
    ) -> Link:
        """The link is on disk when this returns; the copies of its pictures are not. `by`: whose it is."""
        id, now = secrets.token_hex(8), time.time()
        digest = keys.digest(self.token(id))
        salt = secrets.token_bytes(16) if request.pin is not None else None
        hashed = keys.hash_pin(request.pin, salt) if request.pin is not None and salt is not None else None
        rows = rows_of(id, chosen, request.download)
        with self.store.write() as connection:
            connection.execute(
                "INSERT INTO links (id, near, digest, title, note, brand, created, expires, pin_salt, "
                "pin_hash, download, views, tunnel, owner) VALUES (" + ", ".join("?" * 14) + ")",
                (id, digest[: keys.NEARBY], digest, request.title.strip(), request.note.strip(),
                 json.dumps(brand, ensure_ascii=False), now, now + request.expires, salt, hashed,
                 request.download, request.views, request.tunnel, by),
            )  # fmt: skip
            connection.executemany(
                "INSERT INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [tuple(vars(row).values()) for row in rows],
            )
            say(connection, id, "shared", name=by)
        return self.get(id)

    def unmade(self, link: str | None = None) -> list[Copy]:
        """Pictures of links that can be open, whose files are not there yet; of one link or of all."""
        if not self.begun():
            return []
        since = time.time() - KEPT
        found = [one for one in self.store.links() if one.revoked is None and one.expires > since]
        wanted = [one.id for one in reversed(found) if link in (None, one.id)]
        return [copy for id in wanted for copy in self.store.copies(id) if not self.store.made(copy)]

    def drop(self, copy: Copy) -> None:
        """The link goes on without the picture."""
        with self.store.write() as connection:
            connection.execute("DELETE FROM pictures WHERE id = ?", (copy.id,))
        self.erase([copy])

    def erase(self, rows: Iterable[Copy]) -> None:
        for row in rows:
            for name in filter(None, (row.shown, row.whole)):
                (self.store.pictures / name).unlink(missing_ok=True)

    def get(self, id: str) -> Link:
        """Raises NotFound (`link_not_found`)."""
        found = self.store.link(id) if self.begun() else None
        if found is None:
            raise no_link()
        return found

    def revoke(self, id: str, by: str = "") -> None:
        """The link's address is gone with the commit, and its copies with it. Again: nothing more happens."""
        self.get(id)
        with self.store.write() as connection:
            done = connection.execute(
                "UPDATE links SET revoked = ? WHERE id = ? AND revoked IS NULL", (time.time(), id)
            )
            if done.rowcount:
                say(connection, id, "revoked", name=by)
        self.erase(self.store.copies(id))

    def extend(self, id: str, expires: float, by: str = "") -> None:
        """`expires`: seconds from now, at most 30 days. Raises Conflict for a link that was revoked."""
        if not 1 <= expires <= LONGEST:
            raise BadRequest(
                f"{expires:g} s; a link lives from 1 s to {LONGEST / DAY:.0f} days.", field="expires"
            )
        link = self.get(id)
        if link.revoked is not None:
            raise Conflict("The link was revoked: its pictures are erased.", hint="Share them again.")
        if not all((self.store.pictures / copy.shown).exists() for copy in self.store.copies(id)):
            raise Conflict("The link ended too long ago.", hint="Share the pictures again.")
        with self.store.write() as connection:
            connection.execute("UPDATE links SET expires = ? WHERE id = ?", (time.time() + expires, id))
            say(connection, id, "extended", name=by, text=f"{expires:.0f}")

    def carry(self, id: str, tunnel: str | None) -> None:
        """Which tunnel the link wants; whoever keeps the room opens and closes them."""
        if not self.get(id).live():
            raise Conflict("The link has ended.", hint="Extend it first, or share the pictures again.")
        with self.store.write() as connection:
            connection.execute("UPDATE links SET tunnel = ? WHERE id = ?", (tunnel, id))

    def sweep(self) -> None:
        """Erases copies of links that ended long ago; what was said stays."""
        now = time.time()
        for link in self.store.links():
            if link.revoked is not None or link.expires + KEPT < now:
                self.erase(self.store.copies(link.id))

    # --- looking ---

    def all(self) -> list[Link]:
        return self.store.links() if self.begun() else []

    def trail(self, id: str | None = None, after: int = 0) -> list[Said]:
        """The audit trail of a link, or of all."""
        return self.store.said(id, after) if self.begun() else []

    def verdicts(self, trail: Sequence[Said]) -> dict[str, Verdict]:
        """By library id, of every picture that clients said something of."""
        found: dict[str, Verdict] = {}
        source = {line.picture: line.source for line in trail if line.source}
        for (picture, _), line in verdicts(list(trail)).items():
            verdict = found.setdefault(source[picture], Verdict())
            (verdict.approved if line.kind == "approved" else verdict.rejected).append(line.name)
        for line in trail:
            if line.source and line.kind in ("comment", "approved", "rejected", "withdrew"):
                verdict = found.setdefault(line.source, Verdict())
                verdict.comments += line.kind == "comment"
                verdict.last = line.number
        return found


def rows_of(link: str, chosen: Sequence[Chosen], download: Download) -> list[Copy]:
    items: dict[str, list[int]] = {}
    rows = []
    for place, one in enumerate(chosen):
        id = secrets.token_hex(12)
        versions = items.setdefault(one.group, [len(items) + 1, 0])
        versions[1] += 1
        shown = f"{id}.{copies.suffix_of(one.width, one.height)}"
        whole = f"{id}-whole.png" if download == "copy" else None
        size = copies.size_of(one.width, one.height)
        rows.append(Copy(id, link, place, versions[0], versions[1], *size, shown, whole, one.source))
    return rows


def no_link() -> NotFound:
    return NotFound("No such review link.", hint="studio review list shows them.", code="link_not_found")


def view(
    link: Link, copies_of: Sequence[Copy], trail: Sequence[Said], visits: tuple[int, float | None],
    url: str, tunnel: Mapping[str, str], prepared: int,
) -> LinkView:  # fmt: skip
    standing = [line.kind for line in verdicts(list(trail)).values()]
    state: State = "revoked" if link.revoked is not None else "live" if link.live() else "expired"
    return LinkView(
        id=link.id, url=url if state == "live" else "", title=link.title, note=link.note, state=state,
        created=link.created, expires=link.expires, pin=link.pin, download=link.download, views=link.views,
        viewers=visits[0], last_visit=visits[1], images=tuple(copy.source for copy in copies_of),
        approved=standing.count("approved"), rejected=standing.count("rejected"),
        comments=sum(line.kind == "comment" for line in trail), tunnel=link.tunnel,
        prepared=prepared, tunnel_state=tunnel.get("state", "") if state == "live" else "",
        tunnel_problem=tunnel.get("problem", "") if state == "live" else "",
    )  # fmt: skip
