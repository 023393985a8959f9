"""The outermost layer, around the API and the page alike: who may speak to the studio, and how much at once.

The studio listens on this machine only, but every web page its user visits can send requests there too, and
a host name that a stranger controls can be pointed at 127.0.0.1 (DNS rebinding). So: only host names that are
ours; only addresses that gates.py names; nothing that changes something from another site's page; bodies of
two kinds, counted while they arrive. Gradio answers other origins with CORS headers of its own; they are
taken off here.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.api.errors import MethodNotAllowed, unknown_route, wrong_method
from studio.api.gates import find, gates
from studio.api.login import TARGETS
from studio.api.sign_in import SignIn, SignInNeeded
from studio.errors import BadRequest, Forbidden, StudioError, TooLarge, UnsupportedMedia
from studio.people import IN_SCOPE, LOCAL, NOBODY, Person, speaking
from studio.settings import Settings

JSON_BYTES = 2**20  # a request is some KB; Gradio's forms stay below too, as pictures go by upload
# JSON with pictures in it, as base64: a picture of the largest size, and smaller ones beside it.
WITH_PICTURES = frozenset(
    f"/sdapi/v1/{name}"
    for name in ("txt2img", "img2img", "png-info", "extra-single-image", "extra-batch-images")
) | {"/controlnet/detect"}
FORMS = {"/login", "/logout"}  # plain HTML; every other body is JSON or a file
FORM_BYTES = 4096
WITH_FILES = {
    "/api/v1/uploads", "/api/v1/verify", "/api/v1/check", "/api/v1/infotext", "/api/v1/campaigns",
    "/api/v1/campaigns/preview", "/api/v1/kits/samples", "/api/v1/kits/logos",
}  # fmt: skip
FRAME_BYTES = 64 * 2**10  # what multipart adds around a file
WEIGHTS_BYTES = 2 * 2**30  # a LoRA dropped on the page, or inside a brand kit
SET_BYTES = 512 * 2**20  # 500 pictures to train on
SLOW = 30.0  # seconds without a byte of a body that has begun
MOST_RANGES = 8
SAFE = {"GET", "HEAD", "OPTIONS"}

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    # Gradio writes scripts and styles into its page; but whatever runs there can talk to this server alone.
    (
        b"content-security-policy",
        b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'; "
        b"object-src 'none'; base-uri 'self'; form-action 'self'",
    ),
)


class WrongHost(BadRequest):
    status = 421
    code = "host_not_allowed"


class BadRange(BadRequest):
    status = 416
    code = "bad_range"


class SlowBody(StudioError):
    status = 408
    code = "slow_body"


class Walls:
    """ASGI middleware. `settings` gives the host names and the size of a picture upload.

    `sign_in` None: everybody who gets this far is the studio's owner.
    """

    def __init__(self, app: ASGIApp, settings: Settings, sign_in: SignIn | None) -> None:
        self.app, self.sign_in = app, sign_in
        self.extra = frozenset(name.lower() for name in settings.allowed_hosts)
        self.hosts = self.extra | {"localhost", "127.0.0.1", "[::1]", bracketed(settings.host.lower())}
        self.any_address = settings.host in ("0.0.0.0", "::")
        self.upload_bytes = settings.upload_bytes + FRAME_BYTES
        self.gates = gates()
        plain = [gate.address for gate in self.gates if "{" not in gate.address]
        self.needs = {address: find(self.gates, address) for address in plain}  # a look for each cost 0.06 ms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":  # no part of the studio speaks WebSocket
            return await send({"type": "websocket.close", "code": 1008})
        guarded = _Answer(send)
        try:
            headers = read_headers(scope)
            self.check_host(headers)
            if scope["method"] not in SAFE or "access-control-request-method" in headers:
                self.check_origin(headers)
            check_ranges(headers)
            person = await self.check_address(scope, headers)
            limit = self.check_body(scope, headers)
        except SignInNeeded as error:
            return await (guarded.send_to_login(scope) if is_visit(scope, headers) else guarded.refuse(error))
        except StudioError as error:
            return await guarded.refuse(error)
        try:
            with speaking(person):
                await self.app({**scope, IN_SCOPE: person}, _Body(receive, guarded, limit), guarded)
        except ClientDisconnect:  # the sender hung up in the middle of a body, or was refused there
            return

    def check_host(self, headers: Mapping[str, str]) -> None:
        """Raises WrongHost for a name that is not ours: DNS rebinding arrives with the stranger's name."""
        name = host_of(headers.get("host", ""))
        if name in self.hosts or (self.any_address and is_address(name)):
            return
        raise WrongHost(
            "This host name is not one the studio answers to.",
            hint="Use http://127.0.0.1 and the studio's port, or start it with STUDIO_ALLOWED_HOSTS=NAME.",
        )

    def check_origin(self, headers: Mapping[str, str]) -> None:
        """Raises Forbidden when a browser says another site's page sends this. Programs say nothing of it."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        ours = origin is None or self.is_ours(origin, headers["host"])
        if ours and site in ("same-origin", "none"):
            return
        raise Forbidden(
            "Another site's page may not change anything here.",
            hint="Use the studio's own page, or a program.",
            code="foreign_origin",
        )

    def is_ours(self, origin: str, host: str) -> bool:
        """The host and port that were asked, or a name that was set (a proxy may hide what was asked)."""
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        if parts.scheme not in ("http", "https"):  # among others the word null
            return False
        return parts.netloc.lower() == host.lower() or (parts.hostname or "") in self.extra

    async def check_address(self, scope: Scope, headers: Mapping[str, str]) -> Person:
        """Who asks. Raises SignInNeeded, WrongKey; NotFound for an address that gates.py does not name,
        whatever lies behind it; Forbidden for one that a key's scopes do not cover.
        """
        needs = self.needs.get(scope["path"]) or find(self.gates, scope["path"])
        need = needs.get(scope["method"])
        person: Person | None = LOCAL if self.sign_in is None else NOBODY
        if self.sign_in is not None and need != "open":
            person = await self.sign_in.person(headers)
        if person is None:
            raise SignInNeeded(
                "Sign in first.", hint="At /login, or send a key as Authorization: Bearer KEY."
            )
        if not needs:
            raise unknown_route()
        if need is None:
            raise wrong_method(", ".join(sorted(needs)))
        if need != "open" and not person.may(need):
            raise Forbidden(
                f"This needs the scope {need}.", hint="Ask for a key that has it.", code="scope_missing"
            )
        return person

    def check_body(self, scope: Scope, headers: Mapping[str, str]) -> int:
        """The most bytes this request may send. Raises UnsupportedMedia, TooLarge."""
        size = headers.get("content-length", "0")
        if scope["method"] in SAFE or (size == "0" and "transfer-encoding" not in headers):
            return 0
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        limit = self.limit_of(scope["path"], kind)
        if size.isdecimal() and int(size[:20]) > limit:
            raise too_large(limit)
        return limit

    def limit_of(self, path: str, kind: str) -> int:
        if kind == "application/json":
            return 2 * self.upload_bytes if path in WITH_PICTURES else JSON_BYTES
        if kind == "application/x-www-form-urlencoded" and path in FORMS:
            return FORM_BYTES
        if kind == "multipart/form-data":
            if path in WITH_FILES:
                return self.upload_bytes
            if path == "/v1/images/edits":  # a picture and its mask
                return 2 * self.upload_bytes
            if path == "/api/v1/datasets":
                return SET_BYTES
            if path == "/api/v1/kits" or path.endswith("/gradio_api/upload"):
                return WEIGHTS_BYTES
        raise UnsupportedMedia(
            "A body must be JSON here, or a form with a file where files are taken.",
            hint="Send it with content-type: application/json.",
        )


class _Answer:
    """`send` with the studio's headers on; once it refused, nothing the app says afterwards gets through."""

    def __init__(self, send: Send) -> None:
        self.send, self.started, self.refused = send, False, False

    async def __call__(self, message: Message) -> None:
        if self.refused:
            return
        if message["type"] == "http.response.start":
            self.started = True
            message = {**message, "headers": with_headers(message.get("headers", ()))}
        await self.send(message)

    async def refuse(self, error: StudioError) -> None:
        if self.started or self.refused:
            return
        body = json.dumps({"error": error.as_dict()}, ensure_ascii=False).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if isinstance(error, MethodNotAllowed):
            headers.append((b"allow", error.allowed.encode()))
        if error.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await self({"type": "http.response.start", "status": error.status, "headers": headers})
        await self({"type": "http.response.body", "body": body})
        self.refused = True

    async def send_to_login(self, scope: Scope) -> None:
        headers = [
            (b"location", f"/login?next={scope['path']}".encode()),
            (b"cache-control", b"no-store"),
            (b"content-length", b"0"),
        ]
        await self({"type": "http.response.start", "status": 303, "headers": headers})
        await self({"type": "http.response.body", "body": b""})


