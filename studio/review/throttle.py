"""Buckets that empty with each try and fill again with time."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict

KEPT = 10_000  # who tried last; beyond that the oldest is forgotten


class Throttle:
    """`burst` tries at once, then one each `1 / rate` s, for each key. Thread-safe."""

    def __init__(self, burst: float, rate: float) -> None:
        self._burst, self._rate = burst, rate
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # (tries left, at)
        self._lock = threading.Lock()

    def allows(self, key: str) -> bool:
        """Counts a try."""
        now = time.monotonic()
        with self._lock:
            left, at = self._left.pop(key, (self._burst, now))
            left = min(self._burst, left + (now - at) * self._rate)
            allowed = left >= 1
            self._left[key] = (left - 1 if allowed else left, now)
            if len(self._left) > KEPT:
                self._left.popitem(last=False)
        return allowed


def peer_of(address: str | None) -> str:
    """One key for all of a household's IPv6 addresses (/64)."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return address or ""
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, 64), strict=False).network_address)
    return str(found)
