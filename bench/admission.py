"""How long until a job is on disk: raw sockets, one client and a hundred, against a route that does nothing.

    python bench/admission.py [--clients 100] [--jobs 10] [--executor local]    # 1 minute

Goals while pictures are made: p99 <= 50 ms with one client, <= 250 ms with a hundred; refusals p99 <= 100 ms;
an answer from the library <= 50 ms. `local` makes them with the pocket model in a worker process, which keeps
the processor busy; `fake:0.01` without any load of its own. Ends with an error where a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
from soak_server import get, prepare, server

RATE = 500.0  # refusals a second: five thousand in ten seconds
ASKED = {"prompt": "a mug", "width": 64, "height": 64, "steps": 20}


def message(method: str, path: str, body: bytes = b"") -> bytes:
    kind = "content-type: application/json\r\n" if body else ""
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{kind}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def answer_to(line: socket.socket, asked: bytes) -> int:
    """The status; the line stays open."""
    line.sendall(asked)
    said = b""
    while (status := whole(said)) is None:
        said += line.recv(65536)
    return status


@dataclass
class Line:
    """A client: it asks, waits for the whole answer, asks again. `due`: when its next request leaves."""

    socket: socket.socket
    left: int
    due: float
    begun: float = 0.0
    said: bytes = b""


def load(
    port: int, asked: bytes, clients: int, each: int, rate: float = 0.0
) -> tuple[list[float], Counter[int]]:
    """(milliseconds of every answer, sorted; how often each status came).

    `rate`: requests a second of all clients together; 0: each asks as soon as it was answered. One thread
    serves all sockets: a hundred threads waited for each other, and that was counted as the server's.
    """
    took: list[float] = []
    statuses: Counter[int] = Counter()
    start = time.perf_counter()
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        idle: list[Line] = []
        for number in range(clients):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            idle.append(Line(one, each, start + number / rate if rate else start))
        busy = 0
        while idle or busy:
            now = time.perf_counter()
            for line in [line for line in idle if line.due <= now]:
                idle.remove(line)
                line.begun, line.said = time.perf_counter(), b""
                line.socket.sendall(asked)
                selector.register(line.socket, selectors.EVENT_READ, line)
                busy += 1
            wait = min((line.due for line in idle), default=now + 1) - now
            for key, _ in selector.select(max(0.0, wait)):
                line = key.data
                line.said += line.socket.recv(65536)
                if (status := whole(line.said)) is None:
                    continue
                took.append((time.perf_counter() - line.begun) * 1000)
                statuses[status] += 1
                selector.unregister(line.socket)
                busy -= 1
                line.left -= 1
                if line.left:
                    line.due = line.due + clients / rate if rate else 0.0
                    idle.append(line)
    return sorted(took), statuses


def whole(said: bytes) -> int | None:
    """The status of an answer that has come to its end."""
    head, found, body = said.partition(b"\r\n\r\n")
    if not found:
        return None
    size = next(int(row[15:]) for row in head.lower().split(b"\r\n") if row.startswith(b"content-length:"))
    return int(head.split(b" ", 2)[1]) if len(body) >= size else None


class Sheet:
    """Prints a line for each load and remembers which goals were missed.

    CPU: seconds of the server's process, which also keeps the pictures that its worker makes meanwhile.
    """

    def __init__(self, server: BaseProcess, port: int, each: int) -> None:
        self.server, self.port, self.each, self.missed = psutil.Process(server.pid), port, each, list[str]()

    def measure(
        self, name: str, asked: bytes, clients: int, status: int, goal: float = 0.0, rate: float = 0.0
    ) -> None:
        """`each` requests of each client, one client as many as a hundred have together."""
        each = self.each if clients > 1 else 20 * self.each
        before = self._cpu()
        took, statuses = load(self.port, asked, clients, each, rate)
        cpu = (self._cpu() - before) * 1000 / len(took)
        p99 = took[min(len(took) - 1, int(len(took) * 0.99))]
        bar = f" (goal {goal:.0f} ms)" if goal else ""
        name = f"{name}, {clients}"
        p50 = took[len(took) // 2]
        print(
            f"{name:<24} p50 {p50:7.1f} p99 {p99:7.1f} CPU {cpu:5.2f} ms {bar}  {dict(statuses)}", flush=True
        )
        if set(statuses) != {status} or (goal and p99 > goal):
            self.missed.append(name)

    def _cpu(self) -> float:
        times = self.server.cpu_times()
        return float(times.user + times.system)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=10, help="of each client")
    parser.add_argument("--executor", default="local")
    options = parser.parse_args()
    prepare()
    with tempfile.TemporaryDirectory() as folder:
        missed = taken_in(Path(folder), options) + turned_away(Path(folder), options)
    print(f"MISSED: {', '.join(missed)}" if missed else "all within their goals")
    return int(bool(missed))


def taken_in(home: Path, options: argparse.Namespace) -> Sequence[str]:
    """Nothing, jobs, what the library has already; pictures are made all the while."""
    nothing, post = message("GET", "/livez"), message("POST", "/api/v1/jobs", json.dumps(ASKED).encode())
    known = message("POST", "/api/v1/jobs", json.dumps(ASKED | {"seed": 5, "steps": 2}).encode())
    with server(home, executor=options.executor, queue=1_000_000) as (process, port):
        sheet = Sheet(process, port, options.jobs)
        assert answer_to(socket.create_connection(("127.0.0.1", port)), known) == 202
        while get(port, "/api/v1/jobs")[0]["state"] != "completed":
            time.sleep(0.1)
        load(port, post, 1, 20)  # work for the worker
        for clients, goal in ((1, 50.0), (options.clients, 250.0)):
            sheet.measure("GET /livez", nothing, clients, 200)
            sheet.measure("cached", known, clients, 202, 50.0 if clients == 1 else 0.0)
            sheet.measure("POST /api/v1/jobs", post, clients, 202, goal)
        made = get(port, "/api/v1/queue")
        print(f"{made['running']} running, {made['queued']} waiting")
        if not made["running"]:
            sheet.missed.append("no picture was made meanwhile")
    return sheet.missed


def turned_away(home: Path, options: argparse.Namespace) -> Sequence[str]:
    """The queue that `taken_in` left is full now; and a request that is none. A hundred clients: a flood."""
    post = message("POST", "/api/v1/jobs", json.dumps(ASKED).encode())
    wrong = message("POST", "/api/v1/jobs", b'{"promt": "x"}')
    with server(home, executor=options.executor, queue=1) as (process, port):
        sheet = Sheet(process, port, options.jobs)
        for clients, rate in ((1, 0.0), (options.clients, RATE)):
            sheet.measure("GET /livez", message("GET", "/livez"), clients, 200, rate=rate)
            sheet.measure("422 unknown field", wrong, clients, 422, 100.0, rate)
            sheet.measure("429 queue full", post, clients, 429, 100.0, rate)
    return sheet.missed


if __name__ == "__main__":
    raise SystemExit(main())
