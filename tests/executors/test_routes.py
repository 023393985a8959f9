"""Sorting a worker's events by run, and keeping a worker alive, without a worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from studio.errors import EngineError, NotFound, NotReady, WorkerCrashed
from studio.executors import local
from studio.executors.local import LocalExecutor
from studio.executors.routes import Routes
from studio.schema import Cancelled, Done, Event, Failed, Started, WorkerStatus
from studio.settings import Settings


def follow(routes: Routes, run: str, said: list[Event]) -> tuple[Iterator[Event], list[str]]:
    """A run whose worker answers `said` as soon as it gets it, and what was asked of the worker."""
    asked: list[str] = []

    def submit() -> None:
        asked.append("submit")
        for event in said:
            routes.deliver(run, event)

    return routes.follow(run, submit, lambda: asked.append("cancel")), asked


def test_events_come_in_order_and_a_finished_run_is_not_cancelled() -> None:
    events, asked = follow(Routes(), "a", [Started(), Done(1.0)])
    assert list(events) == [Started(), Done(1.0)] and asked == ["submit"]


def test_nothing_is_submitted_before_the_first_event_is_asked_for() -> None:
    _, asked = follow(Routes(), "a", [Started()])
    assert asked == []


def test_closing_early_cancels_once() -> None:
    events, asked = follow(Routes(), "a", [Started(), Started()])
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert asked == ["submit", "cancel"]


def test_cancelled_by_the_worker_ends_the_run() -> None:
    events, asked = follow(Routes(), "a", [Cancelled()])
    assert list(events) == [Cancelled()] and asked == ["submit"]


def test_a_failure_is_raised_with_its_figures() -> None:
    told = NotFound("No model 'x'.", hint="Did you mean y?", field="model", code="model_not_found").as_dict()
    events, asked = follow(Routes(), "a", [Started(), Failed(told)])
    with pytest.raises(EngineError, match="No model 'x'.") as caught:
        list(events)
    assert caught.value.as_dict() == told and asked == ["submit"]


def test_events_of_other_runs_and_of_runs_that_ended_are_dropped() -> None:
    routes = Routes()
    events, _ = follow(routes, "a", [Started()])
    routes.deliver("a", Started())
    next(events)
    routes.deliver("b", Done(0.0))
    routes.deliver("a", Done(2.0))
    assert list(events) == [Done(2.0)]
    routes.deliver("a", Started())


def test_when_the_worker_ends_all_runs_get_the_first_reason() -> None:
    routes = Routes()
    events, _ = follow(routes, "a", [Started()])
    next(events)
    routes.end(NotReady("stopping"))
    routes.end(WorkerCrashed("signal 15"))
    with pytest.raises(NotReady):
        next(events)
    late, asked = follow(routes, "b", [])
    with pytest.raises(NotReady):
        next(late)
    assert asked == []


class Stub:
    """Stands in for a worker process: fails to start twice, then dies twice, then lives."""

    begun: list[str] = []

    def __init__(self, settings: Settings) -> None:
        self.begun.append("start")
        if len(self.begun) <= 2:
            raise OSError("no process left")
        self.over = threading.Event()
        self.was_ready = False
        self.status = WorkerStatus(ready=len(self.begun) > 4)
        self.end = "ended with code 1"
        self.stopped = threading.Event()

    def read(self) -> None:
        if self.status.ready:
            self.stopped.wait(60)
        self.over.set()

    def stop(self) -> None:
        self.stopped.set()


def test_a_worker_that_cannot_start_is_tried_again_more_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = LocalExecutor(Settings())
    pauses: list[float] = []
    up = threading.Event()

    def wait(pause: Any = None) -> bool:
        pauses.append(pause)
        if len(pauses) == 5:
            up.set()
        return executor_closed.is_set()

    executor_closed = threading.Event()
    monkeypatch.setattr(executor._closed, "wait", wait)
    monkeypatch.setattr(local, "_Worker", Stub)
    executor.start()
    assert up.wait(60)
    executor_closed.set()
    executor.close()
    assert pauses[:5] == [0.0, 1.0, 3.0, 7.0, 15.0] and len(Stub.begun) == 5
