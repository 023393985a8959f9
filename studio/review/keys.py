"""Tokens and PINs: what opens a room, and how little of it is kept.

A link's token is computed from its id with a key that only the studio reads, so it can be shown again without
being stored; the room's folder holds its hash alone.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from studio.errors import StudioError

KEY_BYTES = 32
TOKEN_BYTES = 24  # 192 bits; 32 letters in a link
NEARBY = 8  # bytes of a hash by which its row is found; the whole hash is compared afterwards
SCRYPT = {"n": 2**14, "r": 8, "p": 1}  # 16 MiB and about 40 ms for one try of a PIN


def read_key(file: Path) -> bytes:
    """The studio's own secret, made at first use, readable by its owner alone."""
    if not file.exists():
        rough = file.with_name(f"{file.name}.{secrets.token_hex(6)}")
        handle = os.open(rough, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(secrets.token_bytes(KEY_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(rough, file)  # whole or not at all; the first of two processes wins
        except FileExistsError:
            pass
        finally:
            rough.unlink()
    key = file.read_bytes()
    if len(key) != KEY_BYTES:
        raise StudioError(
            f"The key of the review links has {len(key)} bytes; it must have {KEY_BYTES}.",
            hint="Restore it from a backup, or delete it: every link ends then.",
            code="bad_review_key",
        )
    return key


def derive(key: bytes, use: str, id: str) -> str:
    """A secret for one use of one link, URL-safe."""
    seal = hmac.digest(key, f"{use}:{id}".encode(), "sha256")[:TOKEN_BYTES]
    return base64.urlsafe_b64encode(seal).decode()


def draw() -> str:
    """A secret that is kept by the other side, such as a visitor's cookie."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def digest(secret: str) -> bytes:
    """What is stored of a secret with 192 random bits: SHA-256 suffices, as there is nothing to guess."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def same(left: bytes, right: bytes) -> bool:
    """In constant time."""
    return hmac.compare_digest(left, right)


def hash_pin(pin: str, salt: bytes) -> bytes:
    """Slow on purpose: a PIN can be guessed."""
    return hashlib.scrypt(pin.encode("utf-8", "surrogateescape"), salt=salt, dklen=32, n=SCRYPT["n"],
                          r=SCRYPT["r"], p=SCRYPT["p"])  # fmt: skip
