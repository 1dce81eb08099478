# SPDX-License-Identifier: Apache-2.0
"""Replacement of UIDs by keyed ones, which are the same on every machine with the same key."""

from __future__ import annotations

import hashlib
import hmac

from pydicom._uid_dict import UID_dictionary

from medhub.science.imaging.dicom.object_kinds import NEWER_CLASSES

"""Classes of PS3.4, B.5, that are newer than the dictionary of pydicom 3.0."""


def is_standard(uid: str) -> bool:
    """Tell whether a UID is defined by the standard (PS3.6, A), so that it identifies nobody."""
    return uid in UID_dictionary or uid in NEWER_CLASSES


def keyed_uid(key: bytes, *parts: str) -> str:
    """Make a UID that replaces a received identifier.

    The UID is "2.25." and the decimal number of a UUID (PS3.5, B.2), whose bits are the first 128 of an HMAC-SHA-256
    with the version and variant of a UUID version 8 (RFC 9562, 5.8). Without the key nobody can tell which received
    identifier it stands for; with the key the same parts give the same UID at every time and place.

    Parameters
    ----------
    key
        Secret of the project, at least 16 bytes.
    *parts
        What the UID stands for, for example a patient code and a received UID. The parts are kept apart: ("a", "bc")
        and ("ab", "c") give different UIDs.

    Returns
    -------
    str
        A UID of at most 44 characters.

    Raises
    ------
    ValueError
        When the key is too short to be a secret.
    """
    if len(key) < 16:
        raise ValueError("the key for UIDs must have at least 16 bytes")
    message = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    number = int.from_bytes(hmac.digest(key, message, hashlib.sha256)[:16], "big")
    number = number & ~(0xF << 76) | 0x8 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return f"2.25.{number}"
