# SPDX-License-Identifier: Apache-2.0
"""The index of patient identifiers: keyed hashes of numbers and birth dates, by which one person is recognized.

Registration, search and files that name their patient use the same index. A number is compared without case, spaces,
hyphens and leading zeros; patients are alike if they have the same number, or the same name and birth date.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from medhub.errors import Conflict
from medhub.foundation.database import serialize_writers
from medhub.foundation.keys import Keys
from medhub.foundation.visible_text import require_text
from medhub.records import vault
from medhub.records.models import Identity, Patient, PatientIdentifier, PatientIdentifierIndex
from medhub.records.name_folding import names_agree

Origin = Literal["identity", "file"]
_SEPARATED_DATE = re.compile(r"(\d{4})\s*([./-])\s*(\d{1,2})\s*\2\s*(\d{1,2})", re.ASCII)
_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")


class DuplicatePatient(Conflict):
    """A patient with the same hospital number, or the same name and birth date, is registered already."""

    code = "duplicate-patient"
    title = "This patient may be registered already"


@dataclass(frozen=True)
class Duplicate:
    """A patient who may be the same person, and what agrees."""

    patient: Patient
    reasons: tuple[str, ...]  # hospital_number, name_and_birth_date


@dataclass(frozen=True)
class ConfirmedDuplicate:
    """A person's statement that patients who look alike are different people, or that both records are needed."""

    reason: str


