# SPDX-License-Identifier: Apache-2.0
"""Checking the seal of reports that were issued before PDF signatures.

Their keywords hold a seal of fixed width, written twice by typst: in the PDF's information dictionary and in its XMP
metadata, both uncompressed::

    medhub-seal:1:<SHA-256 of the file>:<public key>:<signature>        64, 64 and 128 hexadecimal digits

The digest is taken over the whole file with these digits as zeros, and the Ed25519 signature over the digest. A change
of any byte outside the seals changes the digest; a change inside one makes the seals differ, or leaves fewer than two.
"""

from __future__ import annotations

import hashlib
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from medhub.reports.embedded_record import read_record
from medhub.reports.verification_result import TrustedKeys, Verification, describe_record

_PREFIX = "medhub-seal:1:"
_DIGITS = (64, 64, 128)
BLANK_SEAL = _PREFIX + ":".join("0" * width for width in _DIGITS)
_DOMAIN = b"medhub report seal 1\x00"
_BODY = rb":".join(rb"[0-9a-f]{%d}" % width for width in _DIGITS)
_PATTERNS = (
    re.compile(rb"(?<=/Keywords\()" + _PREFIX.encode() + _BODY),
    re.compile(rb"(?<=<pdf:Keywords>)" + _PREFIX.encode() + _BODY),
)


def key_id(public_key: Ed25519PublicKey) -> str:
    """Return the short name of a key: the first 16 digits of the SHA-256 of its raw bytes."""
    return _hash_key(public_key.public_bytes_raw())


def has_keyword_seal(pdf: bytes) -> bool:
    """Tell whether a file carries a seal, complete or damaged, in its keywords."""
    return b"/Keywords(" + _PREFIX.encode() in pdf or b"<pdf:Keywords>" + _PREFIX.encode() in pdf


def check_keyword_seal(pdf: bytes, trusted: TrustedKeys) -> Verification:
    """Tell whether a sealed report is as it was issued and, given a key to trust, whether that key sealed it."""
    spans = _find_seals(pdf)
    if spans is None:
        return _refuse("The seal of this report is damaged: nothing can be said about the file.", trusted)
    texts = {pdf[slice(*span)] for span in spans}
    blank = BLANK_SEAL.encode()
    digest = hashlib.sha256(_replace_seals(pdf, spans, blank)).digest()
    if len(texts) != 1:
        return _refuse("This file was changed after it was sealed: its two seals differ.", trusted, digest)
    text = texts.pop()
    if text == blank:
        return _refuse("This report was never sealed: it is a draft.", trusted, digest)
    stated, public, signature = (bytes.fromhex(part.decode()) for part in text.split(b":")[2:])
    name = _hash_key(public)
    if stated != digest:
        return _refuse(
            "This file was changed after it was sealed: its content does not have its digest.", trusted, digest, name
        )
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _DOMAIN + digest)
    except (InvalidSignature, ValueError):
        return _refuse("This file was changed after it was sealed: its signature is not valid.", trusted, digest, name)
    authentic = None
    if trusted:
        authentic = trusted.seal_key is not None and trusted.seal_key.public_bytes_raw() == public
    record, matches = read_record(pdf)
    return Verification(
        intact=True,
        authentic=authentic,
        digest=digest.hex(),
        key_id=name,
        reason=describe_record(_describe_key(authentic, name), matches),
        record=record,
        facts_digest_matches=matches,
        method="seal",
    )


def _describe_key(authentic: bool | None, name: str) -> str:
    if authentic is False:
        return f"Every byte is as it was sealed, but by another key ({name}) than the trusted one: do not trust it."
    if authentic:
        return f"Every byte is as it was issued, and the trusted key ({name}) sealed it."
    return (
        f"Every byte is as it was sealed by the key {name}; "
        "whose key that is can only be known from a source that you trust."
    )


def _refuse(reason: str, trusted: TrustedKeys, digest: bytes | None = None, name: str | None = None) -> Verification:
    return Verification(
        intact=False,
        authentic=False if trusted else None,
        digest=digest.hex() if digest else None,
        key_id=name,
        reason=reason,
        method="seal",
    )


def _find_seals(pdf: bytes) -> list[tuple[int, int]] | None:
    """Return the spans of the two seals, or None unless there is exactly one in each of the two known settings."""
    seals = []
    for pattern in _PATTERNS:
        spans = [match.span() for match in pattern.finditer(pdf)]
        if len(spans) != 1:
            return None
        seals += spans
    return sorted(seals)


def _replace_seals(pdf: bytes, spans: list[tuple[int, int]], text: bytes) -> bytes:
    out = bytearray(pdf)
    for start, end in spans:
        out[start:end] = text
    return bytes(out)


def _hash_key(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:16]
