"""InvokeAI: JSON in `invokeai_metadata`, in older files in `sd-metadata`.

Source: invokeai/app/invocations/metadata.py of invoke-ai/InvokeAI (CoreMetadata).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.infotext.found import Found, real, whole, words

# Fields that the studio has no place for, and their values that ask for nothing.
UNSUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "vae": (None,), "clip_skip": (None, 0), "seamless_x": (None, False), "seamless_y": (None, False),
    "refiner_model": (None,), "cfg_rescale_multiplier": (None, 0), "hrf_enabled": (None, False),
    "init_image": (None,), "positive_style_prompt": (None, ""), "negative_style_prompt": (None, ""),
    "rand_device": (None, "cpu"), "ref_images": (None, []),
}  # fmt: skip
STACKED = ("controlnets", "ipAdapters", "t2iAdapters", "controlLayers", "control_layers", "regions")


def find(data: Mapping[str, Any]) -> Found:
    if isinstance(data.get("image"), Mapping):
        return find_old(data)
    found = Found("InvokeAI")
    found.fields["prompt"] = words(data.get("positive_prompt")) or ""
    found.fields["negative_prompt"] = words(data.get("negative_prompt")) or ""
    for name in ("steps", "seed", "width", "height"):
        found.put(name, whole(data.get(name)))
    found.put("guidance", real(data.get("cfg_scale")))
    found.put("strength", real(data.get("strength")))
    found.put("model", name_of(data.get("model")))
    found.sampler(data.get("scheduler"))
    for row in rows_of(data.get("loras")):
        found.lora(name_of(row.get("model")) or name_of(row.get("lora")), row.get("weight"))
    for name, plain in UNSUPPORTED.items():
        if data.get(name) not in plain:
            found.miss(name, name_of(data[name]) or data[name])
    for name in STACKED:
        for row in rows_of(data.get(name)):
            found.miss(name, name_of(row.get("control_model")) or "")
    return found


def find_old(data: Mapping[str, Any]) -> Found:
    row = data["image"]
    found = Found("InvokeAI")
    prompt: Any = row.get("prompt")
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], Mapping):
        prompt = prompt[0].get("prompt")
    text = words(prompt) or ""
    before, _, negative = text.partition("[")  # the negative words stood in brackets at the end
    found.fields["prompt"], found.fields["negative_prompt"] = before.strip(), negative.rstrip("] ")
    for name in ("steps", "seed", "width", "height"):
        found.put(name, whole(row.get(name)))
    found.put("guidance", real(row.get("cfg_scale")))
    found.put("model", words(data.get("model_weights")))
    found.sampler(row.get("sampler"))
    return found


def rows_of(value: Any) -> list[Mapping[str, Any]]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def name_of(model: Any) -> str | None:
    """A model is an object with a name, in older files an object with `model_name`."""
    if not isinstance(model, Mapping):
        return words(model)
    return words(model.get("name")) or words(model.get("model_name"))
