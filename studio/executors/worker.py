"""The worker process: an engine at the end of a pipe. Ends by itself when its parent is gone."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

from studio.errors import StudioError
from studio.executors.workbench import Workbench
from studio.schema import Event, ResolvedRequest, WorkerStatus
from studio.settings import Settings

log = logging.getLogger(__name__)

STATUS_EVERY = 1.0  # s, while it works
GENTLE = 5  # more of Unix's niceness than the web server's: on a CPU, steps take what answers leave


@dataclass(frozen=True)
class Submit:
    run: str
    request: ResolvedRequest
    inputs: Mapping[str, bytes]


@dataclass(frozen=True)
class Learn:
    """`training`: id of the training's folder, which says all else."""

    run: str
    training: str


@dataclass(frozen=True)
class Cancel:
    run: str


Command = Submit | Learn | Cancel
Answer = tuple[str, Event] | WorkerStatus


def work(
    settings: Settings,
    pipe: Connection[Answer, Command],
    make: Callable[[Settings], Workbench] | None = None,
) -> None:
    """Commands in, answers out, until nobody holds the other end; then the process ends.

    A signal may end it: it keeps nothing. `make`: another engine than the usual one.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches the whole group; the parent decides
    os.nice(GENTLE)
    threading.Thread(target=_leave_with_parent, name="parent", daemon=True).start()
    code = 0
    try:
        with suppress(EOFError, BrokenPipeError, ConnectionResetError):
            _serve((make or make_engine)(settings), pipe)
    except Exception:
        log.exception("the worker failed")
        code = 1
    _leave(code)


def _leave_with_parent() -> None:
    """Also in the middle of reading a model or of a step that does not end."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _leave(0)


def _leave(code: int) -> None:
    """At once: tearing down torch has been seen to spin for ever."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def make_engine(settings: Settings) -> Workbench:
    from studio.engine import Engine
    from studio.models import Models

    models = Models(settings)
    engine = Engine(settings, models)
    try:
        engine.load(settings.model)
    except StudioError as error:
        log.error("%s is not loaded: %s", settings.model, error.message)
    engine.try_backends()
    return Workbench(engine, settings, models)


def _serve(engine: Workbench, pipe: Connection[Answer, Command]) -> None:
    told = 0.0
    while True:
        if engine.idle():
            pipe.send(engine.status())
            pipe.poll(None)
        while pipe.poll():
            command = pipe.recv()
            if isinstance(command, Cancel):
                engine.cancel(command.run)
            elif isinstance(command, Learn):
                engine.learn(command.run, command.training)
            else:
                engine.submit(command.run, command.request, command.inputs)
        for answer in engine.tick():
            pipe.send(answer)
        if time.monotonic() - told > STATUS_EVERY:
            told = time.monotonic()
            pipe.send(engine.status())
