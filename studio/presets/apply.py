"""What a brand does to a request."""

from __future__ import annotations

import re
from typing import Any

from studio.presets.preset import SETTINGS, Preset
from studio.schema import GenerationRequest, parse

# "a red mug on a blue background, glossy": the words a preset that locks the background takes out.
BACKGROUND = re.compile(
    r",?\s*\b(?:on|against|with) (?:an?|the) [^,.;()]{0,60}?\bbackground\b"
    r"|，?在?[^，。；,]{0,12}背景(?:上|下)?"
)

# What the prompt language reads as a style's tag, or would once it is closed.
LORA_TAG = re.compile(r"<lora:[^>\n]*>", re.IGNORECASE)


def apply(preset: Preset, request: GenerationRequest) -> GenerationRequest:
    """The request as the brand would have asked it. Twice is the same as once; the original is untouched.

    Locked settings win over the request's; the others fill what it left out. `loras` counts as left out
    unless it was named, so that an empty list means none. Raises BadRequest where the prompt gets too long.
    """
    asked: dict[str, Any] = {name: getattr(request, name) for name in request.model_fields_set}
    asked["prompt"] = _framed(preset, request.prompt)
    asked["preset"] = preset.name
    for name in SETTINGS:
        value = getattr(preset, name)
        if value is not None and (name in preset.locked or asked.get(name) is None):
            asked[name] = value
    return parse(GenerationRequest, {name: _plain(value) for name, value in asked.items()})


def _framed(preset: Preset, prompt: str) -> str:
    before, after = preset.prompt.split("{prompt}")
    inside = len(prompt) - len(before) - len(after)
    if (before or after) and inside >= 0 and prompt.startswith(before) and prompt.endswith(after):
        prompt = prompt[len(before) : len(before) + inside]
    return f"{before}{_held(preset, prompt)}{after}"


def _held(preset: Preset, prompt: str) -> str:
    """The prompt without what the preset's locks take out of it."""
    if "loras" in preset.locked:
        prompt = LORA_TAG.sub(" ", prompt)  # a space: what is left must not grow together into another tag
    if "background" in preset.locked:
        prompt = BACKGROUND.sub("", prompt).strip(" ,，") or prompt
    return prompt


def _plain(value: Any) -> Any:
    """As JSON would have brought it: a request is built anew, since copying would skip its checks."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.model_dump() if hasattr(value, "model_dump") else value
