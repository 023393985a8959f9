"""The page's place in the app. Importing Gradio takes seconds, so the API answers first.

It is built in a thread; until then a visitor sees a line that it is coming, and the browser asks again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.api.errors import answer, unknown_route, wrong_method
from studio.api.porch import COMING, COMING_AT
from studio.errors import NotReady
from studio.people import NOBODY, speaking

Build = Callable[[], FastAPI]

log = logging.getLogger("studio.page")

BUILDING = "The page is being built."


async def built(build: Build) -> FastAPI:
    """`build()` in a thread that nobody waits for when the server is stopped before it is through."""
    done: Future[FastAPI] = Future()
    done.set_running_or_notify_cancel()

    def work() -> None:
        try:
            with speaking(NOBODY):  # what is built once is shown to everybody: nobody's pictures
                done.set_result(build())
        except Exception as error:
            done.set_exception(error)

    threading.Thread(target=work, name="page", daemon=True).start()
    return await asyncio.wrap_future(done)


def own_errors(send: Send) -> Send:
    """What Gradio does not have, or will not show, in the studio's form: the same answer for both."""
    refused = False

    async def sending(message: Message) -> None:
        nonlocal refused
        if refused:
            return
        status = message.get("status", 200)
        if status in (403, 404, 405):
            refused = True
            allow = [value.decode() for name, value in message.get("headers", ()) if name.lower() == b"allow"]
            error = wrong_method(allow[0]) if status == 405 and allow else unknown_route()
            await answer(error, {"allow": allow[0]} if allow else None)({"type": "http"}, _nothing, send)
            return
        await send(message)

    return sending


async def _nothing() -> Message:
    return await asyncio.Future()


class Page:
    """ASGI app. `build` imports the page and makes it; called once, in a thread, when the server runs."""

    def __init__(self, build: Build | None) -> None:
        self.build = build
        self.app: ASGIApp | None = None
        self.problem = BUILDING if build else ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Builds the page beside the server that is running already; takes it down at the end."""
        if self.build is None:
            yield
            return
        closing = asyncio.Event()
        task = asyncio.create_task(self.live(self.build, closing))
        try:
            yield
        finally:
            closing.set()
            if self.app is None:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def live(self, build: Build, closing: asyncio.Event) -> None:
        try:
            app = await built(build)
            async with app.router.lifespan_context(app):
                self.app, self.problem = app, ""
                await closing.wait()
        except Exception as error:
            self.problem = (
                f"The page could not be built ({type(error).__name__}); the server's log says more."
            )
            log.exception("the page could not be built")
        self.app = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.app is not None:
            await self.app(scope, receive, own_errors(send))
        elif self.build is None:
            await answer(unknown_route())(scope, receive, send)
        elif self.problem == BUILDING and scope["method"] == "GET" and scope["path"] in COMING_AT:
            await self.wait_for_it(send)
        else:
            await answer(NotReady(self.problem, hint="Try again in a moment."))(scope, receive, send)

    async def wait_for_it(self, send: Send) -> None:
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"retry-after", b"1"),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": COMING})
