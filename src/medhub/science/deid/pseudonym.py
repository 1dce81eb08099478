# SPDX-License-Identifier: Apache-2.0
"""Pseudonym of a patient: a code, a date shift, and UIDs, all derived from the key of the project."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b32encode
from dataclasses import dataclass
from mmap import mmap

from medhub.science.deid.profile import Dates
from medhub.science.deid.uids import is_standard, keyed_uid

_LEAST_DAYS = 7


@dataclass(frozen=True)
class Pseudonym:
    """The pseudonym of one patient.

    Attributes
    ----------
    key
        Secret of the project, at least 16 bytes.
    code
        Replaces name and patient ID.
    days
        Shift of dates; negative, so that no date lies in the future.
    scope
        Within which a received UID has one replacement: the project if empty, otherwise one patient of it, so that
        an object cannot be added to the study of another patient.
    """

    key: bytes
    code: str
    days: int
    scope: tuple[str, ...] = ()

    def uid(self, received: str) -> str:
        """Replace a received UID; the same UID has the same replacement everywhere in the scope."""
        return keyed_uid(self.key, "dicom", *self.scope, received)

    def replace_uid(self, received: str) -> str:
        """Replace a received UID unless it is one of the standard."""
        received = received.strip("\0 ")
        return received if not received or is_standard(received) else self.uid(received)

    def alias(self, kind: str, value: str) -> str:
        """Make a short name for a value; the same value has the same name."""
        return f"{kind}-{_keyed_code(self.key, kind, value.strip())[:8]}"


def name_of(key: bytes, kind: str, data: bytes | mmap) -> str:
    """Make a file name from the bytes of a file; the same bytes and key give the same name."""
    return f"{kind}-{_keyed_code(key, kind, hashlib.sha256(data).hexdigest())[:20]}"


def subject_of(key: bytes, patient_id: str, issuer: str, dates: Dates) -> Pseudonym:
    """Derive the pseudonym of a patient.

    Parameters
    ----------
    key
        Secret of the project, at least 16 bytes.
    patient_id, issuer
        As received; surrounding spaces are ignored.
    dates
        Limits of the date shift.

    Returns
    -------
    Pseudonym

    Raises
    ------
    ValueError
        When the key is too short to be a secret.
    """
    if len(key) < 16:
        raise ValueError("the key must have at least 16 bytes")
    patient = (patient_id.strip(), issuer.strip())
    return Pseudonym(key, f"P-{_keyed_code(key, 'patient', *patient)[:12]}", days_of(key, patient, dates))


def days_of(key: bytes, patient: tuple[str, ...], dates: Dates) -> int:
    """Derive by how many days the dates of a patient are shifted: negative and never 0."""
    step = 7 if dates.weekdays else 1
    least = _LEAST_DAYS // step
    choices = dates.most_days // step - least + 1
    number = int.from_bytes(_mac(key, "dates", *patient)[:8], "big") % choices
    return -(least + number) * step


def _keyed_code(key: bytes, *parts: str) -> str:
    return b32encode(_mac(key, *parts)).decode()


def _mac(key: bytes, *parts: str) -> bytes:
    message = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    return hmac.digest(key, message, hashlib.sha256)
