"""The C2PA manifest of a picture: who made it with what, signed, so that a change shows.

Specification: C2PA 2.2. The picture is declared `trainedAlgorithmicMedia` (IPTC digital source type). Nothing
of prompt, seed, path or user goes in: the manifest stays in what clients get.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

from c2pa import Builder, C2paError, C2paSignerInfo, Context, Reader, Settings, Signer

from studio import __version__
from studio.safety.keys import SigningKey
from studio.safety.verdict import Manifest, State

LABEL = "brandstudio.picture"
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
CHANGED = "assertion.dataHash.mismatch"


class Notary:
    """Signs and reads manifests with one key. Thread-safe: each call makes its own builder and reader."""

    def __init__(self, key: SigningKey) -> None:
        self._key = key
        self._settings: dict[str, Any] = {
            "builder": {"thumbnail": {"enabled": False}},  # 0.6 MB a picture otherwise
            "trust": {"user_anchors": key.root},
            "verify": {"verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False},
        }

    def sign(self, file: bytes, mime: str, picture: str, model: str, made: str) -> bytes:
        """`file` (PNG, JPEG or WebP) with the manifest in it: 12 kB more, some ms."""
        definition = {
            "claim_generator_info": [{"name": "Brand Studio", "version": __version__}],
            "assertions": [
                {
                    "label": "c2pa.actions.v2",
                    "data": {
                        "actions": [
                            {
                                "action": "c2pa.created",
                                "digitalSourceType": SOURCE,
                                "softwareAgent": {"name": "Brand Studio", "version": __version__},
                                "when": made,
                            }
                        ]
                    },
                },
                {"label": LABEL, "data": {"picture": picture, "model": model, "made": made}},
            ],
        }
        out = io.BytesIO()
        info = C2paSignerInfo(b"es256", self._key.chain.encode(), self._key.key.encode(), None)
        with (
            Context(Settings.from_dict(self._settings)) as context,
            Builder(definition, context=context) as builder,
            Signer.from_info(info) as signer,
        ):
            builder.sign(signer, mime, io.BytesIO(file), out)
        return out.getvalue()

    def read(self, file: bytes, mime: str) -> Manifest | None:
        """None: the file has no manifest."""
        try:
            with (
                Context(Settings.from_dict(self._settings)) as context,
                Reader(mime, io.BytesIO(file), context=context) as reader,
            ):
                return _manifest(json.loads(reader.json()))
        except C2paError.ManifestNotFound:
            return None
        except C2paError:
            return Manifest("broken")


def _manifest(report: Mapping[str, Any]) -> Manifest:
    active = report["manifests"][report["active_manifest"]]
    said = {row["label"]: row.get("data", {}) for row in active.get("assertions", [])}
    actions = (said.get("c2pa.actions.v2") or said.get("c2pa.actions") or {}).get("actions", [])
    own = said.get(LABEL, {})
    generator = (active.get("claim_generator_info") or [{}])[0]
    signature = active.get("signature_info") or {}
    return Manifest(
        state=_state(report),
        signer=" · ".join(filter(None, (signature.get("common_name"), signature.get("issuer")))),
        generator=" ".join(filter(None, (generator.get("name"), generator.get("version")))),
        model=str(own.get("model", "")),
        picture=str(own.get("picture", "")),
        made=str(own.get("made", "")),
        ai_made=any(action.get("digitalSourceType") == SOURCE for action in actions),
    )


def _state(report: Mapping[str, Any]) -> State:
    """A stranger's signature is never called changed: only what this studio signed can have been."""
    codes = {row.get("code", "") for row in report.get("validation_status") or []}
    if report.get("validation_state") == "Trusted":
        return "intact"
    if "signingCredential.untrusted" in codes:
        return "untrusted"
    return "changed" if CHANGED in codes else "broken"
