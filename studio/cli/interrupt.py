"""Ctrl+C while something runs: it is cancelled, and its end is told as usual."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from studio.errors import StudioError


@contextmanager
def cancelled_by_ctrl_c(cancel: Callable[[], object]) -> Iterator[None]:
    """The first Ctrl+C calls `cancel`, from a thread; the second one is Python's own.

    KeyboardInterrupt is not used: raised inside a finalizer it is lost (one run in some hundred).
    """

    def work() -> None:
        with suppress(StudioError):  # it ended meanwhile
            cancel()

    def interrupt(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        threading.Thread(target=work).start()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
