"""Makes the copies that links show, one after the other, beside everything else.

A copy with its mark takes 0.12 s at 512 px and 1.4 s at 2048 px, so a link is there before its pictures are.
What a crash left unmade is made at the next start: the link knows which pictures it wants.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable

from studio.errors import NotFound
from studio.review import copies
from studio.review.copies import Give
from studio.review.links import Links
from studio.review.store import Copy

log = logging.getLogger(__name__)


class Darkroom:
    """`give`: a picture as people outside may have it. A thread, once it was started."""

    def __init__(self, links: Links, give: Give | None) -> None:
        self._links, self._give = links, give
        self._woken, self._closed = threading.Event(), threading.Event()
        self._made = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="review-copies", daemon=True)

    def start(self) -> None:
        self._woken.set()
        if not self._thread.is_alive():
            self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def develop(self, link: str, patience: float) -> None:
        """Returns when the link's pictures are there, or, where a thread makes them, after `patience` s."""
        if not self._thread.is_alive():
            self._all(self._links.unmade(link))
            return
        self._woken.set()
        with self._made:
            self._made.wait_for(lambda: not self._links.unmade(link), patience)

    def _work(self) -> None:
        while not self._closed.is_set():
            self._woken.wait()
            self._woken.clear()
            self._all(self._links.unmade())

    def _all(self, wanted: Iterable[Copy]) -> None:
        for copy in wanted:
            if self._closed.is_set():
                return
            try:
                self._one(copy)
            except Exception:  # the next start tries it again
                log.exception("a picture of review link %s could not be copied", copy.link)
            with self._made:
                self._made.notify_all()
            time.sleep(0)  # whoever waits for the interpreter goes first

    def _one(self, copy: Copy) -> None:
        if self._give is None:
            return
        try:
            outgoing = self._give(copy.source)
        except NotFound as error:  # erased from the library meanwhile
            log.warning("review link %s goes without a picture: %s", copy.link, error.message)
            self._links.drop(copy)
            return
        copies.make(copy, outgoing, self._links.store.pictures)
        if self._links.get(copy.link).revoked is not None:  # ended while its picture was being made
            self._links.erase([copy])
