"""Settings inside picture files, as other tools write and read them.

The text is AUTOMATIC1111's (source: create_infotext in modules/processing.py and modules/infotext_utils.py of
AUTOMATIC1111/stable-diffusion-webui), in PNG's `parameters` or EXIF's UserComment. Beside it lies our own
resolved request as JSON, which says more.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import ExifTags, Image

from studio import __version__, prompt
from studio.catalog import SCHEDULERS
from studio.errors import BadRequest, StudioError
from studio.schema import GenerationRequest, ResolvedRequest, parse, parse_json

PARAMETERS = "parameters"
OWN = "brand_studio"
UNICODE = b"UNICODE\0"
QUALITY = 95  # JPEG and WebP; below it flat brand colours show blocks
VERSION = f"Brand Studio {__version__}"
LEAST_PAIRS = 3  # fewer on the last line: it belongs to the prompt

# A key has an end to its length, so that a long line without a colon is not searched again from each letter.
_PAIR = re.compile(r'(\w[\w \-/]{0,80}+):\s*+("(?:\\.|[^\\"])*+"|[^,]*+)(?:,|$)')
_SIZE = re.compile(r"(\d++)x(\d++)")


def stamp(png: bytes, request: ResolvedRequest, seed: int) -> bytes:
    """The rendered `png` in the request's format, with its settings. PNG pixels are not touched."""
    own = json.dumps(request.model_copy(update={"seed": seed, "count": 1}).model_dump(mode="json"))
    text = write(request, seed)
    if request.format == "png":
        return _with_texts(png, {PARAMETERS: text, OWN: own})
    picture = Image.open(io.BytesIO(png), formats=["PNG"]).convert("RGB")
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


def write(request: ResolvedRequest, seed: int) -> str:
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
        "Model": request.model,
        "Denoising strength": f"{request.strength:g}" if request.init_image else "",
        "Upscale": f"{request.upscale:g}" if request.upscale > 1 else "",
        "Preset": request.preset or "",
    }
    if control is not None:
        pairs["ControlNet 0"] = (
            f"Module: {control.type}, Model: {control.type}, Weight: {control.scale:g}, "
            f"Threshold A: {control.low}, Threshold B: {control.high}, "
            f"Guidance Start: {control.start:g}, Guidance End: {control.end:g}, Pixel Perfect: True"
        )
    pairs["Version"] = VERSION
    negative = f"\nNegative prompt: {request.negative_prompt}" if request.negative_prompt else ""
    last = ", ".join(f"{key}: {_quoted(str(value))}" for key, value in pairs.items() if value != "")
    named = {tag.name for tag in prompt.parse(request.prompt).loras}
    tags = [f" <lora:{lora.name}:{lora.weight:g}>" for lora in request.loras if lora.name not in named]
    return f"{request.prompt}{''.join(tags)}{negative}\n{last}"


def read_picture(data: bytes) -> GenerationRequest:
    """The settings in a PNG, JPEG or WebP file, our own exact ones before those of other tools.

    Raises BadRequest (`no_settings`) where there are none.
    """
    texts = texts_of(data)
    if OWN in texts:
        with contextlib.suppress(StudioError):
            resolved = parse_json(ResolvedRequest, texts[OWN].encode())
            return parse(GenerationRequest, resolved.model_dump(mode="json"))
    if texts.get(PARAMETERS, "").strip() and not texts[PARAMETERS].lstrip().startswith("{"):
        return read(texts[PARAMETERS])
    raise BadRequest(
        "The picture carries no settings.", hint="Only the file as it was saved has them.", code="no_settings"
    )


def texts_of(data: bytes) -> dict[str, str]:
    """What stands in a picture file's notes, by name; what is no picture has none."""
    try:
        return _texts(data)
    except Exception:  # decoders raise whatever a damaged file leads them to
        return {}


def fields_of(text: str) -> dict[str, str]:
    """Pasted settings as they stand there: the pairs of the last line, `Prompt` and `Negative prompt`."""
    body, _, last = text.strip().rpartition("\n")
    pairs = dict(_pairs(last))
    if len(pairs) < LEAST_PAIRS:
        body, pairs = text.strip(), {}
    words, negative = _split(body)
    size = _SIZE.fullmatch(pairs.get("Size", ""))
    sizes = {"Size-1": size[1], "Size-2": size[2]} if size else {}
    return {"Prompt": words, "Negative prompt": negative, **pairs, **sizes}


def read(text: str) -> GenerationRequest:
    """A request from pasted settings; what is not understood is left out. Raises BadRequest: no prompt."""
    body, _, last = text.strip().rpartition("\n")
    pairs = dict(_pairs(last))
    if len(pairs) < LEAST_PAIRS:
        body, pairs = text.strip(), {}
    words, negative = _split(body)
    asked: dict[str, Any] = {"prompt": words}
    size = _SIZE.fullmatch(pairs.get("Size", ""))
    wanted = {
        "negative_prompt": negative,
        "steps": _number(pairs.get("Steps"), int),
        "guidance": _number(pairs.get("CFG scale"), float),
        "seed": _number(pairs.get("Seed"), int),
        "width": int(size[1]) if size else None,
        "height": int(size[2]) if size else None,
        "strength": _number(pairs.get("Denoising strength"), float),
        "scheduler": scheduler_named(pairs.get("Sampler", ""), pairs.get("Schedule type", "")) or None,
        "model": pairs.get("Model"),
    }
    for field, value in wanted.items():
        with contextlib.suppress(BadRequest):  # another tool's range may be wider than ours
            if value is not None:
                parse(GenerationRequest, {"prompt": "x", field: value})
                asked[field] = value
    return parse(GenerationRequest, asked)


def scheduler_named(sampler: str, schedule: str = "") -> str:
    """Our key for another tool's sampler name and schedule type; '' for one we have not."""
    names = {row.a1111.casefold(): key for key, row in SCHEDULERS.items()}
    plain = sampler.casefold().strip()
    if schedule.casefold() not in ("", "automatic", "uniform", "normal"):
        plain = f"{plain} {schedule.casefold()}"
    return names.get(plain) or names.get(sampler.casefold().strip(), "")


def _split(body: str) -> tuple[str, str]:
    """(prompt, negative prompt); the negative one starts its own line."""
    before, mark, after = ("\n" + body).partition("\nNegative prompt:")
    return before.strip(), after.strip() if mark else ""


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    for found in _PAIR.finditer(line):
        key, value = found[1].strip(), found[2].strip()
        if value.startswith('"'):
            with contextlib.suppress(ValueError):
                value = str(json.loads(value))
        yield key, value


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search(r"[,\n:]", value) else value


def _number(text: str | None, kind: type[int] | type[float]) -> float | int | None:
    try:
        return None if text is None else kind(text)
    except ValueError:
        return None


def _texts(data: bytes) -> dict[str, str]:
    picture = Image.open(io.BytesIO(data), formats=["PNG", "JPEG", "WEBP"])
    found = {str(key): value for key, value in picture.info.items() if isinstance(value, str)}
    notes = picture.getexif().get_ifd(ExifTags.IFD.Exif)
    comment, own = notes.get(ExifTags.Base.UserComment), notes.get(ExifTags.Base.MakerNote)
    if isinstance(comment, bytes) and comment.startswith(UNICODE):
        found[PARAMETERS] = comment[len(UNICODE) :].decode("utf-16-be", "replace")
    if isinstance(own, bytes) and own.startswith(OWN.encode() + b"\0"):
        found[OWN] = own[len(OWN) + 1 :].decode("utf-8", "replace")
    return found


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
