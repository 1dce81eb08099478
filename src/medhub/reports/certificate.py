# SPDX-License-Identifier: Apache-2.0
"""The key pair and the self-signed certificate with which an installation signs its reports.

Both are derived from the master key, so that they need no file and no backup of their own, and every process of an
installation has the same certificate. Algorithms: ECDSA on P-256 with SHA-256, which PDF readers support; signatures
are deterministic (RFC 6979), so that the same report has the same bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from medhub.errors import Invalid, NotFound
from medhub.foundation.keys import Keys

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
# The key is as old as the master key, whose age nobody records, and it does not expire (RFC 5280, 4.1.2.5).
_NOT_BEFORE = datetime(2020, 1, 1, tzinfo=UTC)
_NOT_AFTER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@dataclass(frozen=True)
class SigningCredentials:
    """A private key with its certificate."""

    private_key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def derive_credentials(keys: Keys) -> SigningCredentials:
    """Return the credentials of an installation."""
    seed = keys.derive("report-signature") + keys.derive("report-signature-2")
    # 256 bits more than the order leave no bias (FIPS 186-5, A.2.1).
    private_key = ec.derive_private_key(int.from_bytes(seed) % (_P256_ORDER - 1) + 1, ec.SECP256R1())
    return SigningCredentials(private_key, create_certificate(private_key))


def create_certificate(private_key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """Return the self-signed certificate of a key; the same key always has the same certificate."""
    public_key = private_key.public_key()
    key_digest = hashlib.sha256(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Medhub report signature {key_digest.hex()[:16]}")])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public_key)
        .serial_number(int.from_bytes(key_digest[:16]) >> 1 | 1)
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .sign(private_key, hashes.SHA256(), ecdsa_deterministic=True)
    )


def read_certificate(path: Path) -> x509.Certificate:
    """Return the certificate in a PEM or DER file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}.") from error
    try:
        if content.lstrip().startswith(b"-----BEGIN"):
            return x509.load_pem_x509_certificate(content)
        return x509.load_der_x509_certificate(content)
    except ValueError as error:
        raise Invalid(f"{path} contains no certificate (PEM or DER).", field="certificate") from error


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 fingerprint of a certificate in hexadecimal, as PDF readers show it."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate is signed by its own key, so that each of its bytes counts."""
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
