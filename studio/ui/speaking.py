"""Whoever clicked is who asks: Gradio runs a handler away from the request that started it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from gradio.context import LocalContext

from studio.people import IN_SCOPE, NOBODY, Person, speaking


def wire_speaker(blocks: Any) -> None:
    """Every handler of the page at once, so that none can be forgotten. Call it after the last is wired."""
    for function in blocks.fns.values():
        if function.fn is not None:
            function.fn = spoken(function.fn)


def spoken(handler: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def steps(*inputs: Any, **named: Any) -> Iterator[Any]:
            person = asking()
            with closing(handler(*inputs, **named)) as updates:
                while True:
                    with speaking(person):  # around each step: the next one may run in another thread
                        update = next(updates, LAST)
                    if update is LAST:
                        return
                    yield update

        return steps

    @functools.wraps(handler)
    def once(*inputs: Any, **named: Any) -> Any:
        with speaking(asking()):
            return handler(*inputs, **named)

    return once


LAST = object()


def asking() -> Person:
    """Of the event's own request; a page without walls, as in a test, has nobody."""
    event = LocalContext.request.get(None)
    request = getattr(event, "request", None)
    person = request.scope.get(IN_SCOPE, NOBODY) if request is not None else NOBODY
    assert isinstance(person, Person)
    return person
