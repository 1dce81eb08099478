# SPDX-License-Identifier: Apache-2.0
"""The identity vault: one random key per patient, encrypted with the master key; deleting it erases the person.

All other data that identifies the person (an issued report, a quarantined file) is encrypted with the same key, so
that the deletion of the key erases all of it, including copies in backups of files. The encrypted key is stored in the
database. A backup of the database from before an erasure still contains the key and can be decrypted with the master
key until that backup is destroyed.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping

from sqlalchemy.orm import Session

from medhub.errors import NotFound
from medhub.foundation.keys import Keys, new_key, seal, unseal
from medhub.records.models import Identity, Patient


class VaultKeyDestroyed(NotFound):
    """The key of the patient was deleted, so its data cannot be decrypted."""

    code = "vault-key-destroyed"


def create_key(session: Session, keys: Keys, patient_id: str) -> Identity:
    """Create the key of a patient."""
    row = Identity(patient_id=patient_id, sealed_key=seal(keys.derive("vault"), new_key(), patient_id))
    session.add(row)
    return row


def write_identity(session: Session, keys: Keys, patient: Patient, identity: Mapping[str, str]) -> None:
    """Encrypt an identity; an empty one clears the stored one. ``identity_search.store_identity`` also indexes it."""
    row = session.get_one(Identity, patient.id)
    row.index_version = 0  # the caller writes its terms and identifiers
    text = json.dumps(dict(identity), ensure_ascii=False, sort_keys=True)
    row.sealed_identity = seal(_key(keys, row), text.encode(), f"identity {patient.id}") if identity else None


def read_identity(keys: Keys, row: Identity | None) -> dict[str, str] | None:
    """Decrypt an identity, if there is one."""
    if row is None or row.sealed_identity is None:
        return None
    identity: dict[str, str] = json.loads(unseal(_key(keys, row), row.sealed_identity, f"identity {row.patient_id}"))
    return identity


def write_duplicate_reason(session: Session, keys: Keys, patient_id: str, reason: str) -> None:
    """Encrypt why a patient is no duplicate of another."""
    row = _row(session, patient_id)
    row.sealed_duplicate_reason = seal(_key(keys, row), reason.strip().encode(), f"duplicate reason {patient_id}")


def read_duplicate_reason(keys: Keys, row: Identity | None) -> str | None:
    """Decrypt why a patient is no duplicate of another, if a person said so."""
    if row is None or row.sealed_duplicate_reason is None:
        return None
    return unseal(_key(keys, row), row.sealed_duplicate_reason, f"duplicate reason {row.patient_id}").decode()


def seal_for(session: Session, keys: Keys, patient_id: str, data: bytes, bound_to: str) -> bytes:
    """Encrypt bytes that identify a patient with the patient's key."""
    return seal(_key(keys, _row(session, patient_id)), data, bound_to)


def unseal_for(session: Session, keys: Keys, patient_id: str, sealed: bytes, bound_to: str) -> bytes:
    """Decrypt bytes encrypted by ``seal_for``."""
    return unseal(_key(keys, _row(session, patient_id)), sealed, bound_to)


def fold(text: str) -> str:
    """Normalize a text for comparison: no case, accents or punctuation. Stored hashes of files depend on it."""
    # Normalized before and after casefolding, because of characters such as 𝐀 and ŉ.
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    letters = (c if c.isalnum() or unicodedata.category(c) in {"Mc", "Mn"} else " " for c in decomposed)
    return " ".join("".join(c for c in letters if not unicodedata.combining(c)).split())


def _row(session: Session, patient_id: str) -> Identity:
    row = session.get(Identity, patient_id)
    if row is None:
        raise VaultKeyDestroyed("This patient was erased.")
    return row


def _key(keys: Keys, row: Identity) -> bytes:
    return unseal(keys.derive("vault"), row.sealed_key, row.patient_id)
