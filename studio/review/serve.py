"""The room's process: `python -m studio.review.serve FOLDER HOST PORT [NAMES]`.

It ends when its standard input does, so also when the studio is killed. It says its address in the folder's
notes and holds `room.lock`: one room for one folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from studio.review.front import Hosts
from studio.review.room import make_room
from studio.review.store import Store

LOCK = "room.lock"
TAKEN = 3  # exit status: another room serves this folder
NO_PORT = 4
TRIES = 20  # ports from the wanted one upwards, when that belongs to somebody else
NICE = 7  # a sixth of a core where the studio wants all of it: its own work goes first
BACKLOG = 1024
MOST_AT_ONCE = 1000  # connections; one more is told to come later
TUNNELS = "tunnels"
ADDRESS = "address"


@contextlib.contextmanager
def locked(file: Path) -> Iterator[bool]:
    """Whether this process holds the lock now. It is freed by the system however the process ends."""
    handle = os.open(file, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def taken_port(host: str, port: int) -> socket.socket | None:
    """Bound to `port`, or to the next one that is free; 0 = any."""
    for number in range(port, port + (TRIES if port else 1)):
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, number))
            listener.listen(BACKLOG)
            return listener
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE:
                return None
    return None


def public_urls(store: Store, given: str) -> Iterator[str]:
    if given:
        yield given
    for tunnel in store.note(TUNNELS).values():
        if tunnel.get("url"):
            yield str(tunnel["url"])


def configure(app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app, log_level="error", access_log=False, server_header=False, proxy_headers=False,  # type: ignore[arg-type]
        timeout_graceful_shutdown=1, timeout_keep_alive=20, http="h11", ws="none", lifespan="off",
        h11_max_incomplete_event_size=32 * 2**10, backlog=BACKLOG, limit_concurrency=MOST_AT_ONCE,
    )  # fmt: skip


def main(folder: Path, host: str, port: int, names: tuple[str, ...], url: str) -> int:
    with contextlib.suppress(OSError):
        os.nice(NICE)
    with locked(folder / LOCK) as mine:
        if not mine:
            return TAKEN
        store = Store(folder)
        listener = taken_port(host, port)
        if listener is None:
            problem = f"The review room can listen neither on {host}:{port} nor on the ports after it."
            store.put_note(ADDRESS, {"problem": problem, "at": time.time()})
            return NO_PORT
        hosts = Hosts((*names, host), host in ("0.0.0.0", "::"), lambda: public_urls(store, url))
        server = uvicorn.Server(configure(make_room(store, hosts)))
        threading.Thread(target=_follow, args=(server,), daemon=True).start()
        store.put_note(ADDRESS, {"host": host, "port": listener.getsockname()[1]})
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
        listener.close()
        store.close()
    return 0


def _follow(server: uvicorn.Server) -> None:
    """Ends the server once whoever started it is gone."""
    with contextlib.suppress(OSError):
        while sys.stdin.buffer.read(64):
            pass
    server.should_exit = True


if __name__ == "__main__":
    _, folder, host, port, *more = sys.argv
    names, url = (*more, "", "")[:2]
    raise SystemExit(main(Path(folder), host, int(port), tuple(filter(None, names.split(","))), url))
