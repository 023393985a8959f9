"""SwarmUI: JSON with `sui_image_params`, in `parameters` or in EXIF.

Source: docs/Image Metadata Format.md of mcmonkeyprojects/SwarmUI.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from studio.infotext.found import Found, real, stem, whole, words

READ = frozenset(
    {
        "prompt", "negativeprompt", "model", "seed", "steps", "cfgscale", "width", "height", "sampler",
        "scheduler", "comfyuisampler", "comfyuischeduler", "loras", "loraweights", "swarm_version", "images",
        "aspectratio", "initimagecreativity", "sidelength", "batchsize", "donotsave", "automaticvae",
        "personalnote",
    }
)  # fmt: skip
_LORA = re.compile(r"<lora:([^:<>]{1,200}):([^:<>]{1,20}):([^:<>]{1,20})>")


def find(data: Mapping[str, Any]) -> Found | None:
    row = data.get("sui_image_params")
    if not isinstance(row, Mapping):
        return None
    found = Found("SwarmUI")
    # Two numbers are backbone first there, text encoder first here.
    found.fields["prompt"] = _LORA.sub(r"<lora:\1:\3:\2>", words(row.get("prompt")) or "")
    found.fields["negative_prompt"] = words(row.get("negativeprompt")) or ""
    for name in ("steps", "seed", "width", "height"):
        found.put(name, whole(row.get(name)))
    found.put("guidance", real(row.get("cfgscale")))
    found.put("strength", real(row.get("initimagecreativity")))
    model = words(row.get("model"))
    found.put("model", stem(model) if model else None)
    found.sampler(
        row.get("comfyuisampler") or row.get("sampler"), row.get("comfyuischeduler") or row.get("scheduler")
    )
    names, weights = listed(row.get("loras")), listed(row.get("loraweights"))
    for index, name in enumerate(names):
        found.lora(name, weights[index] if index < len(weights) else 1.0)
    for key, value in row.items():
        if key not in READ and value not in (None, "", False, "false"):
            found.miss(str(key), value if isinstance(value, (str, int, float)) else "")
    return found


def listed(value: Any) -> list[Any]:
    """A list, or one written with commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value if isinstance(value, list) else []
