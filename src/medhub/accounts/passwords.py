# SPDX-License-Identifier: Apache-2.0
"""Passwords: Argon2id hashes, and rules for new passwords."""

from __future__ import annotations

import secrets
import threading
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from medhub.errors import Invalid
from medhub.foundation.ids import ALPHABET

MIN_CHARACTERS = 12
MAX_CHARACTERS = 256

# The minimum of OWASP and ASVS 5.0 for Argon2id: 19 MiB, 2 passes, 1 lane.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# Each hash needs 19 MiB and a core; many attempts at the same time must not use all of them.
CONCURRENT_HASHES = 4
_hash_slots = threading.BoundedSemaphore(CONCURRENT_HASHES)
_DUMMY_HASH = _hasher.hash(secrets.token_hex(16))


def hash_password(password: str) -> str:
    """Hash a new password with Argon2id, in the form that every keyboard gives (NFKC), if its length is allowed."""
    password = unicodedata.normalize("NFKC", password)
    if len(password) < MIN_CHARACTERS:
        raise Invalid(f"A password needs at least {MIN_CHARACTERS} characters.", field="password")
    if len(password) > MAX_CHARACTERS:
        raise Invalid(f"A password has at most {MAX_CHARACTERS} characters.", field="password")
    with _hash_slots:
        return _hasher.hash(password)


def verify_password(password: str, password_hash: str | None) -> bool:
    """Whether a password matches a hash; without a hash the answer is no, after the same time."""
    normal = unicodedata.normalize("NFKC", password)
    if len(normal) > MAX_CHARACTERS:
        return False
    # Hashes of earlier versions are of the characters as they were typed.
    fits = [_verify(form, password_hash) for form in dict.fromkeys((normal, password))]
    return any(fits)


def _verify(password: str, password_hash: str | None) -> bool:
    try:
        with _hash_slots:
            return _hasher.verify(password_hash or _DUMMY_HASH, password) and password_hash is not None
    except (VerifyMismatchError, InvalidHashError):
        return False


def new_password() -> str:
    """A random password of 20 characters that is easy to read from paper (about 98 bits)."""
    characters = "".join(secrets.choice(ALPHABET.lower()) for _ in range(20))
    return "-".join(characters[i : i + 5] for i in range(0, 20, 5))
