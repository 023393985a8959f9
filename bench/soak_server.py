"""The server that the soaks load, kill and look at: real queue, library, web server and disk.

Each is forked from a process that has imported everything, so a start takes half a second. Its executor is
the fake one, or `worker:PACE`: the fake one in a worker process, PACE seconds a step.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

GUARDS = ("commit", "key", "rename", "adopt")
PORCH = multiprocessing.get_context("forkserver")
PRELOADED = ["__main__", "uvicorn", "studio.api.app", "studio.api.server", "studio.studio", "soak_server"]


def prepare() -> None:
    """Call once, before anything else: servers have no settings but those they are given."""
    for name in [name for name in os.environ if name.startswith("STUDIO_")]:
        del os.environ[name]
    PORCH.set_forkserver_preload(PRELOADED)


def free_port() -> int:
    with closing(socket.socket()) as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


@contextmanager
def server(home: Path, without: str = "", **settings: Any) -> Iterator[tuple[BaseProcess, int]]:
    """(process, port) of a server that answers; killed in the end. `settings`: the studio's, and `page`."""
    port = free_port()
    asked = {"home": home, "port": port, "executor": "fake", "rows": 4, **settings}
    process = PORCH.Process(target=serve, args=(asked, without))
    process.start()
    try:
        up, until = False, time.monotonic() + 120
        while not up and time.monotonic() < until and process.is_alive():
            with suppress(OSError), closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as line:
                line.request("GET", "/livez")
                up = line.getresponse().status == 200
            time.sleep(0.01)
        assert up, "the server did not start"
        yield process, port
    finally:
        process.kill()
        process.join()


def get(port: int, path: str) -> Any:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as line:
        line.request("GET", path)
        return json.loads(line.getresponse().read())


def wait_until_idle(port: int, patience: float = 600) -> None:
    until = time.monotonic() + patience
    while time.monotonic() < until:
        queue = get(port, "/api/v1/queue")
        if queue["queued"] + queue["running"] == 0:
            return
        time.sleep(0.1)


def serve(asked: dict[str, Any], without: str) -> None:
    import uvicorn

    from studio.api.app import web
    from studio.api.port import taken
    from studio.api.server import configure, settle
    from studio.executors import local
    from studio.settings import Settings
    from studio.studio import Studio

    take_out(without)
    page = asked.pop("page", False)
    pace = asked["executor"].partition("worker:")[2]
    if pace:  # a worker process around the fake executor
        local.work = partial(local.work, make=partial(FakeEngine, float(pace)))
        asked["executor"] = "local"
    settings = Settings(**asked)
    with closing(Studio.open(settings)) as studio, taken(settings) as listener:
        studio.start()
        settle()
        uvicorn.Server(configure(web(studio, partial(mounted, studio) if page else None))).run(
            sockets=[listener]
        )


def mounted(studio: Any) -> Any:
    from fastapi import FastAPI

    from studio.ui import mount

    return mount(FastAPI(openapi_url=None), studio)


class FakeEngine:
    """What a worker process needs of an engine, around the fake executor: one event of each run at a time."""

    def __init__(self, pace: float, settings: Any) -> None:
        from studio.executors.fake import FakeExecutor

        self._executor, self._runs = FakeExecutor(pace), dict[str, Iterator[Any]]()
        self._executor.start()
        self.status = self._executor.status

    def submit(self, run: str, request: Any, inputs: Any) -> None:
        self._runs[run] = self._executor.run(request, inputs)

    def cancel(self, run: str) -> None:
        self._runs.pop(run, None)

    def idle(self) -> bool:
        return not self._runs

    def tick(self) -> list[tuple[str, Any]]:
        events = [(run, next(events, None)) for run, events in self._runs.items()]
        for run, event in events:
            if event is None:
                del self._runs[run]
        return [(run, event) for run, event in events if event is not None]


def take_out(guard: str) -> None:
    """One guard less: what the audit must then find."""
    from studio.jobs.jobs import Jobs
    from studio.jobs.keeper import Keeper
    from studio.jobs.queue import Queue
    from studio.library import library

    put = Queue.put
    if guard == "commit":
        Jobs.submit = answer_first  # type: ignore[method-assign]
    if guard == "key":  # a request that is sent again is another job
        Queue.put = lambda self, order: put(self, replace(order, key=None))  # type: ignore[method-assign]
    if guard == "rename":
        library.write_whole = write_in_place
        library.Library.reconcile = lambda self: None  # type: ignore[method-assign]
    if guard == "adopt":
        Keeper._adopt = lambda self, dead: None  # type: ignore[method-assign]


def answer_first(self: Any, request: Any, **order: Any) -> Any:
    """In the place of `Jobs.submit`: the row is written half a second after the answer."""
    from studio.errors import Conflict
    from studio.jobs import Order
    from studio.library.tables import jobs

    rows = []

    def place_and_undo(connection: Any) -> None:
        rows.append(self.queue._put(Order(request, **order), connection).row)
        raise Conflict("undone")

    def insert() -> None:
        time.sleep(0.5)
        with self._database.write() as connection:
            connection.execute(jobs.insert().values(dict(rows[0]._mapping)))
        self.call_runners()

    with suppress(Conflict):
        self._database.commit(place_and_undo)
    threading.Thread(target=insert, daemon=True).start()
    return self._teller.views(rows)[0]


def write_in_place(file: Path, data: bytes) -> None:
    """In the place of `write_whole`: in two pieces."""
    with file.open("wb", buffering=0) as stream:
        stream.write(data[: len(data) // 2])
        time.sleep(0.05)
        stream.write(data[len(data) // 2 :])
