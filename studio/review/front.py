"""Around the room: whose name it answers to, what it says when there is nothing to say, how much it reads."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY = 32 * 2**10  # bytes; a comment of 2,000 letters in 中文 is 18 KB in a form
FIELDS = 10
SLOW = 15.0  # seconds in which a form must have arrived
FRESH = 0.5  # seconds for which the names of open tunnels are believed
# One page for every address where nothing is, or nothing any more.
NOTHING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>404</title><link rel="icon" href="data:,"></head>
<body><h1>Nothing here</h1><p>This address does not exist, or it has ended.</p>
<p lang="zh-CN">此地址不存在或已失效。</p></body></html>
"""
LATER = NOTHING.replace("404", "429").replace("Nothing here", "Please wait a moment").replace(
    "This address does not exist, or it has ended.", "Try again in a minute."
).replace("此地址不存在或已失效。", "请稍后再试。")  # fmt: skip

HEADERS = (
    (b"content-security-policy",
     b"default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; form-action 'self'; "
     b"base-uri 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"x-robots-tag", b"noindex, nofollow"),
    # Not no-referrer: a browser would then say Origin: null of the page's own forms.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)  # fmt: skip


class Gone(Exception):
    """No such thing, or no more; nobody learns which."""


class Busy(Exception):
    """Too much from one side."""


class Bland:
    """Answers that say nothing."""

    @staticmethod
    def gone(_request: Request, _error: Exception) -> Response:
        return HTMLResponse(NOTHING, 404)

    @staticmethod
    def busy(_request: Request, _error: Exception) -> Response:
        return HTMLResponse(LATER, 429, headers={"retry-after": "60"})

    @staticmethod
    def broken(_request: Request, _error: Exception) -> Response:
        return HTMLResponse(LATER, 503, headers={"retry-after": "60"})

    @classmethod
    def handlers(cls) -> Mapping[Any, Callable[[Request, Exception], Response]]:
        return {HTTPException: cls.gone, Gone: cls.gone, Busy: cls.busy, ClientDisconnect: cls.busy,
                Exception: cls.broken}  # fmt: skip


class Hosts:
    """Host names the room answers to: its own, those that were set, and those of tunnels open now.

    `urls` gives the public addresses of this moment.
    """

    def __init__(self, names: Iterable[str], any_address: bool, urls: Callable[[], Iterable[str]]) -> None:
        self._names = {name.lower() for name in names} | {"localhost", "127.0.0.1", "::1"}
        self._any_address, self._urls = any_address, urls
        self._public: tuple[str, ...] = ()
        self._until = 0.0

    def know(self, header: str) -> bool:
        name = host_name(header)
        if name in self._names or (self._any_address and is_address(name)):
            return True
        return bool(name) and name in {host_name(urlsplit(url).netloc) for url in self._fresh()}

    def https(self, header: str) -> bool:
        """Whether the page is reached over TLS, which ends at the tunnel's far side."""
        secure = (url for url in self._fresh() if url.startswith("https:"))
        return any(urlsplit(url).netloc.lower() == header.lower() for url in secure)

    def _fresh(self) -> tuple[str, ...]:
        if time.monotonic() >= self._until:
            self._public = tuple(self._urls())
            self._until = time.monotonic() + FRESH
        return self._public


def host_name(header: str) -> str:
    """The name in a Host header, lower case; '' for what is none."""
    try:
        return "" if "@" in header else (urlsplit(f"//{header}").hostname or "")
    except ValueError:  # brackets that are not closed and the like
        return ""


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Front:
    """ASGI middleware: outermost of the room."""

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
                message = {**message, "headers": [*headers, *HEADERS]}
            await send(message)

        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not self.hosts.know(hosts[0]):
            return await HTMLResponse(NOTHING, 421)(scope, receive, dressed)
        if scope["method"] not in ("GET", "HEAD") and foreign(scope, hosts[0]):
            return await HTMLResponse(NOTHING, 404)(scope, receive, dressed)
        scope.setdefault("state", {})["https"] = self.hosts.https(hosts[0])
        await self.app(scope, receive, dressed)


def foreign(scope: Scope, host: str) -> bool:
    """Whether a browser says that another site's page sends this."""
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    if headers.get(b"sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get(b"origin")
    return origin is not None and origin.partition("://")[2].lower() != host.lower()


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a URL-encoded form; Gone for one that no page of the room sends."""
    body = b""
    try:
        async with asyncio.timeout(SLOW):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY:
                    raise Gone()
    except TimeoutError:
        raise Gone() from None
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS,
                          errors="replace")  # fmt: skip
    except ValueError:
        raise Gone() from None
    return dict(pairs)
