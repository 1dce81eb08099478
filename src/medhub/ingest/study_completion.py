# SPDX-License-Identifier: Apache-2.0
"""Studies that come in piece by piece: they have settled, and the flow starts, when nothing more comes for a while."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from medhub.foundation import clock, jobs
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import serialize_writers
from medhub.foundation.events import publish
from medhub.ingest.events import StudySettled
from medhub.ingest.ingest_settings import settings_of
from medhub.records.models import Study


def schedule_completion(session: Session, study: Study, settle_s: int) -> None:
    """Note that a study has got something, and see to it that it is looked at again after a quiet while."""
    until = clock.now() + timedelta(seconds=settle_s)
    if study.settles_at is None:
        jobs.enqueue(session, "settle-study", {"study_id": study.id}, run_after=until)
    study.settles_at = until


def complete_study(app: AppContext, study_id: str) -> None:
    """Announce that a study has settled, or wait on where more has come meanwhile."""
    with app.database.writing() as session:
        patient_id = session.scalar(select(Study.patient_id).where(Study.id == study_id))
        serialize_writers(session, f"patient {patient_id}")  # whoever stores waits, or has stored
        study = session.get(Study, study_id)
        if study is None or study.settles_at is None:
            return
        # A later time than the longest wait comes from a clock that was ahead.
        longest = timedelta(seconds=settings_of(session, study.project_id).settle_s)
        if study.settles_at > clock.now() and not clock.is_ahead(study.settles_at, longest):
            jobs.enqueue(session, "settle-study", {"study_id": study.id}, run_after=study.settles_at)
            return
        study.settles_at = None
        publish(session, StudySettled(study_id=study.id))
