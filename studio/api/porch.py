"""Answers while the rest is still being imported: that the process lives, and that the page is coming.

Importing the web app costs 2 s of CPU, which a busy machine stretches; this needs the standard library alone.
From start to the first /livez on two busy cores, five times each: 1.3 to 2.1 s with it, 5.3 to 8.1 s without.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading

from studio.errors import NotReady

LOOK = 0.05  # seconds between looks whether to leave
PATIENCE = 1.0  # seconds for a caller to say what he wants
HEAD_BYTES = 16 * 2**10

COMING = """<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="1">
<title>Brand Studio</title><style>body{font:16px system-ui,sans-serif;margin:20vh auto;max-width:32em;
text-align:center;color:#444;background:#fafafa}@media(prefers-color-scheme:dark){body{color:#bbb;background:#161616}}</style>
<p>The studio is starting.</p><p lang="zh">正在启动…</p></html>""".encode()
COMING_AT = ("/", "/zh", "/zh/")


class Porch:
    """Takes callers of `listener` from its making until `close`; later ones wait for the server."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener, self._leaving = listener, threading.Event()
        listener.setblocking(False)  # who hung up between `select` and `accept` must not hold us
        self._thread = threading.Thread(target=self._stand, name="porch", daemon=True)
        self._thread.start()

    def _stand(self) -> None:
        while not self._leaving.is_set():
            if select.select([self._listener], [], [], LOOK)[0]:
                with contextlib.suppress(OSError):
                    line, _ = self._listener.accept()
                    with line:
                        line.settimeout(PATIENCE)
                        line.sendall(answer(read_head(line)))

    def close(self) -> None:
        self._leaving.set()
        self._thread.join()


def read_head(line: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head and len(head) < HEAD_BYTES and (more := line.recv(4096)):
        head += more
    return head


def answer(head: bytes) -> bytes:
    """The whole response to a request that begins with `head`."""
    method, path = [*head.partition(b"\r\n")[0].decode("latin-1").split(" "), "", ""][:2]
    status, kind = "503 Service Unavailable", "application/json"
    if path == "/livez":
        status, body = "200 OK", b'{"status":"ok"}'
    elif path in COMING_AT:
        kind, body = "text/html; charset=utf-8", COMING
    else:
        starting = NotReady("The studio is starting.", hint="Try again in a moment.")
        body = json.dumps({"error": starting.as_dict()}).encode()
    headers = (
        f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\nretry-after: 1\r\n"
        "cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
    )
    return headers.encode() + (b"" if method == "HEAD" else body)
