"""Runs the app on a port that was taken."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from studio.api.porch import Porch

LAST_PICTURE = 25.0  # seconds for the pictures that are being made when the studio is told to stop
DRAIN = 3  # seconds for answers under way when the studio is told to stop
HEADER_BYTES = 64 * 2**10  # of one request


def configure(app: ASGIApp, proxies: Sequence[str] = ()) -> uvicorn.Config:
    """`proxies`: addresses and networks that may say for whom they ask, and whether over https."""
    return uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False,
        proxy_headers=bool(proxies), forwarded_allow_ips=list(proxies),
        timeout_graceful_shutdown=DRAIN, http="h11", ws="none", h11_max_incomplete_event_size=HEADER_BYTES,
    )  # fmt: skip


class Server(uvicorn.Server):
    """`stopping` is called at the first signal: nothing new begins while answers are finished."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self.stopping = stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.stopping()
        super().handle_exit(sig, frame)


def serve(
    app: ASGIApp,
    listener: socket.socket,
    porch: Porch,
    stopping: Callable[[], None] = lambda: None,
    proxies: Sequence[str] = (),
) -> None:
    """Takes over from the porch, says the address, answers until a signal; a second one ends at once."""
    porch.close()
    host, port = listener.getsockname()[:2]
    address = f"[{host}]" if ":" in host else host
    sys.stdout.write(f"Brand Studio: http://{address}:{port}   (Ctrl+C stops it)\n")
    sys.stdout.flush()
    # uvicorn raises the signal again once all is closed; SIGTERM would then end us before the worker ends.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        Server(configure(app, proxies), stopping).run(sockets=[listener])
    for number in (signal.SIGTERM, signal.SIGINT):  # the queue is on disk: nothing is lost by it
        signal.signal(number, lambda *_: os._exit(1))
