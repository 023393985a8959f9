"""The key that signs manifests: an own certificate authority made at the first start, or the company's files.

Profile: C2PA technical specification 2.2, section 14.5 (certificate with the emailProtection purpose, ES256).
"""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from studio.errors import BadRequest

YEARS = 10
CHAIN, KEY, ROOT = "chain.pem", "key.pem", "root.pem"


@dataclass(frozen=True)
class SigningKey:
    """PEM texts. `chain`: leaf first. `root`: what a verifier trusts."""

    chain: str
    key: str
    root: str


def read_key(folder: Path, organisation: str) -> SigningKey:
    """The key in `folder`, made there when the folder has none (mode 600). Raises BadRequest.

    A company puts its own `chain.pem` (leaf first), `key.pem` (PKCS 8, ES256) and `root.pem` there.
    """
    names = (CHAIN, KEY, ROOT)
    missing = [name for name in names if not (folder / name).is_file()]
    if len(missing) == len(names):
        _make_key(folder, organisation)
    elif missing:
        raise BadRequest(
            f"The signing key is incomplete: {', '.join(missing)} is missing from the keys folder.",
            hint="Put chain.pem, key.pem and root.pem there, or remove all three: new ones are made then.",
            code="bad_signing_key",
        )
    return SigningKey(*((folder / name).read_text(encoding="ascii") for name in names))


def _make_key(folder: Path, organisation: str) -> None:
    root_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name, leaf_name = _name(organisation, "Brand Studio CA"), _name(organisation, "Brand Studio")
    root = (
        _certificate(root_name, root_name, root_key.public_key(), root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _certificate(leaf_name, root_name, leaf_key.public_key(), root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = leaf_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, data in (
        (ROOT, root.public_bytes(pem)),
        (CHAIN, leaf.public_bytes(pem) + root.public_bytes(pem)),
        (KEY, secret),
    ):
        _write(folder / name, data)


def _write(file: Path, data: bytes) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(data)
        os.fsync(stream.fileno())


def _name(organisation: str, common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, by: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)  # clocks differ
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=365 * YEARS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by), critical=False)
    )


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