def normalize_number(number: str) -> str:
    """A patient number without case, spaces, punctuation and leading zeros; digits of all scripts become 0 to 9."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", number).casefold())
    digits = (str(unicodedata.decimal(c)) if c.isdecimal() else c for c in folded)
    text = "".join(c for c in digits if c.isalnum())
    return _LEADING_ZEROS.sub("", text) or "".join(folded.split())


def normalize_date(date: str) -> str:
    """A date as YYYYMMDD; old files write YYYY.MM.DD (PS3.5, 6.2), and others use hyphens or slashes."""
    parts = _SEPARATED_DATE.fullmatch(date.strip())
    return f"{parts[1]}{int(parts[3]):02}{int(parts[4]):02}" if parts is not None else date.strip()


def hash_identifier(keys: Keys, project_id: str, kind: str, value: str) -> str:
    """The keyed hash of a normalized identifier."""
    return keys.fingerprint("patient-identifiers", f"{project_id} {kind} {value}".encode())


def write_identifiers(
    session: Session,
    keys: Keys,
    project_id: str,
    patient_id: str,
    *,
    origin: Origin,
    number: str = "",
    issuer: str = "",
    birth_date: str = "",
) -> None:
    """Add a number and a birth date to the index; those of an identity replace the earlier ones of the identity."""
    if origin == "identity":
        session.execute(
            delete(PatientIdentifier).where(
                PatientIdentifier.patient_id == patient_id, PatientIdentifier.origin == "identity"
            )
        )
    issuer_hash = hash_identifier(keys, project_id, "issuer", vault.fold(issuer)) if vault.fold(issuer) else ""
    for kind, value, its_issuer in (
        ("number", normalize_number(number), issuer_hash),
        ("birth_date", normalize_date(birth_date), ""),
    ):
        if value:
            key = hash_identifier(keys, project_id, kind, value)
            row = PatientIdentifier(
                project_id=project_id, kind=kind, key=key, patient_id=patient_id, issuer=its_issuer, origin=origin
            )
            session.merge(row)
    session.flush()


def find_by_identifier(session: Session, keys: Keys, project_id: str, kind: str, value: str) -> list[PatientIdentifier]:
    """The entries with a number or birth date."""
    if not value:
        return []
    key = hash_identifier(keys, project_id, kind, value)
    query = select(PatientIdentifier).where(
        PatientIdentifier.project_id == project_id, PatientIdentifier.kind == kind, PatientIdentifier.key == key
    )
    return list(session.scalars(query.order_by(PatientIdentifier.patient_id)))


def _lock_identifiers(session: Session, keys: Keys, project_id: str, number: str, birth_date: str) -> None:
    """Let one transaction at a time register a patient with a number, and one with a birth date."""
    for kind, value in (("number", number), ("birth_date", birth_date)):  # always in this order: no deadlock
        if value:
            serialize_writers(session, f"source {hash_identifier(keys, project_id, kind, value)}")


def find_duplicates(
    session: Session, keys: Keys, project_id: str, identity: Mapping[str, str], patient_id: str | None = None
) -> list[Duplicate]:
    """The other patients of a project with the number of an identity, or with its name and birth date."""
    number, name = identity.get("hospital_number", ""), identity.get("name", "")
    birth_date = normalize_date(identity.get("birth_date", ""))
    reasons: dict[str, list[str]] = {}
    for entry in find_by_identifier(session, keys, project_id, "number", normalize_number(number)):
        reasons.setdefault(entry.patient_id, []).append("hospital_number")
    if known := _find_indexed_file(session, keys, project_id, number):
        reasons.setdefault(known, []).append("hospital_number")
    if name and birth_date:
        for entry in find_by_identifier(session, keys, project_id, "birth_date", birth_date):
            if _has_name(session, keys, project_id, entry.patient_id, name):
                reasons.setdefault(entry.patient_id, []).append("name_and_birth_date")
    reasons.pop(patient_id or "", None)
    patients = [session.get_one(Patient, duplicate_id) for duplicate_id in reasons]
    return [
        Duplicate(patient, tuple(dict.fromkeys(reasons[patient.id])))
        for patient in sorted(patients, key=lambda patient: (patient.created_at, patient.id))
    ]


def check_duplicates(
    session: Session,
    keys: Keys,
    project_id: str,
    identity: Mapping[str, str],
    patient_id: str | None,
    confirmed: ConfirmedDuplicate | None,
) -> list[Duplicate]:
    """Raise if a patient like this one is registered, unless a person has confirmed it with a reason."""
    if confirmed is not None:
        require_text(confirmed.reason, "Say why a second record of this patient is needed.", "duplicate_reason")
    number, birth_date = normalize_number(identity.get("hospital_number", "")), identity.get("birth_date", "")
    _lock_identifiers(session, keys, project_id, number, normalize_date(birth_date))
    duplicates = find_duplicates(session, keys, project_id, identity, patient_id)
    if duplicates and confirmed is None:
        raise DuplicatePatient(
            f"{_describe(duplicates)} Open that record and use it, or correct the data. If it is another person, "
            "confirm this with a reason. Nothing was saved.",
            field="identity.hospital_number" if "hospital_number" in duplicates[0].reasons else "identity.name",
            duplicates=[
                {"id": duplicate.patient.id, "code": duplicate.patient.code, "reasons": list(duplicate.reasons)}
                for duplicate in duplicates
            ],
        )
    return duplicates


def _describe(duplicates: Sequence[Duplicate]) -> str:
    by_number = [duplicate.patient.code for duplicate in duplicates if "hospital_number" in duplicate.reasons]
    by_name = [duplicate.patient.code for duplicate in duplicates if "hospital_number" not in duplicate.reasons]
    sentences = []
    if by_number:
        sentences.append(f"{_join(by_number)} {'has' if len(by_number) == 1 else 'have'} this hospital number already.")
    if by_name:
        verb = "has" if len(by_name) == 1 else "have"
        sentences.append(f"{_join(by_name)} {verb} the same name and birth date.")
    return " ".join(sentences)


def _join(codes: Sequence[str]) -> str:
    return ", ".join(codes[:5]) + (f" and {len(codes) - 5} more" if len(codes) > 5 else "")


def trait_hash(keys: Keys, project_id: str, kind: str, text: str) -> str:
    """The keyed hash of a trait (a word of a name, a birth date, a sex) in a file."""
    return keys.fingerprint("sources", f"{project_id} {kind} {text}".encode())


def indexed_traits(session: Session, patient_id: str) -> dict[str, set[str]]:
    """The hashes of the names, birth dates and sexes in the files of a patient."""
    traits: dict[str, set[str]] = {}
    query = select(PatientIdentifierIndex).where(
        PatientIdentifierIndex.patient_id == patient_id, PatientIdentifierIndex.kind == "patient"
    )
    for entry in session.scalars(query):
        for kind, values in entry.traits.items():
            traits.setdefault(kind, set()).update(values)
    return traits


def _has_name(session: Session, keys: Keys, project_id: str, patient_id: str, name: str) -> bool:
    known = vault.read_identity(keys, session.get(Identity, patient_id)) or {}
    if known.get("name") and names_agree(known["name"], name):
        return True
    in_files = indexed_traits(session, patient_id).get("name", set())
    words = {trait_hash(keys, project_id, "name", word) for word in vault.fold(name).split()}
    return bool(in_files and words) and (words <= in_files or in_files <= words)


def _find_indexed_file(session: Session, keys: Keys, project_id: str, number: str) -> str | None:
    """The patient of files with exactly this number and no issuer, who was indexed by an earlier version."""
    if not number:
        return None
    entry = session.get(
        PatientIdentifierIndex, (project_id, "patient", trait_hash(keys, project_id, "patient", f" {number}"))
    )
    return entry.patient_id if entry is not None else None
