"""Keeps the room's process and its tunnels as the links want them."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from studio.errors import NotReady, StudioError
from studio.review.links import Links
from studio.review.serve import ADDRESS, LOCK, TAKEN, TUNNELS, locked
from studio.review.tunnels import Tunnel

log = logging.getLogger(__name__)

TICK = 0.4  # seconds between two looks; a revoked link's tunnel is closed within one
LONGEST_PAUSE = 30.0  # seconds between two tries of what fails each time
SWEEP = 3600.0
PATIENCE = 20.0  # seconds until a room that starts answers
KEEPER = "keeper.lock"
# Of the environment; the studio's may hold tokens of other services.
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "SYSTEMROOT", "PYTHONPATH")


class Keeper:
    """A thread; does nothing before there is a link. Of several studios on one home, one keeps."""

    def __init__(
        self, links: Links, host: str, port: int, names: tuple[str, ...], url: str,
        tunnels: Mapping[str, Callable[[], Tunnel]],
    ) -> None:  # fmt: skip
        self._links = links
        self._arguments = [host, str(port), ",".join(names), url]
        self._room: subprocess.Popen[bytes] | None = None
        self._again, self._pause = 0.0, 0.0
        self._swept = 0.0
        self._closed, self._woken = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name="review-keeper", daemon=True)
        self._lines = {kind: _Line(kind, make) for kind, make in tunnels.items()}

    def start(self) -> None:
        if not self._thread.is_alive():
            self._thread.start()

    def wake(self) -> None:
        """Something changed: look now."""
        self._woken.set()

    def close(self) -> None:
        self._closed.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _keep(self) -> None:
        try:
            while not self._closed.is_set():
                if self._links.begun():
                    with locked(self._links.folder / KEEPER) as mine:
                        if mine:
                            self._hold()
                self._rest()
        finally:
            self._leave()

    def _hold(self) -> None:
        """Until the studio closes: this one keeps the room."""
        try:
            while not self._closed.is_set():
                try:
                    self._keep_room()
                    self._keep_tunnels()
                    if time.monotonic() - self._swept > SWEEP or not self._swept:
                        self._swept = time.monotonic()
                        self._links.sweep()
                except Exception:
                    log.exception("the review room could not be looked after")
                self._rest()
        finally:
            self._leave()

    def _rest(self) -> None:
        self._woken.wait(TICK)
        self._woken.clear()

    def _keep_room(self) -> None:
        if self._room is not None and self._room.poll() is None:
            return
        now = time.monotonic()
        if self._room is not None:
            stop_room(self._room)
            code, self._room = self._room.returncode, None
            if code != TAKEN:
                log.error("the review room ended with %s; it is started again", code)
            self._pause = min(LONGEST_PAUSE, 2 * self._pause + 0.2) if now - self._again < PATIENCE else 0.0
            self._again = now + self._pause
        if now < self._again:
            return
        self._again = now
        self._room = start_room(self._links.folder, self._arguments)

    def _keep_tunnels(self) -> None:
        wanted = {link.tunnel for link in self._links.all() if link.tunnel and link.live()}
        port = self._links.store.note(ADDRESS).get("port")
        before = {kind: line.state() for kind, line in self._lines.items()}
        for kind, line in self._lines.items():
            line.keep(int(port) if port and kind in wanted else None)
        states = {kind: line.state() for kind, line in self._lines.items()}
        if states != before or states != self._links.store.note(TUNNELS):
            self._links.store.put_note(TUNNELS, states)

    def _leave(self) -> None:
        for line in self._lines.values():
            line.keep(None)
        room, self._room = self._room, None
        if room is not None:
            stop_room(room)
        if self._links.begun():
            self._links.store.put_note(TUNNELS, {})


class _Line:
    """One kind of tunnel: opened in a thread of its own, tried again while somebody wants it."""

    def __init__(self, kind: str, make: Callable[[], Tunnel]) -> None:
        self._kind, self._make = kind, make
        self._tunnel: Tunnel | None = None
        self._opener: threading.Thread | None = None
        self._lock = threading.Lock()
        self._state: dict[str, Any] = {}
        self._wanted = False
        self._again, self._pause = 0.0, 0.0

    def state(self) -> dict[str, Any]:
        with self._lock:
            return dict(self._state)

    def keep(self, port: int | None) -> None:
        """`port`: of the room, while a live link wants this tunnel; None = nobody does."""
        self._wanted = port is not None
        tunnel = self._tunnel
        if port is None:
            with self._lock:
                self._tunnel, self._state, self._again, self._pause = None, {}, 0.0, 0.0
            if tunnel is not None:
                tunnel.close()
            return
        problem = tunnel.broken() if tunnel is not None else None
        if tunnel is not None and problem is not None:
            tunnel.close()
            self._fail(problem)
        opening = self._opener is not None and self._opener.is_alive()
        if self._tunnel is None and not opening and time.monotonic() >= self._again:
            with self._lock:
                self._state = {**self._state, "state": "opening", "url": ""}
            self._opener = threading.Thread(target=self._open, args=(port,), daemon=True)
            self._opener.start()

    def _open(self, port: int) -> None:
        tunnel = self._make()
        try:
            url = tunnel.open(port)
        except StudioError as error:
            return self._fail(error)
        except Exception:
            log.exception("the %s tunnel could not be opened", self._kind)
            return self._fail(StudioError("The tunnel could not be opened."))
        with self._lock:
            if self._wanted:
                self._tunnel, self._state, self._pause = tunnel, {"state": "open", "url": url}, 0.0
                return None
        return tunnel.close()  # the link ended meanwhile

    def _fail(self, problem: StudioError) -> None:
        self._pause = min(LONGEST_PAUSE, 2 * self._pause + 1)
        self._again = time.monotonic() + self._pause
        said = " ".join(filter(None, (problem.message, problem.hint)))
        with self._lock:
            self._tunnel = None
            if self._wanted:
                self._state = {"state": "broken", "url": "", "problem": said}


def start_room(folder: Path, arguments: list[str]) -> subprocess.Popen[bytes]:
    """The room's process; it ends when its standard input is closed."""
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    root = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH", ""))))
    return subprocess.Popen(
        [sys.executable, "-m", "studio.review.serve", str(folder), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment,
    )  # fmt: skip


def stop_room(room: subprocess.Popen[bytes]) -> None:
    if room.stdin is not None:
        with contextlib.suppress(OSError):
            room.stdin.close()
    try:
        room.wait(4)
    except subprocess.TimeoutExpired:
        room.kill()
        room.wait()


def room_address(links: Links) -> tuple[str, int] | None:
    """(host, port) of the room that serves now, in this process or another; None when none does."""
    if not links.begun():
        return None
    with locked(links.folder / LOCK) as free:
        if free:
            return None
    note = links.store.note(ADDRESS)
    return (str(note["host"]), int(note["port"])) if "port" in note else None


def kept_elsewhere(links: Links) -> bool:
    """Whether a studio looks after the room."""
    with locked(links.folder / KEEPER) as free:
        return not free


def wait_for_room(links: Links, patience: float = PATIENCE) -> tuple[str, int]:
    """Raises NotReady."""
    until, began = time.monotonic() + patience, time.time()
    while time.monotonic() < until:
        address = room_address(links)
        if address is not None and answers(address):
            return address
        note = links.store.note(ADDRESS)
        if note.get("problem") and note["at"] >= began:
            raise NotReady(
                str(note["problem"]), hint="Set STUDIO_REVIEW_PORT to a free port.", code="room_port_taken"
            )
        time.sleep(0.05)
    raise NotReady(f"The review room did not answer within {patience:.0f} s.", hint="Try again in a moment.")


def answers(address: tuple[str, int]) -> bool:
    host, port = address
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        with socket.create_connection((host, port), 1):
            return True
    except OSError:
        return False
