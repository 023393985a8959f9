"""A link as a picture that a phone reads."""

from __future__ import annotations

import io

import segno


def qr(url: str, scale: int = 6) -> bytes:
    """PNG, black on white with the quiet zone readers want. `scale`: px a module."""
    out = io.BytesIO()
    segno.make(url, error="m", micro=False).save(out, kind="png", scale=scale, border=4)
    return out.getvalue()