class _Body:
    """`receive` that counts. Over the limit, or silent too long: refuses; the app sees its client leave."""

    def __init__(self, receive: Receive, answer: _Answer, limit: int) -> None:
        self.receive, self.answer, self.limit = receive, answer, limit
        self.seen, self.more = 0, True

    async def __call__(self) -> Message:
        try:
            async with asyncio.timeout(SLOW if self.more and self.limit else None):
                message = await self.receive()
        except TimeoutError:
            return await self.refuse(
                SlowBody(f"Nothing came for {SLOW:.0f} s.", hint="Send the body at once.")
            )
        if message["type"] == "http.request":
            self.more = message.get("more_body", False)
            self.seen += len(message.get("body", b""))
            if self.seen > self.limit:
                return await self.refuse(too_large(self.limit))
        return message

    async def refuse(self, error: StudioError) -> Message:
        await self.answer.refuse(error)
        return {"type": "http.disconnect"}


def read_headers(scope: Scope) -> dict[str, str]:
    """By lower-case name. Raises BadRequest for two Host headers: a proxy might have judged the other one."""
    headers: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name = raw.decode("latin-1").lower()
        if name == "host" and name in headers:
            raise BadRequest("Two Host headers.", code="two_hosts")
        headers[name] = value.decode("latin-1").strip()
    return headers


def host_of(header: str) -> str:
    """The name in a Host header without its port, lower case."""
    header = header.lower()
    if header.startswith("["):
        return header.partition("]")[0] + "]"
    return header.partition(":")[0]


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def is_address(name: str) -> bool:
    """An IP address is nobody's to rebind: a stranger's page always comes with a stranger's name."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def is_visit(scope: Scope, headers: Mapping[str, str]) -> bool:
    """A person with a browser, who opens a page."""
    return scope["method"] == "GET" and scope["path"] in TARGETS and "text/html" in headers.get("accept", "")


def check_ranges(headers: Mapping[str, str]) -> None:
    if headers.get("range", "").count(",") >= MOST_RANGES:
        raise BadRange(f"More than {MOST_RANGES} ranges.", hint="Ask for the whole file.")


def too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit / 2**20:.1f} MiB.", hint="Send less.")


def with_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The answer's headers without CORS, with ours where the app gave none of its own."""
    kept = [(name, value) for name, value in headers if not name.lower().startswith(b"access-control-")]
    given = {name.lower() for name, _ in kept}
    return kept + [(name, value) for name, value in HEADERS if name not in given]
