# SPDX-License-Identifier: Apache-2.0
"""The identity vault: one random key a patient, sealed under the master key; destroying it erases the person.

Beside the identity, whatever else names the person (an issued report, a quarantined file) is sealed under the same
key, so that one act erases all of it: copies of those bytes in any backup open with nothing any more. The key itself
lies, sealed, in the database. A backup of the database from before an erasure still holds it and opens with the master
key, until that backup is destroyed in its turn.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping

from sqlalchemy import delete
from sqlalchemy.orm import Session

from medhub.errors import NotFound
from medhub.foundation.keys import Keys, new_key, seal, unseal
from medhub.records.models import Identity, IdentityTerm, Patient

SHORTEST_TERM = 2


class VaultKeyDestroyed(NotFound):
    """The patient's key is gone, and with it all that was sealed under it."""

    code = "vault-key-destroyed"


def create_key(session: Session, keys: Keys, patient_id: str) -> Identity:
    """Give a patient a key."""
    row = Identity(patient_id=patient_id, sealed_key=seal(keys.derive("vault"), new_key(), patient_id))
    session.add(row)
    return row


def write_identity(session: Session, keys: Keys, patient: Patient, identity: Mapping[str, str]) -> None:
    """Seal an identity, and note the keyed hashes of its words; an empty one clears what was there."""
    row = session.get_one(Identity, patient.id)
    text = json.dumps(dict(identity), ensure_ascii=False, sort_keys=True)
    row.sealed_identity = seal(_key(keys, row), text.encode(), f"identity {patient.id}") if identity else None
    session.execute(delete(IdentityTerm).where(IdentityTerm.patient_id == patient.id))
    for term in sorted({t for value in identity.values() for t in terms(keys, patient.project_id, value)}):
        session.add(IdentityTerm(patient_id=patient.id, project_id=patient.project_id, term=term))


def read_identity(keys: Keys, row: Identity | None) -> dict[str, str] | None:
    """Open an identity, if there is one."""
    if row is None or row.sealed_identity is None:
        return None
    opened: dict[str, str] = json.loads(unseal(_key(keys, row), row.sealed_identity, f"identity {row.patient_id}"))
    return opened


def seal_for(session: Session, keys: Keys, patient_id: str, data: bytes, bound_to: str) -> bytes:
    """Seal bytes that name a patient, under the patient's key."""
    return seal(_key(keys, _row(session, patient_id)), data, bound_to)


def unseal_for(session: Session, keys: Keys, patient_id: str, sealed: bytes, bound_to: str) -> bytes:
    """Open what ``seal_for`` sealed."""
    return unseal(_key(keys, _row(session, patient_id)), sealed, bound_to)


def terms(keys: Keys, project_id: str, text: str) -> list[str]:
    """Keyed hashes of a text and of each of its words, without regard to case and accents."""
    folded = fold(text)
    words = {folded, folded.replace(" ", ""), *folded.split()}
    return [
        keys.fingerprint("vault-terms", f"{project_id} {word}".encode()) for word in words if len(word) >= SHORTEST_TERM
    ]


def fold(text: str) -> str:
    """A text as it is compared: without case, accents and marks between words."""
    # Once more after casefolding, and casefolding after decomposing: 𝐀 is an A only then, ŉ an n with a mark.
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
