"""A `.brandkit`: a ZIP of one brand file, the LoRAs and pictures it names, and a signed list of all.

    kit.json   {"format": 1, "name", "made", "by", "files": {"brand.yaml": {"sha256", "bytes"}, ...}}
    kit.sig    ECDSA P-256 over the bytes of kit.json, DER
    chain.pem  the signer's certificates, leaf first
    brand.yaml, loras/NAME.safetensors, logos/NAME.png, samples/NAME.png or .jpg

Nothing in it is believed before the signature over kit.json and each file's hash were checked. The signer is
told, not judged: whoever made it can sign, so a person decides whether the name is one they expect.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from studio.errors import BadRequest
from studio.presets.yaml_nodes import MAX_BYTES
from studio.safety.keys import SigningKey

FORMAT = 1
BRAND, INDEX, SIGNATURE, CHAIN = "brand.yaml", "kit.json", "kit.sig", "chain.pem"
LORA = re.compile(r"loras/([^/\\\x00-\x1f]{1,100})\.safetensors")
PICTURE = re.compile(r"(logos|samples)/([A-Za-z0-9][\w.-]{0,79}\.(?:png|jpg))", re.ASCII)
MAX_FILES = 40
MAX_SMALL = 256 * 2**10  # bytes of the index, the signature, the certificates
MAX_LORA = 2 * 2**30
MAX_KIT = 3 * 2**30
MAX_PICTURE = 8 * 2**20
PIECE = 2**20


@dataclass(frozen=True)
class Signer:
    """`fingerprint`: SHA-256 of the leaf certificate. `ours`: this studio's own key signed."""

    name: str
    fingerprint: str
    ours: bool


@dataclass(frozen=True)
class Package:
    """`loras`: unpacked files by LoRA name. `logos`, `samples`: by the file's name."""

    name: str
    text: str
    loras: Mapping[str, Path]
    logos: Mapping[str, Path]
    samples: Mapping[str, Path]
    by: str
    made: str
    signer: Signer


def pack(out: IO[bytes], name: str, text: str, members: Mapping[str, Path], by: str, key: SigningKey) -> None:
    """Writes the ZIP. `members`: files by their place in it, stored as they are: weights do not compress."""
    files = {BRAND: _entry(BytesIO(text.encode()))}
    for place, file in members.items():
        with file.open("rb") as stream:
            files[place] = _entry(stream)
    made = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    index = json.dumps(
        {"format": FORMAT, "name": name, "made": made, "by": by, "files": files},
        ensure_ascii=False, indent=1,
    ).encode()  # fmt: skip
    with zipfile.ZipFile(out, "w") as kit:
        kit.writestr(INDEX, index)
        kit.writestr(SIGNATURE, _sign(index, key))
        kit.writestr(CHAIN, key.chain)
        kit.writestr(BRAND, text.encode())
        for place, file in members.items():
            kit.write(file, place)


def unpack(data: IO[bytes], folder: Path, key: SigningKey) -> Package:
    """LoRAs and pictures are written to `folder`. Raises BadRequest (`bad_kit`, `kit_changed`)."""
    try:
        with zipfile.ZipFile(data) as kit:
            return _read(kit, folder, key)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise BadRequest(
            "The brand kit is not a readable ZIP.", hint="Export it again.", code="bad_kit"
        ) from error


