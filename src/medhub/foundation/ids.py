# SPDX-License-Identifier: Apache-2.0
"""Identifiers: UUIDs that sort by creation time, short codes that people read aloud, and DICOM UIDs."""

from __future__ import annotations

import secrets
import time
import uuid

# Without 0, O, 1, I, L and U, which are easily confused or form words by accident.
ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_id() -> str:
    """A UUID of version 7 (RFC 9562) as 32 hexadecimal digits: they sort by creation time."""
    milliseconds = time.time_ns() // 1_000_000
    random = secrets.randbits(74)
    value = (
        (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    )
    return f"{value:032x}"


def new_code(prefix: str, length: int = 6) -> str:
    """A code that people read to each other, such as ``P-7F3KQA``."""
    return f"{prefix}-" + "".join(secrets.choice(ALPHABET) for _ in range(length))


def new_uid() -> str:
    """A DICOM UID made from a random UUID (PS3.5 section B.2)."""
    return f"2.25.{uuid.uuid4().int}"
