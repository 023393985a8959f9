"""The worker process: an engine at the end of a pipe. Ends by itself when the other end is gone."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

from studio.errors import StudioError
from studio.executors.workbench import Workbench
from studio.schema import Event, ResolvedRequest, WorkerStatus
from studio.settings import Settings

log = logging.getLogger(__name__)

STATUS_EVERY = 1.0  # s, while it works


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


def work(settings: Settings, pipe: Connection[Answer, Command]) -> None:
    """Commands in, answers out, until nobody holds the other end. A signal may end it: it keeps nothing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches the whole group; the parent decides
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        _serve(_make(settings), pipe)


def _make(settings: Settings) -> Workbench:
    from studio.engine import Engine
    from studio.models import Models

    models = Models(settings)
    engine = Engine(settings, models)
    try:
        engine.load(settings.model)
    except StudioError as error:
        log.error("%s is not loaded: %s", settings.model, error.message)
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