def _read(kit: zipfile.ZipFile, folder: Path, key: SigningKey) -> Package:
    sizes = {entry.filename: entry.file_size for entry in kit.infolist()}
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in kit.infolist())
    if packed or sum(sizes.values()) > MAX_KIT:  # a bomb is one or the other; a kit is neither
        raise BadRequest(
            f"The brand kit was packed by another tool, or holds more than {MAX_KIT // 2**30} GiB.",
            hint="Export it again.",
            code="bad_kit",
        )
    missing = [name for name in (INDEX, SIGNATURE, CHAIN, BRAND) if name not in sizes]
    if missing or len(sizes) > MAX_FILES:
        what = (
            f"lacks {', '.join(missing)}" if missing else f"has {len(sizes)} files; at most {MAX_FILES} fit"
        )
        raise BadRequest(f"The brand kit {what}.", hint="Export it again.", code="bad_kit")
    index = _small(kit, INDEX)
    signer = _signer(index, _small(kit, SIGNATURE), _small(kit, CHAIN), key)
    told = _index(index)
    text = _small(kit, BRAND, MAX_BYTES)
    _match(BRAND, hashlib.sha256(text).hexdigest(), told)
    found: dict[str, dict[str, Path]] = {"loras": {}, "logos": {}, "samples": {}}
    for place in told["files"]:
        if place == BRAND:
            continue
        kind, name, limit = _member(place)
        if place not in sizes:
            raise BadRequest(f"The brand kit lacks {place[:80]!r}.", hint="Export it again.", code="bad_kit")
        file = folder / f"{kind}-{len(found[kind])}{Path(place).suffix}"
        found[kind][name] = file
        _match(place, _unpack_one(kit, place, file, limit), told)
    brand = text.decode("utf-8-sig")
    return Package(told["name"], brand, **found, by=told["by"], made=told["made"], signer=signer)


def _member(place: str) -> tuple[str, str, int]:
    """(kind, name, most bytes). Raises BadRequest for what a kit cannot hold."""
    if lora := LORA.fullmatch(place):
        return "loras", lora[1], MAX_LORA
    if picture := PICTURE.fullmatch(place):
        return picture[1], picture[2], MAX_PICTURE
    raise BadRequest(f"The brand kit lists {place[:80]!r}, which it cannot hold.", code="bad_kit")


def _small(kit: zipfile.ZipFile, name: str, limit: int = MAX_SMALL) -> bytes:
    with kit.open(name) as stream:
        data = stream.read(limit + 1)  # what the header says of its size is not believed
    if len(data) > limit:
        raise BadRequest(f"{name} has more than {limit} bytes.", code="bad_kit")
    return data


def _unpack_one(kit: zipfile.ZipFile, name: str, file: Path, limit: int) -> str:
    found, left = hashlib.sha256(), limit
    with kit.open(name) as source, file.open("xb") as out:
        while piece := source.read(PIECE):
            left -= len(piece)
            if left < 0:
                raise BadRequest(f"{name[:80]} has more than {limit} bytes.", code="bad_kit")
            found.update(piece)
            out.write(piece)
    return found.hexdigest()


def _index(data: bytes) -> dict[str, Any]:
    told = json.loads(data)
    good = (
        isinstance(told, dict)
        and told.get("format") == FORMAT
        and all(isinstance(told.get(name), str) for name in ("name", "made", "by"))
        and isinstance(told.get("files"), dict)
        and all(isinstance(row, dict) for row in told["files"].values())
    )
    if not good:
        raise BadRequest(
            f"The brand kit is of a format this studio does not read; it reads {FORMAT}.", code="bad_kit"
        )
    return dict(told)


def _match(name: str, sha256: str, told: Mapping[str, Any]) -> None:
    if told["files"].get(name, {}).get("sha256") != sha256:
        raise BadRequest(
            f"{name[:80]} in the brand kit was changed after it was signed.",
            hint="Ask whoever made it for a new export.",
            code="kit_changed",
        )


def _entry(stream: IO[bytes]) -> dict[str, Any]:
    found = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
    return {"sha256": found, "bytes": stream.tell()}


def _sign(data: bytes, key: SigningKey) -> bytes:
    secret = serialization.load_pem_private_key(key.key.encode(), None)
    if not isinstance(secret, ec.EllipticCurvePrivateKey):
        raise BadRequest("The signing key is not ES256.", code="bad_signing_key")
    return secret.sign(data, ec.ECDSA(hashes.SHA256()))


def _signer(index: bytes, signature: bytes, chain: bytes, key: SigningKey) -> Signer:
    leaf = x509.load_pem_x509_certificates(chain)[0]
    public = leaf.public_key()
    try:
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise InvalidSignature
        public.verify(signature, index, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise BadRequest(
            "The brand kit's signature does not fit: its list of files was changed.",
            hint="Ask whoever made it for a new export.",
            code="kit_changed",
        ) from None
    names = leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    own = x509.load_pem_x509_certificates(key.chain.encode())[0]
    return Signer(
        name=str(names[0].value) if names else "",
        fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
        ours=leaf == own,
    )
