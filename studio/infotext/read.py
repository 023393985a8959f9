"""Settings out of a picture file, whichever tool made it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from studio.errors import BadRequest, StudioError
from studio.infotext import a1111, comfyui, fooocus, invokeai, swarmui
from studio.infotext.found import Found, loaded
from studio.infotext.notes import OWN, PARAMETERS, SCHEME, texts_of
from studio.infotext.write import write
from studio.schema import DRAWN, GenerationRequest, ImageRow, ResolvedRequest, parse_json


def find(texts: Mapping[str, str]) -> Found:
    """From a file's notes, our own exact ones before those of other tools.

    Raises BadRequest (`no_settings`) where there are none, or no prompt among them.
    """
    found = own(texts) or of_invokeai(texts) or of_parameters(texts) or of_comfyui(texts)
    if found is None or not found.fields.get("prompt"):
        raise BadRequest(
            "The picture carries no settings.",
            hint="Only the file as it was saved has them.", code="no_settings",
        )  # fmt: skip
    return found


def own(texts: Mapping[str, str]) -> Found | None:
    if OWN not in texts:
        return None
    with contextlib.suppress(StudioError):
        resolved = parse_json(ResolvedRequest, texts[OWN].encode())
        return Found("Brand Studio", resolved.model_dump(mode="json", exclude_none=True, exclude=DRAWN))
    return None


def of_invokeai(texts: Mapping[str, str]) -> Found | None:
    for name in ("invokeai_metadata", "sd-metadata"):
        data = loaded(texts.get(name, ""))
        if isinstance(data, Mapping):
            return invokeai.find(data)
    return None


def of_parameters(texts: Mapping[str, str]) -> Found | None:
    """A1111's text; or JSON, by its keys Fooocus' or SwarmUI's."""
    text = texts.get(PARAMETERS, "").strip()
    if not text:
        return None
    if not text.startswith("{"):
        found = a1111.find(text)
        found.tool = "Fooocus" if SCHEME in texts else found.tool
        return found
    data = loaded(text)
    if not isinstance(data, Mapping):
        return None
    swarm = swarmui.find(data)
    if swarm is not None:
        return swarm
    names = {str(key).casefold().replace(" ", "_") for key in data}
    return fooocus.find(data) if {"prompt", "base_model"} <= names else None


def of_comfyui(texts: Mapping[str, str]) -> Found | None:
    data = loaded(texts.get("prompt", ""))
    return comfyui.find(data) if isinstance(data, Mapping) else None


def text_of(image: ImageRow) -> str:
    """A1111's text as it stands in a picture's file, hashes of then; written anew where it has none."""
    try:
        kept = texts_of(image.file.read_bytes()).get(PARAMETERS)
    except OSError:
        kept = None
    return kept or write(image.request, image.seed)


def find_text(text: str) -> Found:
    """From pasted text: A1111's, or the JSON of another tool. Raises BadRequest."""
    names = ("prompt", "invokeai_metadata") if '"positive_prompt"' in text else ("prompt",)
    return find({PARAMETERS: text} | dict.fromkeys(names, text))


def read_picture(data: bytes) -> GenerationRequest:
    """The settings in a PNG, JPEG or WebP file. Raises BadRequest (`no_settings`) where there are none."""
    return find(texts_of(data)).settled()


def read(text: str) -> GenerationRequest:
    """A request from pasted settings; what is not understood is left out. Raises BadRequest: no prompt."""
    return a1111.find(text).settled()
