"""Manifests: signed, read back, and a change shows. The real c2pa library with keys made in the test."""

from __future__ import annotations

import io
import stat
from pathlib import Path

import pytest
from PIL import Image

from studio.errors import BadRequest
from studio.safety.keys import CHAIN, KEY, ROOT, read_key
from studio.safety.manifest import Notary

FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
MADE = "2026-11-21T10:00:00Z"


@pytest.fixture(scope="module")
def notary(tmp_path_factory: pytest.TempPathFactory) -> Notary:
    return Notary(read_key(tmp_path_factory.mktemp("home") / "keys", "Acme"))


def plain(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_signed_picture_says_who_made_it_with_what(notary: Notary, kind: str) -> None:
    signed = notary.sign(plain(kind), FORMATS[kind], "pic-1", "pocket", MADE)
    manifest = notary.read(signed, FORMATS[kind])
    assert manifest is not None and manifest.state == "intact" and manifest.ai_made
    assert (manifest.picture, manifest.model, manifest.made) == ("pic-1", "pocket", MADE)
    assert "Acme" in manifest.signer and manifest.generator.startswith("Brand Studio")
    assert len(signed) - len(plain(kind)) < 6_000
    assert Image.open(io.BytesIO(signed)).tobytes() == Image.open(io.BytesIO(plain(kind))).tobytes()


def test_a_changed_picture_shows(notary: Notary) -> None:
    signed = bytearray(notary.sign(plain("PNG"), "image/png", "pic-1", "pocket", MADE))
    signed[signed.index(b"IDAT") + 40] ^= 1
    manifest = notary.read(bytes(signed), "image/png")
    assert manifest is not None and manifest.state == "changed"


def test_another_studios_signature_is_not_taken_for_ours(notary: Notary, tmp_path: Path) -> None:
    other = Notary(read_key(tmp_path / "keys", "Acme"))
    manifest = notary.read(other.sign(plain("PNG"), "image/png", "pic-1", "pocket", MADE), "image/png")
    assert manifest is not None and manifest.state == "untrusted"


def test_a_picture_without_a_manifest_has_none(notary: Notary) -> None:
    assert notary.read(plain("JPEG"), "image/jpeg") is None


def test_the_key_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    first = read_key(tmp_path / "keys", "Acme")
    assert read_key(tmp_path / "keys", "Other") == first
    for name in (CHAIN, KEY, ROOT):
        assert stat.S_IMODE((tmp_path / "keys" / name).stat().st_mode) == 0o600


def test_half_a_key_is_refused(tmp_path: Path) -> None:
    read_key(tmp_path / "keys", "Acme")
    (tmp_path / "keys" / KEY).unlink()
    with pytest.raises(BadRequest, match="key.pem is missing"):
        read_key(tmp_path / "keys", "Acme")
