"""A job's events on their way to a client.

`Studio.events` blocks between events, so each listener has a thread of its own: the pool that answers other
requests never waits for a picture.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import closing
from contextvars import copy_context
from dataclasses import asdict
from functools import partial
from typing import Protocol

from studio.api.views import image_url
from studio.errors import NotReady, StudioError
from studio.schema import FINAL, Event, Failed, Picture, Preview
from studio.studio import Studio

MOST = 256  # listeners at once; each holds a thread until the job's next event
LOOK = 0.5  # seconds between looks whether the studio stops
PULSE = 10.0  # seconds of silence after which a line is sent, so that proxies keep the connection
AHEAD = 8  # events read before the client took the last; a slow client then skips previews, not pictures

Numbered = tuple[int, Event]


class Teller(Protocol):
    """Who tells of `id`: the studio itself of jobs, its trainings of runs."""

    def events(self, id: str, after: int = 0) -> Generator[tuple[int, Event]]: ...


class Listeners:
    """Counts who listens."""

    def __init__(self, most: int = MOST) -> None:
        self.free = threading.BoundedSemaphore(most)
        self.most = most

    def check_room(self) -> None:
        """Raises NotReady: before an answer has begun, which `follow` is too late for."""
        if not self.free.acquire(blocking=False):
            raise self.full()
        self.free.release()

    def full(self) -> NotReady:
        return NotReady(f"{self.most} clients listen already.", hint="Ask for the job's state instead.")

    async def follow(
        self, studio: Studio, id: str, after: int, pulse: float = PULSE, teller: Teller | None = None
    ) -> AsyncGenerator[Numbered | None]:
        """Events after number `after` up to the final one; None after `pulse` seconds without any.

        Ends without a final event when the studio is told to stop. Leaving the loop ends the thread at the
        job's next event. Raises NotReady when too many listen.
        """
        if not self.free.acquire(blocking=False):
            raise self.full()
        loop, gone = asyncio.get_running_loop(), threading.Event()
        queue: asyncio.Queue[Numbered | None] = asyncio.Queue(AHEAD)

        def put(item: Numbered | None) -> None:
            asyncio.run_coroutine_threadsafe(queue.put(item), loop).result()

        def pump() -> None:
            try:
                with closing((teller or studio).events(id, after)) as events:
                    for item in events:
                        if gone.is_set():
                            return
                        put(item)
            except StudioError as error:
                if not gone.is_set():
                    put((after, Failed(error.as_dict())))
            finally:
                self.free.release()

        # In the caller's context: who asks goes along.
        pumping = partial(copy_context().run, pump)
        threading.Thread(target=pumping, name=f"follow-{id[:8]}", daemon=True).start()
        silent = 0.0
        try:
            while not studio.jobs.draining:
                try:
                    item = await asyncio.wait_for(queue.get(), min(LOOK, pulse))
                except TimeoutError:
                    silent += min(LOOK, pulse)
                    if silent >= pulse:
                        silent = 0.0
                        yield None
                    continue
                silent = 0.0
                yield item
                if item is not None and isinstance(item[1], FINAL):
                    return
        finally:
            gone.set()
            while not queue.empty():  # lets a put that waits for room end
                queue.get_nowait()


async def lines(events: AsyncIterator[Numbered | None]) -> AsyncIterator[str]:
    """Server-sent events: `id` is the number to come back with as Last-Event-ID, `event` the event's name.

    The last one is the job's end, or `server_restart`: the job goes on, and so does its stream, later.
    """
    yield "retry: 1000\n\n"
    ended = False
    async for item in events:
        if item is None:
            yield ": still here\n\n"
            continue
        number, event = item
        ended = isinstance(event, FINAL)
        data = json.dumps(payload(event), ensure_ascii=False)
        yield f"id: {number}\nevent: {type(event).__name__.lower()}\ndata: {data}\n\n"
    if not ended:
        yield "event: server_restart\ndata: {}\n\n"


def payload(event: Event) -> dict[str, object]:
    """An event as JSON: a preview's JPEG in base64, a picture with its address."""
    if isinstance(event, Preview):
        return {"index": event.index, "jpeg": base64.b64encode(event.data).decode()}
    if isinstance(event, Picture):
        return asdict(event) | {"url": image_url(event.id)}
    return asdict(event)
