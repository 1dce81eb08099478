# SPDX-License-Identifier: Apache-2.0
"""One person as de-identified objects have them: a code, a shift of dates, and UIDs, all from the project's key."""

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
    """Whose objects these are.

    Attributes
    ----------
    key
        Secret of the project, at least 16 bytes.
    code
        Stands for name and number.
    days
        By which dates are shifted; negative, so that nothing lies in the future.
    scope
        Within what a received UID means the same: the project where it is empty, else one person in it, so that
        nobody can place an object in another person's study.
    """

    key: bytes
    code: str
    days: int
    scope: tuple[str, ...] = ()

    def uid(self, received: str) -> str:
        """The UID that stands for a received one, wherever in its scope it is met."""
        return keyed_uid(self.key, "dicom", *self.scope, received)

    def replace_uid(self, received: str) -> str:
        """The UID to write for a received one: the same for a UID of the standard, else the one that stands for it."""
        received = received.strip("\0 ")
        return received if not received or is_standard(received) else self.uid(received)

    def alias(self, kind: str, value: str) -> str:
        """A short name that stands for a value, the same each time."""
        return f"{kind}-{_drawn(self.key, kind, value.strip())[:8]}"


def name_of(key: bytes, kind: str, data: bytes | mmap) -> str:
    """A name for a file of which nothing is known but its bytes; the same bytes have the same by the same key."""
    return f"{kind}-{_drawn(key, kind, hashlib.sha256(data).hexdigest())[:20]}"


def subject_of(key: bytes, patient_id: str, issuer: str, dates: Dates) -> Pseudonym:
    """Make the code and the shift of a person.

    Parameters
    ----------
    key
        Secret of the project, at least 16 bytes.
    patient_id, issuer
        As received: the same person has the same by each route. Spaces around them do not count.
    dates
        How far dates may be shifted.

    Returns
    -------
    Subject

    Raises
    ------
    ValueError
        When the key is too short to be a secret.
    """
    if len(key) < 16:
        raise ValueError("the key must have at least 16 bytes")
    who = (patient_id.strip(), issuer.strip())
    return Pseudonym(key, f"P-{_drawn(key, 'patient', *who)[:12]}", days_of(key, who, dates))


def days_of(key: bytes, who: tuple[str, ...], dates: Dates) -> int:
    """Draw by how many days the dates of a person are shifted: back, and never by 0."""
    step = 7 if dates.weekdays else 1
    least = _LEAST_DAYS // step
    choices = dates.most_days // step - least + 1
    drawn = int.from_bytes(_mac(key, "dates", *who)[:8], "big") % choices
    return -(least + drawn) * step


def _drawn(key: bytes, *parts: str) -> str:
    return b32encode(_mac(key, *parts)).decode()


def _mac(key: bytes, *parts: str) -> bytes:
    message = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    return hmac.digest(key, message, hashlib.sha256)
