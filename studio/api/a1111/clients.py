"""Whose progress, whose interrupt, whose options: this protocol has one of each, the studio has many callers.

A caller is who signed in, or else the credentials and the address it comes with; a cookie that every answer
offers tells apart two programs on one machine. Progress without a cookie shows the whole address's work;
interrupting stops only what the same program began.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request, Response

from studio.people import LOCAL, speaker

COOKIE = "studio_client"
ACCOUNTS = 1000  # whose options are kept
DONE = 256  # task ids of the last runs


@dataclass(frozen=True)
class Caller:
    """`account`: who. `program`: the cookie, '' for a program that keeps none."""

    account: str
    program: str


@dataclass
class Run:
    """One request that somebody waits for. `jobs`: ids, one a batch; those before `number` have ended."""

    caller: Caller
    task: str
    batches: int
    steps: int
    jobs: list[str] = field(default_factory=list)
    number: int = 0
    started: float = 0.0
    queued: int = 0  # jobs ahead of it when it came
    step: int = 0
    preview: bytes = b""
    previews: int = 0
    skipped: bool = False
    interrupted: bool = False

    @property
    def progress(self) -> float:
        """0 to 1, by the protocol's own formula."""
        if not self.started:
            return 0.0
        share = self.step / self.steps / self.batches if self.steps else 0.0
        return min(1.0, 0.01 + self.number / self.batches + share)

    @property
    def eta(self) -> float:
        """Seconds left."""
        if self.progress <= 0:
            return 0.0
        return max(0.0, (time.time() - self.started) * (1 / self.progress - 1))


class Clients:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: list[Run] = []
        self._done: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._options: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def begin(self, run: Run) -> None:
        with self._lock:
            self._runs.append(run)

    def end(self, run: Run) -> None:
        with self._lock:
            self._runs.remove(run)
            if run.task:
                self._done[run.caller.account, run.task] = None
            while len(self._done) > DONE:
                self._done.popitem(last=False)

    def seen_by(self, caller: Caller) -> list[Run]:
        """Oldest first."""
        return self._of(caller.account, {"", caller.program} if caller.program else None)

    def stoppable_by(self, caller: Caller) -> list[Run]:
        return self._of(caller.account, {caller.program})

    def _of(self, account: str, programs: Iterable[str] | None) -> list[Run]:
        with self._lock:
            mine = [run for run in self._runs if run.caller.account == account]
        return [run for run in mine if programs is None or run.caller.program in programs]

    def is_done(self, caller: Caller, task: str) -> bool:
        return (caller.account, task) in self._done

    def options(self, caller: Caller) -> dict[str, Any]:
        with self._lock:
            return dict(self._options.get(caller.account, {}))

    def set_options(self, caller: Caller, given: dict[str, Any]) -> None:
        with self._lock:
            self._options[caller.account] = self._options.get(caller.account, {}) | given
            self._options.move_to_end(caller.account)
            while len(self._options) > ACCOUNTS:
                self._options.popitem(last=False)


def caller_of(request: Request) -> Caller:
    host = request.client.host if request.client is not None else ""
    said = f"{host}\0{request.headers.get('authorization', '')}"
    person = speaker.get()
    account = hashlib.sha256(said.encode()).hexdigest() if person.name == LOCAL.name else person.name
    return Caller(account, request.cookies.get(COOKIE, "")[:64])


def offer_cookie(request: Request, response: Response) -> None:
    if COOKIE not in request.cookies:
        response.set_cookie(COOKIE, secrets.token_urlsafe(16), path="/", httponly=True, samesite="lax")
