# SPDX-License-Identifier: Apache-2.0
"""Rules of a new or changed patient that involve the identity in the vault: duplicates, and the birth year."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.foundation.keys import Keys
from medhub.records import vault
from medhub.records.birth_dates import check_birth
from medhub.records.identifier_index import ConfirmedDuplicate, Duplicate, check_duplicates
from medhub.records.models import Identity, Patient


def record_duplicates(
    session: Session,
    keys: Keys,
    actor: Actor,
    patient: Patient,
    duplicates: Sequence[Duplicate],
    confirmed: ConfirmedDuplicate | None,
) -> None:
    """Record that a person confirmed a patient who looks like others; the reason may name people: it is encrypted."""
    if duplicates and confirmed is not None:
        vault.write_duplicate_reason(session, keys, patient.id, confirmed.reason)
        actor.record(
            session,
            "patient.confirm-duplicate",
            "patient",
            patient.id,
            project_id=patient.project_id,
            patient_id=patient.id,
            like=[duplicate.patient.id for duplicate in duplicates],
            agree=sorted({reason for duplicate in duplicates for reason in duplicate.reasons}),
        )


def resolve_birth_year(
    session: Session, keys: Keys, patient: Patient, birth_year: int | None, identity: Mapping[str, str] | None
) -> int | None:
    """The birth year after a change; a changed birth date replaces a year that is not given with it."""
    known = vault.read_identity(keys, session.get(Identity, patient.id)) or {}
    birth_date = (known if identity is None else identity).get("birth_date")
    if birth_year is None:
        if identity is None or not birth_date or birth_date == known.get("birth_date"):
            return patient.birth_year
        return check_birth(None, birth_date)
    if birth_year == patient.birth_year and birth_date == known.get("birth_date"):
        return birth_year
    return check_birth(birth_year, birth_date)


def check_changed_identity(
    session: Session, keys: Keys, patient: Patient, identity: Mapping[str, str], duplicate: ConfirmedDuplicate | None
) -> list[Duplicate]:
    """Compare with other patients if number, name or birth date change."""
    known = vault.read_identity(keys, session.get(Identity, patient.id)) or {}
    if all(known.get(key) == identity.get(key) for key in ("hospital_number", "name", "birth_date")):
        return []
    return check_duplicates(session, keys, patient.project_id, identity, patient.id, duplicate)
