"""Names and hashes in a picture's settings against what this studio has: what it has not is told."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from studio import prompt
from studio.errors import BadRequest
from studio.infotext.found import Found, stem

_TAG = re.compile(r"\s?<lora:([^:<>\n]{1,200})(?::[^<>\n]{0,100})?>")


@dataclass(frozen=True)
class Stock:
    """What the studio has. `loras`: our names by every folded name they go by. The hashes, SHA-256 by our
    name, are asked for only where a picture names one; '' where there is none."""

    models: Collection[str]
    loras: Mapping[str, str]
    presets: Collection[str]
    model_hash: Callable[[str], str]
    lora_hash: Callable[[str], str]


def match(found: Found, stock: Stock) -> None:
    model = found.fields.pop("model", None)
    if (isinstance(model, str) and model) or found.model_hash:
        named = {name.casefold(): name for name in stock.models}.get(stem(str(model or "")).casefold())
        ours, same = chosen(named, found.model_hash, stock.models, stock.model_hash)
        found.put("model", ours)
        if ours is None:
            found.miss("Model", model or found.model_hash)
        elif not same:
            found.miss("Model hash", f"{found.model_hash}; the studio's {ours} is another file")
    preset = found.fields.get("preset")
    if preset is not None and preset not in stock.presets:
        found.miss("Preset", found.fields.pop("preset"))
    match_loras(found, stock)


def chosen(
    named: str | None, wanted: str, ours: Iterable[str], hash_of: Callable[[str], str]
) -> tuple[str | None, bool]:
    """(our name for it, whether it is the very file as far as is known): by hash, else by name."""
    if not wanted or (named is not None and hash_of(named).startswith(wanted)):
        return named, True
    same = next((name for name in ours if name != named and hash_of(name).startswith(wanted)), None)
    return (same, True) if same is not None else (named, False)


def match_loras(found: Found, stock: Stock) -> None:
    text = found.fields.get("prompt")
    stack = found.fields.pop("loras", [])
    try:
        tags = prompt.parse(text).loras if isinstance(text, str) else ()
    except BadRequest:
        tags = ()  # the form shows it as it stands, and says what is wrong with it
    known = {name: our_lora(found, stock, name) for name in sorted(theirs(stack, tags))}
    kept = [row | {"name": ours} for row in stack if (ours := known[str(row["name"])]) is not None]
    if kept:
        found.fields["loras"] = kept
    if isinstance(text, str) and tags:
        bare = _TAG.sub(lambda tag: renamed(tag, known), text)
        found.fields["prompt"] = bare if bare.strip() else text


def theirs(stack: Iterable[Mapping[str, object]], tags: Iterable[prompt.LoraTag]) -> set[str]:
    return {str(row["name"]) for row in stack} | {tag.name for tag in tags}


def our_lora(found: Found, stock: Stock, name: str) -> str | None:
    """Tells what is missing, and a LoRA of the same name that is another file."""
    wanted = found.lora_hashes.get(name, found.lora_hashes.get(stem(name), ""))
    named = stock.loras.get(stem(name).casefold())
    ours, same = chosen(named, wanted, dict.fromkeys(stock.loras.values()), stock.lora_hash)
    if ours is None:
        found.miss("LoRA", name)
    elif not same:
        found.miss("LoRA hash", f"{wanted}; the studio's {ours} is another file")
    return ours


def renamed(tag: re.Match[str], known: Mapping[str, str | None]) -> str:
    """A tag by our name for it; nothing where we have none."""
    name = tag[1].strip()
    ours = known.get(name, name)
    if ours is None:
        return ""
    return tag[0] if ours.casefold() == stem(name).casefold() else tag[0].replace(tag[1], ours, 1)
