"""Names in a picture's settings against what this studio has: what it has not is told, and left out."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from studio import prompt
from studio.errors import BadRequest
from studio.infotext.found import Found, stem

_TAG = re.compile(r"\s?<lora:([^:<>\n]{1,200})(?::[^<>\n]{0,100})?>")


def match(found: Found, models: Collection[str], loras: Mapping[str, str], presets: Collection[str]) -> None:
    """`loras`: our names by every folded name they go by."""
    model = found.fields.pop("model", None)
    if isinstance(model, str) and model:
        ours = {name.casefold(): name for name in models}.get(stem(model).casefold())
        found.put("model", ours)
        if ours is None:
            found.miss("Model", model)
    preset = found.fields.get("preset")
    if preset is not None and preset not in presets:
        found.miss("Preset", found.fields.pop("preset"))
    match_loras(found, loras)


def match_loras(found: Found, loras: Mapping[str, str]) -> None:
    def known(name: str) -> str | None:
        return loras.get(stem(name).casefold())

    stack = found.fields.pop("loras", [])
    kept = [row | {"name": ours} for row in stack if (ours := known(str(row["name"]))) is not None]
    for row in stack:
        if known(str(row["name"])) is None:
            found.miss("LoRA", row["name"])
    if kept:
        found.fields["loras"] = kept
    text = found.fields.get("prompt")
    if not isinstance(text, str):
        return
    try:
        named = {tag.name for tag in prompt.parse(text).loras}
    except BadRequest:
        return  # the form shows it as it stands, and says what is wrong with it
    missing = {name for name in named if known(name) is None}
    for name in sorted(missing):
        found.miss("LoRA", name)
    if missing:
        bare = _TAG.sub(lambda tag: "" if tag[1].strip() in missing else tag[0], text)
        found.fields["prompt"] = bare if bare.strip() else text
