"""The short id of how a picture was made, which its invisible mark carries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def mark_of(request: Mapping[str, Any], seed: int) -> str:
    """8 hex digits of `request` (ResolvedRequest.model_dump()) as it made the picture of `seed`.

    Pictures made by equal requests have one mark, as they have the same pixels.
    """
    whole = json.dumps({**request, "seed": seed, "count": 1}, sort_keys=True, default=str)
    return hashlib.sha256(whole.encode()).hexdigest()[:8]
