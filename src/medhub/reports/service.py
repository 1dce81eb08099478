# SPDX-License-Identifier: Apache-2.0
"""Use cases of reports: issue once, read, list."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.audit.service import AuditAct, record
from medhub.errors import NotFound
from medhub.foundation import jobs
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import serialize_writers
from medhub.foundation.events import publish
from medhub.foundation.sorting import sort_clause
from medhub.records import patient_blobs, vault
from medhub.records.models import Patient
from medhub.reports.case_facts import NotSigned, load_identity, load_report_facts
from medhub.reports.certificate import derive_credentials
from medhub.reports.document import render
from medhub.reports.events import ReportIssued
from medhub.reports.facts import (
    facts_digest,
    facts_record,
)
from medhub.reports.models import Report
from medhub.reports.pdf_signature import sign_report
from medhub.review.models import Case
from medhub.review.service import get_case, record_case


def enqueue_missing_reports(app: AppContext) -> int:
    """Let the report of each signed case be written that has none and no waiting job; return their number."""
    with app.database.writing() as session:
        query = select(jobs.Job).where(jobs.Job.kind == "issue-report", jobs.Job.state != "done")
        # By state: where a case has several jobs, one that is running or waiting counts, not one that failed.
        by_case = {job.arguments.get("case_id"): job for job in session.scalars(query.order_by(jobs.Job.state))}
        without = select(Case.id).outerjoin(Report, Report.case_id == Case.id)
        without = without.where(Case.signed_at.is_not(None), Report.case_id.is_(None))
        count = 0
        for case_id in session.scalars(without).all():
            job = by_case.get(case_id)
            if job is None:
                jobs.enqueue(session, "issue-report", {"case_id": case_id})
            elif job.state == "failed":
                jobs.retry_failed(session, job.id)
            else:
                continue
            count += 1
    return count


def issue_report(app: AppContext, case_id: str) -> None:
    """Write and sign the report of a signed case, with and without the identity; repeated, it is written once."""
    with app.database.reading() as session:
        case = session.get(Case, case_id)
        if case is None or case.signed_at is None or session.get(Report, case_id) is not None:
            return
        corrected = case.supersedes_id
    if corrected is not None:  # this report contains its digest, in whichever order the jobs run
        issue_report(app, corrected)
    with app.database.reading() as session:
        case = session.get(Case, case_id)
        if case is None:  # erased in the meantime
            return
        facts = load_report_facts(session, app, case)
        identity = load_identity(session, app, case.patient_id)
    content = facts_record(facts)
    credentials = derive_credentials(app.keys)
    plain = sign_report(render(facts), credentials, facts.issued_at)
    identified = plain
    if identity is not None:
        identified = sign_report(render(replace(facts, identity=identity)), credentials, facts.issued_at)
    with app.database.writing() as session:
        serialize_writers(session, f"patient {case.patient_id}")
        if session.get(Report, case_id) is not None or session.get(Case, case_id) is None:
            return
        blobs = {
            form: patient_blobs.store_blob(
                session,
                app,
                vault.seal_for(session, app.keys, case.patient_id, pdf, f"report {case_id} {form}"),
                patient_id=case.patient_id,
            )
            for form, pdf in (("identified", identified), ("plain", plain))
        }
        session.add(
            Report(
                case_id=case_id,
                issued_at=facts.issued_at,
                record=content,
                digest=facts_digest(content),
                identified_blob=blobs["identified"],
                plain_blob=blobs["plain"],
            )
        )
        record(
            session,
            AuditAct(
                "report.issue",
                "case",
                case_id,
                project_id=case.project_id,
                patient_id=case.patient_id,
                detail={"digest": facts_digest(content)},
            ),
        )
        publish(session, ReportIssued(case_id=case_id))


def read_report(app: AppContext, actor: Actor, case_id: str) -> tuple[Case, bytes]:
    """The report of a case; with the identity for roles that may read it, otherwise without."""
    with app.database.reading() as session:
        case = get_case(session, actor, case_id, "report.read")
        if case.signed_at is None:
            raise NotSigned("There is no report yet: the case is not signed.")
        issued = session.get(Report, case_id) is not None
    if not issued:
        issue_report(app, case_id)
    with app.database.reading() as session:
        report = session.get(Report, case_id)
        if report is None:
            raise NotFound("There is no report of this case.")
        identified = actor.may("identity.read", case.project_id)
        form, digest = ("identified", report.identified_blob) if identified else ("plain", report.plain_blob)
        record_case(session, actor, "report.read", case, form=form)
        sealed = app.blobs.get(digest)
        pdf = vault.unseal_for(session, app.keys, case.patient_id, sealed, f"report {case_id} {form}")
        return case, pdf


def list_reports(
    session: Session,
    actor: Actor,
    *,
    project_id: str | None,
    case_id: str | None,
    query: str | None,
    sort: str | None,
    offset: int,
    limit: int,
) -> tuple[list[tuple[Report, Case, str]], int]:
    """A page of issued reports with their cases and the patients' codes, by default newest first."""
    statement = (
        select(Report, Case, Patient.code)
        .join(Case, Case.id == Report.case_id)
        .join(Patient, Patient.id == Case.patient_id)
        .where(Case.project_id.in_(actor.projects("report.read", project_id)))
    )
    if case_id is not None:
        statement = statement.where(Report.case_id == case_id)
    if query:
        matching = func.lower(Patient.code).contains(query.lower(), autoescape=True)
        statement = statement.where(matching | Report.digest.startswith(query.lower(), autoescape=True))
    total = (
        session.scalar(select(func.count()).select_from(statement.with_only_columns(Report.case_id).subquery())) or 0
    )
    columns = {"issued_at": Report.issued_at, "patient_code": Patient.code}
    page = statement.order_by(sort_clause(sort, columns, "-issued_at"), Report.case_id).offset(offset).limit(limit)
    actor.record(session, "report.list", "report", None, found=total)
    return [(report, case, code) for report, case, code in session.execute(page)], total
