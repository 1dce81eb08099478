# SPDX-License-Identifier: Apache-2.0
"""Use cases of arrivals: list and count them, and destroy expired ones. Files are ingested by ``pipeline``."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.foundation import clock, pagination
from medhub.foundation.app_context import AppContext
from medhub.ingest.ingest_file import Outcome
from medhub.ingest.models import Arrival
from medhub.ingest.quarantine import destroy_sealed
from medhub.records.models import Patient


def list_arrivals(
    session: Session,
    actor: Actor,
    *,
    project_id: str | None,
    patient_id: str | None,
    outcome: Outcome | None,
    offset: int,
    limit: int,
) -> tuple[list[tuple[Arrival, str | None]], int]:
    """A page of arrivals with the codes of their patients, newest first."""
    query = (
        select(Arrival, Patient.code)
        .outerjoin(Patient, Patient.id == Arrival.patient_id)
        .where(Arrival.project_id.in_(actor.projects("arrival.read", project_id)))
    )
    if patient_id is not None:
        query = query.where(Arrival.patient_id == patient_id)
    if outcome is not None:
        query = query.where(Arrival.outcome == outcome)
    total = pagination.count_rows(session, query)
    page = session.execute(query.order_by(Arrival.created_at.desc(), Arrival.id).offset(offset).limit(limit))
    actor.record(session, "arrival.list", "patient", patient_id, patient_id=patient_id, found=total)
    return [(arrival, code) for arrival, code in page], total


def count_quarantined(session: Session, project_ids: frozenset[str]) -> int:
    """The number of quarantined files."""
    return (
        session.scalar(
            select(func.count())
            .select_from(Arrival)
            .where(Arrival.project_id.in_(project_ids), Arrival.outcome == "quarantined")
        )
        or 0
    )


def destroy_expired(app: AppContext) -> int:
    """Destroy quarantined bytes that have expired; the rows with their reasons stay."""
    with app.database.writing() as session:
        expired = session.scalars(
            select(Arrival).where(Arrival.expires_at < clock.now(), Arrival.sealed_bytes.is_not(None)).limit(1000)
        )
        return destroy_sealed(session, list(expired))
