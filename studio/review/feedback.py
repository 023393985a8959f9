"""What visitors do: come in, give a name, judge, write. One transaction each, and a line in the trail."""

from __future__ import annotations

import math
import sqlite3
import time
import unicodedata

from studio.review import keys
from studio.review.store import VERDICTS, Copy, Link, Store, Visitor, say

MAX_TEXT = 2_000  # letters of a comment
MAX_NAME = 60
MOST_SAID = 5_000  # lines of one link; nobody writes so many by hand
MOST_VISITORS = 5_000
PIN_TRIES = 5  # wrong ones in a row before the wait begins
PIN_WAIT = 30  # seconds, doubled with each wrong PIN after that
PIN_LONGEST = 3600
SEEN = 60.0  # seconds between two notes of the same visitor's presence


class FullRoom(Exception):
    """The link lets nobody more in, or keeps nothing more."""


class WrongPin(Exception):
    """`wait`: seconds until the next try is looked at; 0 = at once."""

    def __init__(self, wait: int) -> None:
        super().__init__()
        self.wait = wait


class NoPlace(Exception):
    """A verdict or a pin that the page never sends."""


def enter(store: Store, link: Link, cookie: str, pin: str | None = None) -> Visitor:
    """A new visitor, counted. Raises FullRoom, WrongPin."""
    if link.pin:
        check_pin(store, link, pin or "")
    now = time.time()
    with store.write() as connection:
        count = connection.execute(
            "SELECT COUNT(*) FROM visitors WHERE link = ? AND inside", (link.id,)
        ).fetchone()[0]
        if count >= (link.views if link.views is not None else MOST_VISITORS):
            raise FullRoom
        row = connection.execute(
            "INSERT INTO visitors (link, digest, inside, first, last) VALUES (?, ?, 1, ?, ?)",
            (link.id, keys.digest(cookie), now, now),
        )
        visitor = Visitor(int(row.lastrowid or 0), "", True, now)
        say(connection, link.id, "opened", visitor=visitor)
    return visitor


def check_pin(store: Store, link: Link, pin: str) -> None:
    """Raises WrongPin. During a wait not even the right PIN is looked at."""
    now = time.time()
    with store.write() as connection:
        # Counted before the slow hash, and by all at once: many tries in parallel are still many tries.
        row = connection.execute("SELECT * FROM links WHERE id = ?", (link.id,)).fetchone()
        if now < row["pin_again"]:
            raise WrongPin(math.ceil(row["pin_again"] - now))
        failures = row["pin_failures"] + 1
        over = failures - PIN_TRIES
        wait = min(PIN_LONGEST, PIN_WAIT * 2 ** min(over, 20)) if over >= 0 else 0
        connection.execute(
            "UPDATE links SET pin_failures = ?, pin_again = ? WHERE id = ?", (failures, now + wait, link.id)
        )
    if not keys.same(keys.hash_pin(pin, row["pin_salt"]), row["pin_hash"]):
        with store.write() as connection:
            say(connection, link.id, "pin_refused")
        raise WrongPin(wait)
    with store.write() as connection:
        connection.execute("UPDATE links SET pin_failures = 0, pin_again = 0 WHERE id = ?", (link.id,))


def seen(store: Store, visitor: Visitor) -> None:
    now = time.time()
    if now - visitor.last >= SEEN:
        with store.write() as connection:
            connection.execute("UPDATE visitors SET last = ? WHERE id = ?", (now, visitor.id))


def take_name(store: Store, link: Link, visitor: Visitor, name: str) -> None:
    with store.write() as connection:
        check_room(connection, link)
        connection.execute("UPDATE visitors SET name = ? WHERE id = ?", (name, visitor.id))
        say(connection, link.id, "named", visitor=visitor, name=name)


def add_verdict(store: Store, link: Link, copy: Copy, visitor: Visitor, verdict: str) -> None:
    for kind in VERDICTS:
        if kind == verdict:
            with store.write() as connection:
                check_room(connection, link)
                say(connection, link.id, kind, picture=copy.id, visitor=visitor)
            return
    raise NoPlace


def add_comment(store: Store, link: Link, copy: Copy, visitor: Visitor, text: str, x: str, y: str) -> None:
    """`x`, `y`: 0 to 1 as text, both empty for a comment on the whole picture."""
    place = (share_of(x), share_of(y)) if x or y else (None, None)
    with store.write() as connection:
        check_room(connection, link)
        say(
            connection,
            link.id,
            "comment",
            picture=copy.id,
            visitor=visitor,
            text=text,
            x=place[0],
            y=place[1],
        )


def share_of(text: str) -> float:
    """Raises NoPlace."""
    try:
        value = float(text)
    except ValueError:
        raise NoPlace from None
    if not 0 <= value <= 1:  # NaN too
        raise NoPlace
    return round(value, 4)


def check_room(connection: sqlite3.Connection, link: Link) -> None:
    if connection.execute("SELECT COUNT(*) FROM said WHERE link = ?", (link.id,)).fetchone()[0] >= MOST_SAID:
        raise FullRoom


def tell(text: str, *, one_line: bool = False) -> str:
    """What a person wrote, in one Unicode form, without control characters, cut to its limit."""
    plain = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    kept = "".join(
        letter for letter in plain
        if (letter == "\n" and not one_line) or unicodedata.category(letter) not in ("Cc", "Cs")
    )  # fmt: skip
    return kept.strip()[: MAX_NAME if one_line else MAX_TEXT].strip()
