"""Rows of users, sessions and keys. What opens a door is kept as a hash only."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select, update

from studio.accounts.passwords import hash_password, is_right
from studio.errors import BadRequest, Conflict, NotFound
from studio.library import Database
from studio.library.tables import keys, sessions, users
from studio.people import LOCAL, SCOPES, Person

NAME = re.compile(r"[\w][\w.@+-]{0,63}")
SESSION = 14 * 24 * 3600.0  # s; then one signs in again
KEY = re.compile(r"bsk_([0-9a-f]{12})_([\w-]{43})", re.ASCII)
MEMBER = frozenset({"read", "generate"})


@dataclass(frozen=True)
class UserRow:
    """`created`: UTC, s since 1970."""

    name: str
    admin: bool
    created: float


@dataclass(frozen=True)
class KeyRow:
    id: str
    label: str
    user: str
    scopes: tuple[str, ...]
    created: float


class Accounts:
    def __init__(self, database: Database) -> None:
        self._database = database

    def any(self) -> bool:
        """True when there is a user or a key: somebody could sign in."""
        return self.any_users() or self._count(keys) > 0

    def any_users(self) -> bool:
        return self._count(users) > 0

    def _count(self, table: object) -> int:
        with self._database.read() as connection:
            return connection.scalar(select(func.count()).select_from(table)) or 0  # type: ignore[arg-type]

    # --- users ---

    def add_user(self, name: str, password: str, admin: bool = False) -> UserRow:
        """Raises BadRequest (`bad_name`, `bad_password`), Conflict."""
        if NAME.fullmatch(name) is None or name.casefold() == LOCAL.name:
            raise BadRequest(
                f"{name[:80]!r} cannot be a user's name.",
                hint="1 to 64 letters, digits and . @ + - _, beginning with a letter or digit; not 'local'.",
                field="name",
                code="bad_name",
            )
        row = {"folded": name.casefold(), "name": name, "admin": int(admin), "created": time.time()}
        hashed = hash_password(password)
        with self._database.write() as connection:
            if connection.scalar(select(users.c.name).where(users.c.folded == row["folded"])) is not None:
                raise Conflict(f"There is a user {name} already.", hint="studio users password NAME.")
            connection.execute(insert(users).values(row | {"password": hashed}))
        return UserRow(name, admin, float(str(row["created"])))

    def list_users(self) -> list[UserRow]:
        with self._database.read() as connection:
            rows = connection.execute(select(users).order_by(users.c.folded)).all()
        return [UserRow(row.name, bool(row.admin), row.created) for row in rows]

    def remove_user(self, name: str) -> None:
        """With sessions and keys; pictures stay, for admins to see. Raises NotFound (`user_not_found`)."""
        self._known(name)
        with self._database.write() as connection:
            for table, column in ((sessions, sessions.c.user), (keys, keys.c.user), (users, users.c.folded)):
                connection.execute(delete(table).where(column == name.casefold()))

    def set_password(self, name: str, password: str) -> None:
        """Ends the user's sessions: whoever knew the old password is out. Raises NotFound, BadRequest."""
        self._known(name)
        hashed = hash_password(password)
        mine = name.casefold()
        with self._database.write() as connection:
            connection.execute(update(users).where(users.c.folded == mine).values(password=hashed))
            connection.execute(delete(sessions).where(sessions.c.user == mine))

    def _known(self, name: str) -> UserRow:
        for row in self.list_users():
            if row.name.casefold() == name.casefold():
                return row
        raise NotFound(f"No user {name[:80]!r}.", hint="See: studio users list.", code="user_not_found")

    # --- sessions ---

    def sign_in(self, name: str, password: str) -> str | None:
        """The token of a new session; None when name or password is wrong, which takes equally long."""
        mine = name.casefold()
        with self._database.read() as connection:
            kept = connection.scalar(select(users.c.password).where(users.c.folded == mine))
        if not is_right(password, kept):
            return None
        token, now = secrets.token_urlsafe(32), time.time()
        row = {"token": digest(token), "user": mine, "created": now, "expires": now + SESSION}
        with self._database.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.expires < now))
            connection.execute(insert(sessions).values(row))
        return token

    def sign_out(self, token: str) -> None:
        with self._database.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.token == digest(token)))

    def of_session(self, token: str) -> Person | None:
        query = (
            select(users.c.name, users.c.admin)
            .join(sessions, sessions.c.user == users.c.folded)
            .where(sessions.c.token == digest(token), sessions.c.expires > time.time())
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        return Person(row.name, frozenset(SCOPES) if row.admin else MEMBER)

    # --- keys ---

    def add_key(self, label: str, scopes: Iterable[str], user: str | None = None) -> tuple[KeyRow, str]:
        """(row, the key itself), which is told this once. Without `user` its rows belong to nobody's account.

        Raises BadRequest (`bad_scope`, `bad_name`), NotFound (`user_not_found`).
        """
        wanted = tuple(scope for scope in SCOPES if scope in set(scopes))
        if unknown := set(scopes) - set(SCOPES):
            raise BadRequest(
                f"No scope {sorted(unknown)[0][:40]!r}.",
                hint=f"Scopes: {', '.join(SCOPES)}.",
                code="bad_scope",
            )
        if not wanted or not 1 <= len(label.strip()) <= 80 or not label.isprintable():
            raise BadRequest("A key needs a label of 1 to 80 characters and a scope.", code="bad_name")
        owner = LOCAL.name if user is None else self._known(user).name
        if user is not None and "admin" in wanted and not self._known(user).admin:
            raise BadRequest(f"{owner} is no admin, so no key of theirs can be.", code="bad_scope")
        id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        row = KeyRow(id, label, owner, wanted, time.time())
        with self._database.write() as connection:
            connection.execute(
                insert(keys).values(
                    id=id,
                    label=label,
                    user=owner.casefold(),
                    scopes=" ".join(wanted),
                    secret=digest(secret),
                    created=row.created,
                )  # fmt: skip
            )
        return row, f"bsk_{id}_{secret}"

    def list_keys(self) -> list[KeyRow]:
        with self._database.read() as connection:
            rows = connection.execute(select(keys).order_by(keys.c.created)).all()
            names = {row.folded: row.name for row in connection.execute(select(users))}
        return [
            KeyRow(row.id, row.label, names.get(row.user, row.user), tuple(row.scopes.split()), row.created)
            for row in rows
        ]

    def revoke_key(self, id: str) -> None:
        """By id or label. Raises NotFound (`key_not_found`)."""
        with self._database.write() as connection:
            done = connection.execute(delete(keys).where((keys.c.id == id) | (keys.c.label == id)))
        if not done.rowcount:
            raise NotFound(f"No key {id[:80]!r}.", hint="See: studio keys list.", code="key_not_found")

    def of_key(self, key: str) -> Person | None:
        parts = KEY.fullmatch(key)
        if parts is None:
            return None
        with self._database.read() as connection:
            row = connection.execute(select(keys).where(keys.c.id == parts[1])).first()
            name = connection.scalar(select(users.c.name).where(users.c.folded == row.user)) if row else None
        if row is None or not hmac.compare_digest(row.secret, digest(parts[2])):
            return None
        return Person(name or LOCAL.name, frozenset(row.scopes.split()), key=row.id)


def digest(token: str) -> str:
    """Of a token drawn at random: 256 bits need no slow hash, only one that cannot be turned around."""
    return hashlib.sha256(token.encode()).hexdigest()
