"""Passwords as argon2id hashes. Parameters: OWASP's Password Storage Cheat Sheet, 19 MiB and two passes."""

from __future__ import annotations

import threading
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from studio.errors import BadRequest

LEAST, MOST = 10, 200  # characters
HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
AT_ONCE = threading.BoundedSemaphore(2)  # hashes: each takes 19 MiB and a core


def hash_password(password: str) -> str:
    """Raises BadRequest (`bad_password`) for one too short or too long."""
    if not LEAST <= len(password) <= MOST:
        raise BadRequest(
            f"The password has {len(password)} characters; {LEAST} to {MOST} are taken.",
            hint="Four words that have nothing to do with each other make a good one.",
            field="password",
            code="bad_password",
        )
    with AT_ONCE:
        return HASHER.hash(password)


def is_right(password: str, kept: str | None) -> bool:
    """`kept` None, for a user who does not exist, takes as long as a wrong password."""
    with AT_ONCE:
        try:
            return HASHER.verify(kept or decoy(), password[: MOST + 1]) and kept is not None
        except (VerificationError, InvalidHashError):
            return False


@cache
def decoy() -> str:
    return HASHER.hash("nobody has this password")
