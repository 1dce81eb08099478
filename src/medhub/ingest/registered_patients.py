# SPDX-License-Identifier: Apache-2.0
"""Find the registered patient whom a file names by a number that is written in another way, or by name and birth date.

A file joins a registered patient if the number is the same and the name agrees; nothing may contradict it. If there is
nothing to compare, or several patients match, a person decides.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from medhub.foundation.keys import Keys
from medhub.ingest.hashed_identifiers import HashedIdentifiers, find_contradiction
from medhub.ingest.refusals import PatientMismatch
from medhub.records import vault
from medhub.records.identifier_index import (
    find_by_identifier,
    hash_identifier,
    indexed_traits,
    normalize_date,
    normalize_number,
)
from medhub.records.models import Identity, Patient
from medhub.records.name_folding import names_agree
from medhub.science.arrivals.patient_identifiers import PatientIdentifiers


def find_registered(
    session: Session, keys: Keys, project_id: str, identifiers: PatientIdentifiers, hashed: HashedIdentifiers
) -> str | None:
    """The id of the patient with the number of a file, written in any way, if the name agrees; ``None`` if new.

    Raises ``PatientMismatch`` where a person must decide.
    """
    candidates = _with_number(session, keys, project_id, identifiers)
    if not candidates:
        _refuse_same_person(session, keys, project_id, identifiers)
        return None
    compared = {patient_id: _compare(session, keys, patient_id, identifiers, hashed) for patient_id in candidates}
    agreeing = [patient_id for patient_id, trait in compared.items() if trait == "agrees"]
    if len(agreeing) == 1:
        return agreeing[0]
    traits = set(compared.values())
    if len(candidates) > 1:
        reason = "several patients have this patient number"
    elif "unknown" in traits:
        reason = "a registered patient has its patient number, but there is no name to compare"
    else:
        different = {"name": "another name", "birth_date": "another birth date", "sex": "another sex"}
        reason = f"a registered patient has its patient number, but {different[next(iter(traits))]}"
    raise PatientMismatch(
        f"This file was not assigned by itself: {reason}. Say whose it is; nothing was merged.", candidates
    )


def contradicts_identity(session: Session, keys: Keys, patient_id: str, identifiers: PatientIdentifiers) -> str | None:
    """What in a file contradicts the registered identity of a patient: name, birth_date, or nothing."""
    known = vault.read_identity(keys, session.get(Identity, patient_id)) or {}
    if known.get("name") and identifiers.name and not names_agree(known["name"], identifiers.name):
        return "name"
    birth_date = normalize_date(identifiers.birth_date)
    if known.get("birth_date") and birth_date and normalize_date(known["birth_date"]) != birth_date:
        return "birth_date"
    return None


def _with_number(session: Session, keys: Keys, project_id: str, identifiers: PatientIdentifiers) -> list[str]:
    """The patients with the number of a file: registered ones, and those whose files name the same issuer."""
    entries = find_by_identifier(session, keys, project_id, "number", normalize_number(identifiers.patient_id))
    issuer = vault.fold(identifiers.issuer)
    issuer_hash = hash_identifier(keys, project_id, "issuer", issuer) if issuer else ""
    matching = [entry for entry in entries if entry.origin == "identity" or entry.issuer == issuer_hash]
    return list(dict.fromkeys(entry.patient_id for entry in matching))


def _compare(
    session: Session, keys: Keys, patient_id: str, identifiers: PatientIdentifiers, hashed: HashedIdentifiers
) -> str:
    """The trait that contradicts; otherwise "agrees" if the name agrees, and "unknown" if there is none to compare."""
    in_files = {kind: sorted(values) for kind, values in indexed_traits(session, patient_id).items()}
    contradiction = contradicts_identity(session, keys, patient_id, identifiers) or find_contradiction(
        in_files, hashed.traits
    )
    if contradiction is not None:
        return contradiction
    sex = session.get_one(Patient, patient_id).sex
    if sex in {"F", "M"} and identifiers.sex.upper() in {"F", "M"} and sex != identifiers.sex.upper():
        return "sex"
    known = vault.read_identity(keys, session.get(Identity, patient_id)) or {}
    named = bool(known.get("name")) or "name" in in_files
    return "agrees" if named and identifiers.name else "unknown"


def _refuse_same_person(session: Session, keys: Keys, project_id: str, identifiers: PatientIdentifiers) -> None:
    """Leave a file to a person if a registered patient without a number has its name and birth date."""
    if not identifiers.name:
        return
    same = []
    for entry in find_by_identifier(session, keys, project_id, "birth_date", normalize_date(identifiers.birth_date)):
        known = vault.read_identity(keys, session.get(Identity, entry.patient_id)) or {}
        if known.get("name") and not known.get("hospital_number") and names_agree(known["name"], identifiers.name):
            same.append(entry.patient_id)
    if same:
        raise PatientMismatch(
            "A registered patient without a hospital number has the name and birth date in this file. "
            "Say whether it is the same person; nothing was merged.",
            same,
        )
