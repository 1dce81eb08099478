# SPDX-License-Identifier: Apache-2.0
"""The result of a report's verification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509 import Certificate


@dataclass(frozen=True)
class TrustedKeys:
    """What the reader of a report trusts: a certificate, or the key of reports sealed before PDF signatures."""

    certificate: Certificate | None = None
    seal_key: Ed25519PublicKey | None = None

    def __bool__(self) -> bool:
        return self.certificate is not None or self.seal_key is not None


@dataclass(frozen=True)
class Verification:
    """What the verification of a file has shown."""

    intact: bool
    """Each byte is as it was signed."""
    authentic: bool | None
    """A trusted key signed it; None when no trusted key was given."""
    digest: str | None
    """SHA-256 of the signed bytes, as computed now; None when the file has neither signature nor seal."""
    key_id: str | None
    """The first 16 digits of the fingerprint of the certificate, or of the key of a seal."""
    reason: str
    """The result in words."""
    record: dict[str, Any] | None = None
    """The record of the facts inside; only of an intact file."""
    facts_digest_matches: bool | None = None
    """The record inside has the digest that the pages print; None where no record could be read."""
    method: Literal["signature", "seal"] | None = None
    """PDF signature, or the seal in the keywords that came before it; None when the file has neither."""
    certificate_fingerprint: str | None = None
    """SHA-256 of the signing certificate; None without a PDF signature."""


def describe_record(text: str, matches: bool | None) -> str:
    """Add to a result in words what the check of the embedded record has shown."""
    if matches is None:
        return text + " The record of its facts could not be read."
    return text if matches else text + " The record inside does not have the digest that the pages print."
