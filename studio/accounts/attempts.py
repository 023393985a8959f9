"""How often somebody may be wrong. Counts stay in memory: a restart forgives."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict, deque

from studio.errors import StudioError

WINDOW = 60.0  # s
PER_SOURCE = 5  # failures within the window
PER_USER = 20  # from anywhere: many sources that guess one user's password
REMEMBERED = 10_000  # sources and users; the ones that failed longest ago are forgotten first


class TooManyAttempts(StudioError):
    status = 429
    code = "too_many_attempts"

    def __init__(self, wait: float) -> None:
        self.retry_after = max(1, math.ceil(wait))
        super().__init__(
            "Too many sign-ins went wrong.", hint=f"Try again in {self.retry_after} s; that is not a ban."
        )


class Attempts:
    def __init__(self) -> None:
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, address: str, user: str) -> None:
        """Counts an attempt as failed until `forgive`: a thousand at once are no way around the limit.

        Raises TooManyAttempts.
        """
        now = time.monotonic()
        asked = ((f"from {source_of(address)}", PER_SOURCE), (f"as {user.casefold()[:64]}", PER_USER))
        with self._lock:
            for key, most in asked:
                recent = self._recent(key, now)
                if len(recent) >= most:
                    raise TooManyAttempts(recent[0] + WINDOW - now)
            for key, _ in asked:
                self._recent(key, now).append(now)

    def forgive(self, address: str, user: str) -> None:
        """The attempt was right."""
        with self._lock:
            for key in (f"from {source_of(address)}", f"as {user.casefold()[:64]}"):
                if self._failed.get(key):
                    self._failed[key].pop()

    def _recent(self, key: str, now: float) -> deque[float]:
        recent = self._failed.setdefault(key, deque())
        self._failed.move_to_end(key)
        while recent and recent[0] <= now - WINDOW:
            recent.popleft()
        while len(self._failed) > REMEMBERED:
            self._failed.popitem(last=False)
        return recent


def source_of(address: str) -> str:
    """An IPv4 address; of IPv6 the network, as one customer has 2^64 addresses of it."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
