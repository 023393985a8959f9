"""ComfyUI: the graph that was run, as JSON in `prompt`. Read from the sampler outwards.

Source: the API format that ComfyUI's server takes (server.py, nodes.py of Comfy-Org/ComfyUI).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from studio.infotext.found import Found, real, stem, whole

NODES = 5000  # more are not looked at
TEXTS = ("text", "text_g", "text_l", "value", "string", "string_field", "prompt")
SEEDS = ("seed", "noise_seed")
Graph = Mapping[str, Mapping[str, Any]]


def find(data: Mapping[str, Any]) -> Found | None:
    """None for a graph without a sampler the studio knows of."""
    graph = {
        str(key): node for key, node in list(data.items())[:NODES]
        if isinstance(node, Mapping) and isinstance(node.get("inputs"), Mapping)
    }  # fmt: skip
    key = next((key for key, node in graph.items() if kind(node).startswith("KSampler")), None)
    if key is None:
        return None
    found, inputs = Found("ComfyUI"), graph[key]["inputs"]
    found.fields["prompt"] = text_of(graph, inputs.get("positive"))
    found.fields["negative_prompt"] = text_of(graph, inputs.get("negative"))
    found.put("steps", whole(inputs.get("steps")))
    found.put("guidance", real(inputs.get("cfg")))
    for name in SEEDS:
        found.put("seed", whole(value_of(graph, inputs.get(name))))
    found.sampler(inputs.get("sampler_name"), inputs.get("scheduler"))
    models(found, graph, inputs.get("model"))
    size(found, graph, inputs.get("latent_image"))
    denoise = real(inputs.get("denoise"))
    if denoise is not None and denoise < 1:
        found.put("strength", denoise)
    others(found, graph, key)
    return found


def kind(node: Mapping[str, Any]) -> str:
    return str(node.get("class_type", ""))[:80]


def walk(graph: Graph, link: Any) -> Iterator[tuple[Mapping[str, Any], str]]:
    """The nodes a link leads to and those behind them, each once: (inputs, class). Rings end."""
    seen: set[str] = set()
    waiting = [link]
    while waiting:
        here = waiting.pop(0)
        key = str(here[0]) if isinstance(here, list) and len(here) == 2 else ""
        if key not in graph or key in seen:
            continue
        seen.add(key)
        inputs = graph[key]["inputs"]
        yield inputs, kind(graph[key])
        waiting += [value for value in inputs.values() if isinstance(value, list)]


def text_of(graph: Graph, link: Any) -> str:
    """The first words behind a conditioning, through whatever is applied to it."""
    for inputs, _ in walk(graph, link):
        for name in TEXTS:
            if isinstance(inputs.get(name), str) and inputs[name].strip():
                return str(inputs[name])
    return ""


def value_of(graph: Graph, given: Any) -> Any:
    """A number, or the one that the linked node holds."""
    if not isinstance(given, list):
        return given
    inputs = next(walk(graph, given), ({}, ""))[0]
    return next((inputs[name] for name in (*SEEDS, "value", "int") if name in inputs), None)


def models(found: Found, graph: Graph, link: Any) -> None:
    for inputs, _ in walk(graph, link):
        if "lora_name" in inputs:
            found.lora(inputs["lora_name"], inputs.get("strength_model", 1.0))
        name = inputs.get("ckpt_name") or inputs.get("unet_name")
        if isinstance(name, str) and "model" not in found.fields:
            found.fields["model"] = stem(name)
    if "loras" in found.fields:
        found.fields["loras"].reverse()  # the one next to the sampler was applied last


def size(found: Found, graph: Graph, link: Any) -> None:
    for inputs, name in walk(graph, link):
        width, height = whole(inputs.get("width")), whole(inputs.get("height"))
        if width is not None and height is not None:
            found.fields["width"], found.fields["height"] = width, height
            return
        if name.startswith("VAEEncode"):
            found.miss("Start picture", "it is not in the file")
            return


def others(found: Found, graph: Graph, sampler: str) -> None:
    """Parts of the graph that change the picture and are left out."""
    for key, node in graph.items():
        name = kind(node)
        again = name.startswith("KSampler") and key != sampler
        if again or name.startswith(("ControlNet", "IPAdapter", "CLIPSetLastLayer", "FreeU", "VAELoader")):
            found.miss("Node", name)
