"""Runs the app on a port that was taken."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from studio.api.porch import Porch
from studio.api.wire import Wire

LAST_PICTURE = 25.0  # seconds for the pictures that are being made when the studio is told to stop
DRAIN = 3  # seconds for answers under way when the studio is told to stop


def configure(app: ASGIApp, proxies: Sequence[str] = ()) -> uvicorn.Config:
    """`proxies`: addresses and networks that may say for whom they ask, and whether over https."""
    return uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False,
        proxy_headers=bool(proxies), forwarded_allow_ips=list(proxies),
        timeout_graceful_shutdown=DRAIN, http=Wire, ws="none",
    )  # fmt: skip


class Server(uvicorn.Server):
    """`stopping` is called at the first signal: nothing new begins while answers are finished."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self.stopping = stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.stopping()
        super().handle_exit(sig, frame)


def settle() -> None:
    """What stays for as long as the process does is looked through for garbage once, and then no more.

    Each full look held every answer up for 80 ms, for 200 with the page; one came about every two seconds.
    """
    gc.collect()
    gc.freeze()


def serve(
    app: ASGIApp,
    listener: socket.socket,
    porch: Porch,
    stopping: Callable[[], None] = lambda: None,
    proxies: Sequence[str] = (),
) -> None:
    """Takes over from the porch, says the address, answers until a signal; a second one ends at once."""
    porch.close()
    settle()
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
