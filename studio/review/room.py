"""The room: what a client sees at a link, and nothing else. An app and a process of its own.

It opens only its own folder. A token that is wrong, ended, revoked or full gets the same 404, byte for byte,
as any other address; no word of it says what stands behind.
"""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from studio.review import keys
from studio.review.feedback import (
    FullRoom,
    NoPlace,
    WrongPin,
    add_comment,
    add_verdict,
    enter,
    seen,
    take_name,
    tell,
)
from studio.review.front import Bland, Busy, Front, Gone, Hosts, form_of
from studio.review.pages import Pages, day, pieces_of
from studio.review.store import Copy, Link, Store, Visitor, say
from studio.review.throttle import Throttle, peer_of
from studio.review.words import LANGUAGES, Text, spoken

GUESSES = (100, 1.0)  # wrong tokens of one address: so many at once, then one a second
POSTS = (40, 0.5)  # what one visitor sends
VISIT, LANGUAGE = "visit", "language"  # cookies
COOKIE = 60 * 24 * 3600  # seconds; longer than any link
MIMES = {"png": "image/png", "webp": "image/webp"}


class Room:
    """The handlers. Each begins with `_open`, which raises Gone or Busy."""

    def __init__(self, store: Store) -> None:
        self.store, self.pages = store, Pages()
        self._guesses, self._posts = Throttle(*GUESSES), Throttle(*POSTS)

    # --- who is there ---

    def _open(self, request: Request) -> tuple[Link, Visitor | None]:
        """The live link and its visitor, if the browser was here before."""
        token = request.path_params["token"]
        link = self.store.find(token)
        if link is None:
            peer = peer_of(request.client.host if request.client else None)
            raise Gone() if self._guesses.allows(peer) else Busy()
        cookie = request.cookies.get(VISIT, "")
        return link, self.store.visitor(link.id, cookie) if cookie else None

    def _inside(self, request: Request) -> tuple[Link, Visitor | None]:
        """As `_open`, for what only those may have whom the PIN or the count of visitors let in."""
        link, visitor = self._open(request)
        if (link.pin or link.views is not None) and not (visitor and visitor.inside):
            raise Gone()
        return link, visitor

    def _posting(self, request: Request) -> tuple[Link, Visitor | None]:
        link, visitor = self._inside(request)
        if not self._posts.allows(f"{link.id} {visitor.id if visitor else ''}"):
            raise Busy()
        return link, visitor

    # --- looking ---

    def show(self, request: Request) -> Response:
        link, visitor = self._open(request)
        base = base_of(request)
        if request.query_params.get(LANGUAGE) in LANGUAGES:
            return remember(RedirectResponse(base, 303), request, LANGUAGE,
                            request.query_params[LANGUAGE])  # fmt: skip
        t = text_of(request)
        if link.pin and not (visitor and visitor.inside):
            return self._door(request, t, "")
        cookie = ""
        if visitor is None:
            if request.method == "HEAD":
                return HTMLResponse("")
            cookie = keys.draw()
            try:
                visitor = enter(self.store, link, cookie)
            except FullRoom:
                raise Gone() from None
        else:
            seen(self.store, visitor)
        answer = self._page("room.html", request, link, t, **self._room(request, link, visitor, t))
        return remember(answer, request, VISIT, cookie) if cookie else answer

    def _room(self, request: Request, link: Link, visitor: Visitor | None, t: Text) -> dict[str, Any]:
        return {
            "note": link.note, "ends": day(link.expires, t), "copies": link.download == "copy",
            "name": visitor.name if visitor else "", "ask_name": "rename" in request.query_params,
            "pieces": self._pieces(request, link, visitor, t),
            "coming": sum(not self.store.made(copy) for copy in self.store.copies(link.id)),
        }  # fmt: skip

    def _pieces(self, request: Request, link: Link, visitor: Visitor | None, t: Text) -> list[Any]:
        base = base_of(request)
        there = [copy for copy in self.store.copies(link.id) if self.store.made(copy)]
        said = self.store.said(link.id)
        return pieces_of(there, said, visitor, t, lambda copy: f"{base}/picture/{copy.id}")

    def compare(self, request: Request) -> Response:
        link, visitor = self._inside(request)
        if request.query_params.get(LANGUAGE) in LANGUAGES:
            return remember(RedirectResponse(f"{base_of(request)}/compare", 303), request, LANGUAGE,
                            request.query_params[LANGUAGE])  # fmt: skip
        t = text_of(request)
        pieces = self._pieces(request, link, visitor, t)
        if not pieces:
            return RedirectResponse(base_of(request), 303)
        by_id = {piece.id: piece for piece in pieces}
        left = by_id.get(request.query_params.get("left", ""), pieces[0])
        right = by_id.get(request.query_params.get("right", ""), pieces[-1])
        return self._page("compare.html", request, link, t, pieces=pieces, left=left, right=right)

    def picture(self, request: Request) -> Response:
        link, _ = self._inside(request)
        copy = self._copy(request, link)
        # Asked for anew each time, so that a link that ended shows nothing more.
        headers = {"cache-control": "private, no-cache", "etag": f'"{copy.id}"'}
        if headers["etag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return self._file(copy.shown, headers)

    def copy(self, request: Request) -> Response:
        link, visitor = self._inside(request)
        copy = self._copy(request, link)
        if link.download != "copy" or copy.whole is None:
            raise Gone()
        name = f"picture-{copy.item}-{copy.version}.png"
        answer = self._file(copy.whole, {"content-disposition": f'attachment; filename="{name}"'})
        if request.method == "GET":
            with self.store.write() as connection:
                say(connection, link.id, "downloaded", picture=copy.id, visitor=visitor)
        return answer

    def _copy(self, request: Request, link: Link) -> Copy:
        for copy in self.store.copies(link.id):
            if copy.id == request.path_params["id"]:
                return copy
        raise Gone()

    def _file(self, name: str, headers: dict[str, str]) -> Response:
        """`name` is the store's own, never a visitor's."""
        try:
            data = (self.store.pictures / name).read_bytes()
        except FileNotFoundError:  # the link ended while this was on its way
            raise Gone() from None
        mime = MIMES[name.rpartition(".")[2]]
        return Response(data, media_type=mime, headers={"cache-control": "no-store"} | headers)

    def css(self, request: Request) -> Response:
        link, visitor = self._open(request)
        hidden = link.pin and not (visitor and visitor.inside)
        return Response(self.pages.css(None if hidden else link), media_type="text/css")

    def script(self, request: Request) -> Response:
        self._open(request)
        return Response(self.pages.script, media_type="text/javascript")

    # --- saying ---

    async def pin(self, request: Request) -> Response:
        fields = await form_of(request)
        return await run_in_threadpool(self._pin, request, fields.get("pin", ""))

    def _pin(self, request: Request, pin: str) -> Response:
        link, _ = self._open(request)
        if not link.pin:
            raise Gone()
        t, cookie = text_of(request), keys.draw()
        try:
            enter(self.store, link, cookie, pin)
        except WrongPin as wrong:
            problem = t("pin_wait", seconds=wrong.wait) if wrong.wait else t("pin_wrong")
            page = self._door(request, t, problem)
            page.status_code = 429 if wrong.wait else 403
            return page
        except FullRoom:
            raise Gone() from None
        return remember(RedirectResponse(base_of(request), 303), request, VISIT, cookie)

    async def name(self, request: Request) -> Response:
        fields = await form_of(request)
        return await run_in_threadpool(self._name, request, fields.get("name", ""))

    def _name(self, request: Request, name: str) -> Response:
        link, visitor = self._posting(request)
        if visitor is not None and (plain := tell(name, one_line=True)):
            take_name(self.store, link, visitor, plain)
        return RedirectResponse(base_of(request), 303)

    async def say(self, request: Request) -> Response:
        fields = await form_of(request)
        return await run_in_threadpool(self._say, request, fields)

    def _say(self, request: Request, fields: dict[str, str]) -> Response:
        link, visitor = self._posting(request)
        copy = self._copy(request, link)
        if visitor is None or not visitor.name:
            return RedirectResponse(f"{base_of(request)}#who", 303)
        try:
            if "verdict" in fields:
                add_verdict(self.store, link, copy, visitor, fields["verdict"])
            elif text := tell(fields.get("text", "")):
                add_comment(self.store, link, copy, visitor, text, fields.get("x", ""), fields.get("y", ""))
        except NoPlace:
            raise Gone() from None
        except FullRoom:
            raise Busy() from None
        return RedirectResponse(f"{base_of(request)}#picture-{copy.id}", 303)

    def _door(self, request: Request, t: Text, problem: str) -> HTMLResponse:
        return HTMLResponse(self.pages.door(t, base_of(request), problem))

    def _page(self, template: str, request: Request, link: Link, t: Text, /, **more: Any) -> HTMLResponse:
        return HTMLResponse(self.pages.page(template, link, t, base_of(request), **more))


def base_of(request: Request) -> str:
    return f"/r/{request.path_params['token']}"


def text_of(request: Request) -> Text:
    chosen = request.cookies.get(LANGUAGE, "")
    return Text(chosen if chosen in LANGUAGES else spoken(request.headers.get("accept-language", "")))


def remember(answer: Response, request: Request, name: str, value: str) -> Response:
    answer.set_cookie(
        name, value, max_age=COOKIE, path=base_of(request),
        httponly=True, samesite="lax", secure=request.state.https,
    )  # fmt: skip
    return answer


def make_room(store: Store, hosts: Hosts) -> ASGIApp:
    room = Room(store)
    at = "/r/{token}"
    app = Starlette(
        routes=[
            Route(at, room.show, methods=["GET"]),
            Route(at, room.pin, methods=["POST"]),
            Route(f"{at}/compare", room.compare, methods=["GET"]),
            Route(f"{at}/picture/{{id}}", room.picture, methods=["GET"]),
            Route(f"{at}/copy/{{id}}", room.copy, methods=["GET"]),
            Route(f"{at}/room.css", room.css, methods=["GET"]),
            Route(f"{at}/room.js", room.script, methods=["GET"]),
            Route(f"{at}/name", room.name, methods=["POST"]),
            Route(f"{at}/say/{{id}}", room.say, methods=["POST"]),
        ],
        exception_handlers=Bland.handlers(),
    )
    app.router.redirect_slashes = False  # a redirect would tell which addresses there are
    return Front(app, hosts)
