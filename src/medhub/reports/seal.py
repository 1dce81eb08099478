# SPDX-License-Identifier: Apache-2.0
"""The seal of a report: whether each byte is as it was issued, and by which key.

The document's keywords hold a place of fixed width, written twice by typst: in the PDF's information dictionary and in
its XMP metadata, neither of them compressed::

    medhub-seal:1:<SHA-256 of the file>:<public key>:<signature>        64, 64 and 128 hexadecimal digits

The digest is taken over the whole file with these digits as zeros, and the Ed25519 signature over the digest. Sealing
writes in place, so that every offset in the file stays right. A change of any byte outside the places changes the
digest; a change inside one makes the places differ, or leaves a place that is no place any more. The public key is part
of the seal so that damage to it shows without knowing any key; who issued the report shows only against a key that the
reader trusts.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pypdf import PdfReader

from medhub.errors import Conflict, Invalid
from medhub.reports.facts import RECORD_NAME, canonical

_PREFIX = "medhub-seal:1:"
_DIGITS = (64, 64, 128)
BLANK_SEAL = _PREFIX + ":".join("0" * width for width in _DIGITS)
"""The place of a seal not yet given, for the document's keywords."""

_DOMAIN = b"medhub report seal 1\x00"
_FACTS = "medhub-facts:"
_BODY = rb":".join(rb"[0-9a-f]{%d}" % width for width in _DIGITS)
_PLACES = (
    re.compile(rb"(?<=/Keywords\()" + _PREFIX.encode() + _BODY),
    re.compile(rb"(?<=<pdf:Keywords>)" + _PREFIX.encode() + _BODY),
)


class AlreadySealed(Conflict):
    """The report carries a seal; another would hide it."""


@dataclass(frozen=True)
class Verification:
    """What a file says of itself, and whether it may be believed."""

    intact: bool
    """Each byte is as it was sealed."""
    authentic: bool | None
    """It was sealed by the key given; None when none was given."""
    digest: str | None
    """SHA-256 of the file with its seal left blank, as computed now; None when the file has no seal."""
    key_id: str | None
    """Short name of the key that the seal names."""
    reason: str
    """One sentence for a person."""
    record: dict[str, Any] | None
    """The record of the facts inside; only of an intact file."""
    facts_digest_matches: bool | None
    """The record inside has the digest that the pages print; None where no record could be read."""


def facts_keyword(digest: str) -> str:
    """Return the keyword by which a report names the digest of its facts."""
    return _FACTS + digest


def key_id(public_key: Ed25519PublicKey) -> str:
    """Return the short name of a key: the first 16 digits of the SHA-256 of its raw bytes."""
    return _key_id(public_key.public_bytes_raw())


def seal(pdf: bytes, private_key: Ed25519PrivateKey) -> bytes:
    """Return the report with its seal; ``Invalid`` when it has no place for one, ``AlreadySealed`` on a second."""
    places = _places(pdf)
    if places is None:
        raise Invalid("This file has no place for a seal: it is not a report as Medhub writes it.")
    blank = BLANK_SEAL.encode()
    if any(pdf[slice(*place)] != blank for place in places):
        raise AlreadySealed("This report is sealed already.")
    digest = hashlib.sha256(pdf).digest()
    public = private_key.public_key().public_bytes_raw()
    signature = private_key.sign(_DOMAIN + digest)
    text = f"{_PREFIX}{digest.hex()}:{public.hex()}:{signature.hex()}".encode()
    return _filled(pdf, places, text)


def verify(pdf: bytes, public_key: Ed25519PublicKey | None) -> Verification:
    """Tell whether a report is as it was issued and, given a key to trust, whether that key sealed it."""
    if not pdf.startswith(b"%PDF-"):
        return _refused("This is not a PDF file.", public_key)
    places = _places(pdf)
    if places is None:
        return _refused(
            "This PDF carries no seal of Medhub, or its seal was damaged: nothing can be said of it.", public_key
        )
    texts = {pdf[slice(*place)] for place in places}
    blank = BLANK_SEAL.encode()
    digest = hashlib.sha256(_filled(pdf, places, blank)).digest()
    if len(texts) != 1:
        return _refused("This file was changed after it was sealed: its two seals differ.", public_key, digest)
    text = texts.pop()
    if text == blank:
        return _refused("This report was never sealed: it is a draft.", public_key, digest)
    stated, public, signature = (bytes.fromhex(part.decode()) for part in text.split(b":")[2:])
    name = _key_id(public)
    if stated != digest:
        return _refused(
            "This file was changed after it was sealed: its content does not have its digest.", public_key, digest, name
        )
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _DOMAIN + digest)
    except (InvalidSignature, ValueError):
        return _refused(
            "This file was changed after it was sealed: its signature does not hold.", public_key, digest, name
        )
    authentic = None if public_key is None else public_key.public_bytes_raw() == public
    record, matches = _record(pdf)
    return Verification(True, authentic, digest.hex(), name, _sentence(authentic, matches, name), record, matches)


def _sentence(authentic: bool | None, matches: bool | None, name: str) -> str:
    if authentic is False:
        text = f"Every byte is as it was sealed, but by another key ({name}) than the one given: do not trust it."
    elif authentic:
        text = f"Every byte is as it was issued, and the key given ({name}) sealed it."
    else:
        text = (
            f"Every byte is as it was sealed by the key {name}; "
            "without that key from a source you trust, nobody knows whose."
        )
    if matches is None:
        return text + " The record of its facts could not be read."
    return text if matches else text + " The record inside does not have the digest that the pages print."


def _refused(reason: str, trusted: object, digest: bytes | None = None, name: str | None = None) -> Verification:
    authentic = None if trusted is None else False
    return Verification(False, authentic, digest.hex() if digest else None, name, reason, None, None)


def _places(pdf: bytes) -> list[tuple[int, int]] | None:
    """Return where the two seals stand, or None unless there is exactly one in each of the two known settings."""
    found = []
    for pattern in _PLACES:
        spans = [match.span() for match in pattern.finditer(pdf)]
        if len(spans) != 1:
            return None
        found += spans
    return sorted(found)


def _filled(pdf: bytes, places: list[tuple[int, int]], text: bytes) -> bytes:
    out = bytearray(pdf)
    for start, end in places:
        out[start:end] = text
    return bytes(out)


def _key_id(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:16]


def _record(pdf: bytes) -> tuple[dict[str, Any] | None, bool | None]:
    """Return the record attached to an intact report, and whether it has the digest named in the keywords."""
    try:
        reader = PdfReader(io.BytesIO(pdf))
        attached = reader.attachments[RECORD_NAME][0]
        record = json.loads(attached)
        keywords = "" if reader.metadata is None else str(reader.metadata.get("/Keywords", ""))
        stated = re.search(_FACTS + r"([0-9a-f]{64})", keywords)
        matches = (
            stated is not None and hashlib.sha256(attached).hexdigest() == stated[1] and canonical(record) == attached
        )
    except Exception:
        # A stranger's file may break a parser in any way; the seal is judged already, and the answer says that.
        return None, None
    return (record, matches) if isinstance(record, dict) else (None, None)
