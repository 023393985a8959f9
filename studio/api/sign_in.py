"""Who is asking: a session's cookie, an API key, or, where nobody has to sign in, the studio's owner."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from starlette.concurrency import run_in_threadpool

from studio.accounts import Accounts
from studio.api.port import is_loopback
from studio.errors import StudioError
from studio.people import LOCAL, Person
from studio.settings import Settings

COOKIE = "studio_session"
FRESH = 1.0  # s that an answer of the database is trusted: a revoked key works no longer than that
KEPT = 4096  # answers
OUR_KEY = "bsk_"

T = TypeVar("T")


class SignInNeeded(StudioError):
    status = 401
    code = "sign_in_needed"


class WrongKey(StudioError):
    status = 401
    code = "wrong_key"


class SignIn:
    """One for a server; its methods are called on the event loop."""

    def __init__(self, accounts: Accounts, settings: Settings) -> None:
        self.accounts = accounts
        self._reachable = not is_loopback(settings.host) and not settings.insecure_lan
        self._seen: dict[tuple[str, str], tuple[float, object]] = {}

    async def needed(self) -> bool:
        """Where others can reach the studio, and as soon as there is a user."""
        return self._reachable or await self._fresh(("users", ""), self.accounts.any_users)

    async def person(self, headers: Mapping[str, str]) -> Person | None:
        """None: a caller who has yet to sign in. Raises WrongKey for a key that is none of ours."""
        key = key_of(headers)
        if key:
            found = await self._fresh(("key", key), lambda: self.accounts.of_key(key))
            if found is not None:
                return found
        token = cookie_of(headers)
        if token:
            found = await self._fresh(("session", token), lambda: self.accounts.of_session(token))
            if found is not None:
                return found
        needed = await self.needed()
        # Many clients send some word where a key would be; only one of our form was meant for us.
        if key and (needed or key.startswith(OUR_KEY)):
            raise WrongKey(
                "This key opens nothing here.",
                hint="It was revoked, or copied in part; see: studio keys list.",
            )
        return None if needed else LOCAL

    def forget(self, token: str) -> None:
        """A session that was ended is not trusted a moment longer."""
        self._seen.pop(("session", token), None)

    async def _fresh(self, key: tuple[str, str], ask: Callable[[], T]) -> T:
        now = time.monotonic()
        seen = self._seen.get(key)
        if seen is None or now - seen[0] > FRESH:
            if len(self._seen) >= KEPT:
                self._seen.clear()
            seen = self._seen[key] = (now, await run_in_threadpool(ask))
        return seen[1]  # type: ignore[return-value]  # a key always asks for the same thing


def key_of(headers: Mapping[str, str]) -> str:
    """`Authorization: Bearer KEY`, `Basic anybody:KEY` as AUTOMATIC1111's clients send it, or `X-API-Key`."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return "unreadable"
    return headers.get("x-api-key", "")


def cookie_of(headers: Mapping[str, str]) -> str:
    for pair in headers.get("cookie", "").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == COOKIE:
            return value
    return ""
