"""The review folder's SQLite file: links, copies of pictures, visitors, and everything that was said.

Studio and room are two processes on one file: many readers, one writer at a time, a commit is on disk when it
returns. Times are UTC seconds since 1970. `said` is only ever added to: it is the audit trail.
"""

from __future__ import annotations

import json
import queue
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from studio.review import keys

FILE = "review.db"
PICTURES = "pictures"
IDLE = 16  # connections kept open between requests
Kind = Literal[
    "shared", "extended", "revoked", "opened", "named", "pin_refused", "downloaded", "imported",
    "approved", "rejected", "withdrew", "comment",
]  # fmt: skip
Download = Literal["none", "copy"]
VERDICTS: tuple[Literal["approved", "rejected", "withdrew"], ...] = ("approved", "rejected", "withdrew")

SCHEMA = """
CREATE TABLE IF NOT EXISTS links (
  id TEXT PRIMARY KEY, near BLOB NOT NULL, digest BLOB NOT NULL, title TEXT NOT NULL, note TEXT NOT NULL,
  brand TEXT NOT NULL, created REAL NOT NULL, expires REAL NOT NULL, revoked REAL,
  pin_salt BLOB, pin_hash BLOB, pin_failures INTEGER NOT NULL DEFAULT 0, pin_again REAL NOT NULL DEFAULT 0,
  download TEXT NOT NULL, views INTEGER, tunnel TEXT, owner TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS links_near ON links (near);
CREATE TABLE IF NOT EXISTS pictures (
  id TEXT PRIMARY KEY, link TEXT NOT NULL REFERENCES links (id), place INTEGER NOT NULL,
  item INTEGER NOT NULL, version INTEGER NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
  shown TEXT NOT NULL, whole TEXT, source TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS pictures_link ON pictures (link, place);
CREATE INDEX IF NOT EXISTS pictures_source ON pictures (source);
CREATE TABLE IF NOT EXISTS visitors (
  id INTEGER PRIMARY KEY, link TEXT NOT NULL REFERENCES links (id), digest BLOB NOT NULL,
  name TEXT NOT NULL DEFAULT '', inside INTEGER NOT NULL DEFAULT 0, first REAL NOT NULL, last REAL NOT NULL);
CREATE INDEX IF NOT EXISTS visitors_link ON visitors (link, digest);
CREATE TABLE IF NOT EXISTS said (
  number INTEGER PRIMARY KEY AUTOINCREMENT, link TEXT NOT NULL REFERENCES links (id), picture TEXT,
  visitor INTEGER, name TEXT NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL, x REAL, y REAL,
  at REAL NOT NULL, entry TEXT UNIQUE);
CREATE INDEX IF NOT EXISTS said_link ON said (link, number);
CREATE TABLE IF NOT EXISTS notes (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Link:
    """`views`: most visitors, or None. `tunnel`: kind that carries it, or None. `brand`: title, palette.

    `owner`: the studio's user who shared it.
    """

    id: str
    title: str
    note: str
    brand: Mapping[str, Any]
    created: float
    expires: float
    revoked: float | None
    pin: bool
    pin_again: float
    download: Download
    views: int | None
    tunnel: str | None
    owner: str

    def live(self, now: float | None = None) -> bool:
        return self.revoked is None and (time.time() if now is None else now) < self.expires


@dataclass(frozen=True)
class Copy:
    """A picture as a link shows it. `shown`, `whole`: file names in the folder; `source`: the studio's id.

    Pictures of one `item` are `version`s 1, 2, ... of each other; both count from 1. Sizes in px, of `shown`.
    """

    id: str
    link: str
    place: int
    item: int
    version: int
    width: int
    height: int
    shown: str
    whole: str | None
    source: str


@dataclass(frozen=True)
class Visitor:
    """A browser that opened a link. `inside`: it may see the pictures (counted, and past the PIN)."""

    id: int
    name: str
    inside: bool
    last: float


@dataclass(frozen=True)
class Said:
    """`x`, `y`: 0 to 1 of the picture's width and height, or None. `source`: the studio's picture id."""

    number: int
    link: str
    picture: str | None
    visitor: int | None
    name: str
    kind: Kind
    text: str
    x: float | None
    y: float | None
    at: float
    source: str | None = None


class Store:
    """`folder` is made where it is missing. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pictures = folder / PICTURES
        self.pictures.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        # SQLite lets waiting writers sleep and try again; in one process they can simply stand in line.
        self._writer = threading.Lock()
        with self._connection() as connection:
            connection.executescript(SCHEMA)

    def close(self) -> None:
        while not self._idle.empty():
            self._idle.get_nowait().close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = sqlite3.connect(
                self.folder / FILE, timeout=10, isolation_level=None, check_same_thread=False
            )
            connection.row_factory = sqlite3.Row
            connection.executescript(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON"
            )
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        if self._idle.qsize() < IDLE:
            self._idle.put(connection)
        else:
            connection.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction, committed when the block ends well."""
        with self._writer, self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._connection() as connection:
            return connection.execute(query, values).fetchall()

    # --- links ---

    def find(self, token: str) -> Link | None:
        """The live link of a token. A wrong token, an ended link and no link at all cost the same work."""
        wanted = keys.digest(token)
        rows = self.rows("SELECT * FROM links WHERE near = ?", wanted[: keys.NEARBY])
        found = rows[0] if rows else None
        good = keys.same(found["digest"] if found is not None else bytes(32), wanted)
        if found is None or not good:
            return None
        link = link_of(found)
        return link if link.live() else None

    def link(self, id: str) -> Link | None:
        rows = self.rows("SELECT * FROM links WHERE id = ?", id)
        return link_of(rows[0]) if rows else None

    def links(self) -> list[Link]:
        """Newest first, ended ones too."""
        return [link_of(row) for row in self.rows("SELECT * FROM links ORDER BY created DESC, id")]

    def copies(self, link: str) -> list[Copy]:
        rows = self.rows("SELECT * FROM pictures WHERE link = ? ORDER BY place", link)
        return [Copy(**dict(row)) for row in rows]

    def made(self, copy: Copy) -> bool:
        """Whether its files are there: a picture is copied after its link was made."""
        return (self.pictures / copy.shown).is_file()

    # --- visitors ---

    def visitor(self, link: str, cookie: str) -> Visitor | None:
        rows = self.rows("SELECT * FROM visitors WHERE link = ? AND digest = ?", link, keys.digest(cookie))
        return visitor_of(rows[0]) if rows else None

    def visits(self) -> dict[str, tuple[int, float]]:
        """(visitors that saw the pictures, last visit) by link."""
        query = "SELECT link, COUNT(*) AS count, MAX(last) AS last FROM visitors WHERE inside GROUP BY link"
        return {row["link"]: (row["count"], row["last"]) for row in self.rows(query)}

    # --- what was said ---

    def said(self, link: str | None = None, after: int = 0, source: str | None = None) -> list[Said]:
        """Oldest first, of one link or all, of one picture of the studio or all."""
        query = (
            "SELECT said.*, pictures.source FROM said LEFT JOIN pictures ON pictures.id = said.picture "
            "WHERE said.number > ?"
        )
        values: list[Any] = [after]
        for column, value in (("said.link", link), ("pictures.source", source)):
            if value is not None:
                query += f" AND {column} = ?"
                values.append(value)
        rows = self.rows(query + " ORDER BY said.number", *values)
        return [Said(**{name: row[name] for name in Said.__dataclass_fields__}) for row in rows]

    # --- notes between the two processes ---

    def note(self, key: str) -> dict[str, Any]:
        """{} where there is none."""
        rows = self.rows("SELECT value FROM notes WHERE key = ?", key)
        return dict(json.loads(rows[0]["value"])) if rows else {}

    def put_note(self, key: str, value: Mapping[str, Any]) -> None:
        with self.write() as connection:
            connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (key, json.dumps(value)))


def say(
    connection: sqlite3.Connection, link: str, kind: Kind, *, picture: str | None = None,
    visitor: Visitor | None = None, name: str = "", text: str = "", x: float | None = None,
    y: float | None = None, entry: str | None = None,
) -> None:  # fmt: skip
    """Adds a line to the trail. `entry`: an id that must not come twice."""
    connection.execute(
        "INSERT OR IGNORE INTO said (link, picture, visitor, name, kind, text, x, y, at, entry) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (link, picture, visitor.id if visitor else None, name or (visitor.name if visitor else ""), kind,
         text, x, y, time.time(), entry),
    )  # fmt: skip


def link_of(row: sqlite3.Row) -> Link:
    fields = {name: row[name] for name in Link.__dataclass_fields__ if name not in ("brand", "pin")}
    return Link(**fields, brand=json.loads(row["brand"]), pin=row["pin_hash"] is not None)


def visitor_of(row: sqlite3.Row) -> Visitor:
    return Visitor(row["id"], row["name"], bool(row["inside"]), row["last"])


def verdicts(trail: list[Said]) -> dict[tuple[str, str], Said]:
    """The last word of each visitor on each picture, by (picture, who); withdrawn ones are left out."""
    last: dict[tuple[str, str], Said] = {}
    for line in trail:
        if line.kind in VERDICTS and line.picture is not None:
            who = str(line.visitor) if line.visitor is not None else f"imported {line.name}"
            last[line.picture, who] = line
    return {key: line for key, line in last.items() if line.kind != "withdrew"}
