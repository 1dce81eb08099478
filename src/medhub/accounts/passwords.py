# SPDX-License-Identifier: Apache-2.0
"""Passwords: Argon2id hashes, and what a password must be."""

from __future__ import annotations

import secrets
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from medhub.errors import Invalid
from medhub.foundation.ids import ALPHABET

FEWEST_CHARACTERS = 12
MOST_CHARACTERS = 256

# OWASP's and ASVS 5.0's floor for Argon2id: 19 MiB, 2 passes, 1 lane.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# Each hash takes 19 MiB and a core; a flood of guesses must not take all of both.
HASHING_AT_ONCE = 4
_hashing = threading.BoundedSemaphore(HASHING_AT_ONCE)
_NOBODY = _hasher.hash(secrets.token_hex(16))


def hash_password(password: str) -> str:
    """The Argon2id hash of a password that is fit to be one."""
    if len(password) < FEWEST_CHARACTERS:
        raise Invalid(f"A password needs at least {FEWEST_CHARACTERS} characters.", field="password")
    if len(password) > MOST_CHARACTERS:
        raise Invalid(f"A password has at most {MOST_CHARACTERS} characters.", field="password")
    with _hashing:
        return _hasher.hash(password)


def verify_password(password: str, password_hash: str | None) -> bool:
    """Whether a password belongs to a hash; without a hash it takes as long, and the answer is no."""
    if len(password) > MOST_CHARACTERS:
        return False
    try:
        with _hashing:
            return _hasher.verify(password_hash or _NOBODY, password) and password_hash is not None
    except (VerifyMismatchError, InvalidHashError):
        return False


def new_password() -> str:
    """A random password of 20 characters that can be read from paper (about 98 bits)."""
    characters = "".join(secrets.choice(ALPHABET.lower()) for _ in range(20))
    return "-".join(characters[i : i + 5] for i in range(0, 20, 5))
