"""How long until a job is on disk: raw sockets, one client and a hundred, against a route that does nothing.

    python bench/admission.py [--clients 100] [--jobs 10]

Goals while pictures are made: p99 <= 50 ms with one client, <= 250 ms with a hundred; refusals p99 <= 100 ms.
"""

from __future__ import annotations

import argparse
import json
import socket
import tempfile
import threading
import time
from pathlib import Path

from soak_kill import server

ASKED = {"prompt": "a mug", "width": 64, "height": 64, "steps": 20}


def message(method: str, path: str, body: bytes = b"") -> bytes:
    kind = "content-type: application/json\r\n" if body else ""
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{kind}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def answer_to(line: socket.socket, asked: bytes) -> int:
    """The status; the line stays open."""
    line.sendall(asked)
    said = b""
    while b"\r\n\r\n" not in said:
        said += line.recv(65536)
    head, _, body = said.partition(b"\r\n\r\n")
    size = next(int(row[15:]) for row in head.lower().split(b"\r\n") if row.startswith(b"content-length:"))
    while len(body) < size:
        body += line.recv(65536)
    return int(head.split(b" ", 2)[1])


def load(port: int, asked: bytes, clients: int, each: int) -> tuple[list[float], set[int]]:
    """(milliseconds of every answer, sorted; the statuses that came)."""
    took: list[float] = []
    statuses: set[int] = set()
    ready = threading.Barrier(clients)

    def client() -> None:
        with socket.create_connection(("127.0.0.1", port)) as line:
            ready.wait()
            for _ in range(each):
                begun = time.perf_counter()
                statuses.add(answer_to(line, asked))
                took.append((time.perf_counter() - begun) * 1000)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(took), statuses


def show(name: str, took: list[float], statuses: set[int]) -> None:
    p99 = took[min(len(took) - 1, int(len(took) * 0.99))]
    print(f"{name:<28} p50 {took[len(took) // 2]:7.1f} ms   p99 {p99:7.1f} ms   {sorted(statuses)}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=10)
    options = parser.parse_args()
    post = message("POST", "/api/v1/jobs", json.dumps(ASKED).encode())
    wrong = message("POST", "/api/v1/jobs", b'{"promt": "x"}')
    with tempfile.TemporaryDirectory() as home, server(Path(home), "", pace=0.01) as (_, port):
        for clients in (1, options.clients):
            show(f"GET /livez, {clients}", *load(port, message("GET", "/livez"), clients, options.jobs))
            show(f"POST /api/v1/jobs, {clients}", *load(port, post, clients, options.jobs))
            show(f"refused, {clients}", *load(port, wrong, clients, options.jobs))


if __name__ == "__main__":
    main()
