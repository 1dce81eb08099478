# SPDX-License-Identifier: Apache-2.0
"""Store identities and find patients by them: keyed hashes of words, of beginnings of names, and of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, union
from sqlalchemy.orm import Session

from medhub.foundation import jobs
from medhub.foundation.app_context import AppContext
from medhub.foundation.keys import Keys
from medhub.records import identifier_index, vault
from medhub.records.models import Identity, IdentityTerm, Patient, PatientIdentifier
from medhub.records.name_folding import index_words, name_terms, query_alternatives, words_of

INDEX_VERSION = 1
_BATCH = 200
_MAX_QUERY_WORDS = 8


def store_identity(session: Session, keys: Keys, patient: Patient, identity: Mapping[str, str]) -> None:
    """Encrypt an identity and index it; an empty identity clears the stored one."""
    vault.write_identity(session, keys, patient, identity)
    _index_identity(session, keys, patient, identity)


def _index_identity(session: Session, keys: Keys, patient: Patient, identity: Mapping[str, str]) -> None:
    session.execute(delete(IdentityTerm).where(IdentityTerm.patient_id == patient.id))
    for term in sorted(_terms_of(identity)):
        hashed = hash_term(keys, patient.project_id, term)
        session.add(IdentityTerm(patient_id=patient.id, project_id=patient.project_id, term=hashed))
    identifier_index.write_identifiers(
        session,
        keys,
        patient.project_id,
        patient.id,
        origin="identity",
        number=identity.get("hospital_number", ""),
        birth_date=identity.get("birth_date", ""),
    )
    session.get_one(Identity, patient.id).index_version = INDEX_VERSION


def _terms_of(identity: Mapping[str, str]) -> set[str]:
    terms = name_terms(identity.get("name", ""))
    for key, value in identity.items():
        if key == "birth_date":
            year, _, rest = value.partition("-")
            month, _, day = rest.partition("-")
            terms |= {year + month + day, day + month + year, year}
        elif key != "name":
            terms |= {word for word in index_words(value) if len(word) > 1}
    return terms - {""}


def hash_term(keys: Keys, project_id: str, term: str) -> str:
    """The keyed hash of a word of an identity."""
    return keys.fingerprint("vault-terms", f"{project_id} {term}".encode())


def select_by_identity(keys: Keys, project_id: str, query: str) -> Select[Any]:
    """Select the ids of patients whose identity has every word of a query, or whose number it is."""

    def has(term: str) -> ColumnElement[bool]:
        hashed = hash_term(keys, project_id, term)
        return Patient.id.in_(select(IdentityTerm.patient_id).where(IdentityTerm.term == hashed))

    def has_alternatives(alternatives: list[list[str]]) -> ColumnElement[bool]:
        return or_(*(and_(*map(has, terms)) for terms in alternatives))

    words = query_alternatives(query)[:_MAX_QUERY_WORDS]
    conditions = [and_(*map(has_alternatives, words))] if words else []
    joined = ["".join(parts) for parts in words_of(query)][:_MAX_QUERY_WORDS]
    if len(joined) > 1:  # a name that is written with a space here and without one there
        conditions.append(has("".join(joined)))
        for i in range(len(joined) - 1):
            pair = [*joined[:i], joined[i] + joined[i + 1], *joined[i + 2 :]]
            conditions.append(and_(*(has(word) for word in pair if len(word) > 1)))
    matching = [select(Patient.id).where(Patient.project_id == project_id, or_(*conditions))] if conditions else []
    number = identifier_index.normalize_number(query)
    with_number = select(PatientIdentifier.patient_id).where(
        PatientIdentifier.project_id == project_id,
        PatientIdentifier.kind == "number",
        PatientIdentifier.key == identifier_index.hash_identifier(keys, project_id, "number", number),
    )
    return select(union(*matching, with_number).subquery().c[0])


def enqueue_reindexing(session: Session) -> bool:
    """Start a job if there are identities that an earlier version indexed."""
    if session.scalar(_outdated().limit(1)) is None:
        return False
    jobs.enqueue(session, "index-identities", {})
    return True


def _outdated() -> Select[str]:
    return select(Identity.patient_id).where(
        Identity.sealed_identity.is_not(None), Identity.index_version < INDEX_VERSION
    )


def index_identities(app: AppContext) -> None:
    """Index the identities that an earlier version indexed, in batches; it can be interrupted and started again."""
    while reindex_batch(app):
        pass


def reindex_batch(app: AppContext, *, everything_after: str | None = None) -> str | None:
    """Index the next identities, and return the last patient of the batch, or none when there is nothing left.

    Parameters
    ----------
    everything_after
        Index also those that are up to date, whose patients follow this id.
    """
    query = _outdated()
    if everything_after is not None:
        query = select(Identity.patient_id).where(
            Identity.sealed_identity.is_not(None), Identity.patient_id > everything_after
        )
    with app.database.writing() as session:
        patient_ids = list(session.scalars(query.order_by(Identity.patient_id).limit(_BATCH)))
        for patient_id in patient_ids:
            identity = vault.read_identity(app.keys, session.get(Identity, patient_id)) or {}
            _index_identity(session, app.keys, session.get_one(Patient, patient_id), identity)
    return patient_ids[-1] if patient_ids else None


def count_outdated(session: Session) -> int:
    """The number of identities that are not yet indexed by this version."""
    return session.scalar(select(func.count()).select_from(_outdated().subquery())) or 0
