"""Settings written into a finished picture.

The text is AUTOMATIC1111's (source: create_infotext in modules/processing.py of
AUTOMATIC1111/stable-diffusion-webui), in PNG's `parameters` or EXIF's UserComment. Beside it lies our own
resolved request as JSON, which says more.
"""

from __future__ import annotations

import io
import json
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import ExifTags, Image

from studio import __version__, prompt
from studio.catalog import SCHEDULERS
from studio.infotext.notes import OWN, PARAMETERS, UNICODE
from studio.schema import ResolvedRequest

QUALITY = 95  # JPEG and WebP; below it flat brand colours show blocks
VERSION = f"Brand Studio {__version__}"


@dataclass(frozen=True)
class Fingerprints:
    """SHA-256 of what made a picture: of the model's file, and by name of each LoRA's weights alone."""

    model: str = ""
    loras: Mapping[str, str] = field(default_factory=dict)


UNKNOWN = Fingerprints()


def stamp(png: bytes, request: ResolvedRequest, seed: int, prints: Fingerprints = UNKNOWN) -> bytes:
    """The rendered `png` in the request's format, with its settings. PNG pixels are not touched."""
    own = json.dumps(request.model_copy(update={"seed": seed, "count": 1}).model_dump(mode="json"))
    text = write(request, seed, prints)
    if request.format == "png":
        return _with_texts(png, {PARAMETERS: text, OWN: own})
    opened = Image.open(io.BytesIO(png), formats=["PNG"])
    picture = opened.convert("RGBA" if request.format == "webp" and opened.mode == "RGBA" else "RGB")
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif).update(
        {
            ExifTags.Base.UserComment: UNICODE + text.encode("utf-16-be"),
            ExifTags.Base.MakerNote: OWN.encode() + b"\0" + own.encode(),
        }
    )
    out = io.BytesIO()
    options: dict[str, Any] = {"subsampling": 0} if request.format == "jpeg" else {}
    picture.save(out, request.format, quality=QUALITY, exif=exif, **options)
    return out.getvalue()


def write(request: ResolvedRequest, seed: int, prints: Fingerprints = UNKNOWN) -> str:
    """The settings as other tools paste them; LoRAs that the prompt does not name are added to it as tags."""
    control = request.control
    sampler, karras, _ = SCHEDULERS[request.scheduler].a1111.partition(" Karras")
    pairs: dict[str, Any] = {
        "Steps": request.steps,
        "Sampler": sampler,
        "Schedule type": karras.strip(),
        "CFG scale": f"{request.guidance:g}",
        "Seed": seed,
        "Size": f"{request.width}x{request.height}",
        "Model hash": prints.model[:10],
        "Model": request.model,
        "Denoising strength": f"{request.strength:g}" if request.init_image else "",
        "Upscale": f"{request.upscale:g}" if request.upscale > 1 else "",
        "Preset": request.preset or "",
        "Lora hashes": ", ".join(f"{name}: {digest[:12]}" for name, digest in prints.loras.items()),
    }
    if control is not None:
        pairs["ControlNet 0"] = (
            f"Module: {control.type}, Model: {control.type}, Weight: {control.scale:g}, "
            f"Threshold A: {control.low}, Threshold B: {control.high}, "
            f"Guidance Start: {control.start:g}, Guidance End: {control.end:g}, Pixel Perfect: True"
        )
    if request.refiner is not None:
        pairs |= {"Refiner": request.refiner.model, "Refiner switch at": f"{request.refiner.at:g}"}
    pairs["Version"] = VERSION
    negative = f"\nNegative prompt: {request.negative_prompt}" if request.negative_prompt else ""
    last = ", ".join(f"{key}: {_quoted(str(value))}" for key, value in pairs.items() if value != "")
    named = {tag.name for tag in prompt.parse(request.prompt).loras}
    tags = [f" <lora:{lora.name}:{lora.weight:g}>" for lora in request.loras if lora.name not in named]
    return f"{request.prompt}{''.join(tags)}{negative}\n{last}"


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search(r"[,\n:]", value) else value


def _with_texts(png: bytes, texts: Mapping[str, str]) -> bytes:
    """Text chunks behind a PNG's header: tEXt for Latin-1, iTXt for the rest, as other tools write them."""
    end = 8 + 12 + int.from_bytes(png[8:12], "big")
    return (
        png[:end] + b"".join(_chunk(key, text.replace("\0", "")) for key, text in texts.items()) + png[end:]
    )


def _chunk(key: str, text: str) -> bytes:
    try:
        kind, body = b"tEXt", key.encode() + b"\0" + text.encode("latin-1")
    except UnicodeEncodeError:
        kind, body = b"iTXt", key.encode() + b"\0\0\0\0\0" + text.encode()
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
