"""Runs the app on a port that was taken."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys

import uvicorn
from starlette.types import ASGIApp

from studio.api.porch import Porch

DRAIN = 3  # seconds for answers under way when the studio is told to stop
HEADER_BYTES = 64 * 2**10  # of one request


def configure(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, proxy_headers=False,
        timeout_graceful_shutdown=DRAIN, http="h11", ws="none", h11_max_incomplete_event_size=HEADER_BYTES,
    )  # fmt: skip


def serve(app: ASGIApp, listener: socket.socket, porch: Porch) -> None:
    """Takes over from the porch, says the address, answers until a signal."""
    porch.close()
    host, port = listener.getsockname()[:2]
    address = f"[{host}]" if ":" in host else host
    sys.stdout.write(f"Brand Studio: http://{address}:{port}   (Ctrl+C stops it)\n")
    sys.stdout.flush()
    # uvicorn raises the signal again once all is closed; SIGTERM would then end us before the worker ends.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(configure(app)).run(sockets=[listener])
