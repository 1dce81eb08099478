# SPDX-License-Identifier: Apache-2.0
"""The master key, the keys derived from it, and authenticated encryption.

The master key never encrypts anything itself. Each purpose has a key of its own, derived by HKDF-SHA256 (RFC 5869)
with the purpose as information, so that a key for one purpose reveals nothing about the others.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from medhub.errors import Unavailable
from medhub.foundation.settings import Settings

KEY_BYTES = 32
NONCE_BYTES = 12


class MasterKeyMissing(Unavailable):
    """The master key does not exist at the configured path, or is not a valid key."""

    code = "master-key-missing"


class Keys:
    """The keys of this installation, derived on first use."""

    def __init__(self, master: bytes) -> None:
        if len(master) != KEY_BYTES:
            raise MasterKeyMissing("The master key must be 32 bytes, written as 64 hexadecimal digits.")
        self._master = master
        self._derived: dict[str, bytes] = {}

    def derive(self, purpose: str) -> bytes:
        """The 32-byte key for a purpose."""
        key = self._derived.get(purpose)
        if key is None:
            key = HKDF(SHA256(), KEY_BYTES, salt=None, info=b"medhub:" + purpose.encode()).derive(self._master)
            self._derived[purpose] = key
        return key

    def fingerprint(self, purpose: str, data: bytes) -> str:
        """A keyed hash (HMAC-SHA256) in hexadecimal; it identifies equal data and cannot be guessed without the key."""
        return hmac.new(self.derive(purpose), data, hashlib.sha256).hexdigest()

    def signing_key(self) -> Ed25519PrivateKey:
        """The key that signs the reports of this installation."""
        return Ed25519PrivateKey.from_private_bytes(self.derive("report-seal"))


def seal(key: bytes, plaintext: bytes, bound_to: str) -> bytes:
    """Encrypt with AES-256-GCM; decryption needs the key and the same ``bound_to``."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, bound_to.encode())


def unseal(key: bytes, sealed: bytes, bound_to: str) -> bytes:
    """Decrypt data encrypted by ``seal``; altered data or another ``bound_to`` is refused."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to.encode())
    except (InvalidTag, ValueError) as error:  # ValueError: too few bytes to hold a nonce
        raise Unavailable(
            "A record cannot be decrypted with the master key in use. Start the server with the key that encrypted it."
        ) from error


def new_key() -> bytes:
    """A random 32-byte key."""
    return secrets.token_bytes(KEY_BYTES)


def load_keys(settings: Settings, *, create: bool = True) -> Keys:
    """The keys of this installation; the first start writes a random master key that only its owner can read."""
    if settings.master_key is not None:
        return Keys(_parse(settings.master_key.get_secret_value(), "MEDHUB_MASTER_KEY"))
    path = settings.master_key_file or settings.keys_folder / "master.key"
    if not path.exists():
        if not create or settings.master_key_file is not None:
            raise MasterKeyMissing(
                f"There is no master key at {path}. Restore it from its backup; nothing was changed."
            )
        _create(path)
    return Keys(_parse(path.read_text(), str(path)))


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Written to a temporary file and linked: no process ever reads a partial key, even if this one is killed.
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(new_key().hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process of this installation has created it
            os.link(name, path)
    finally:
        os.unlink(name)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _parse(text: str, source: str) -> bytes:
    try:
        return bytes.fromhex(text.strip())
    except ValueError as error:
        raise MasterKeyMissing(f"{source} does not hold a key of 64 hexadecimal digits.") from error
