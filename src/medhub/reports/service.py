# SPDX-License-Identifier: Apache-2.0
"""Issuing the report of a signed case, once, and handing it out."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from PIL import Image as Picture
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub import __version__
from medhub.accounts.actor import Actor
from medhub.accounts.models import Project
from medhub.audit.service import AuditAct, record
from medhub.classification.registry import get_classifier
from medhub.classification.service import read_evidence
from medhub.errors import Conflict, NotFound
from medhub.foundation import clock
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import serialize_writers
from medhub.foundation.events import publish
from medhub.foundation.sorting import sort_clause
from medhub.records import field_definitions, isolated_calls, vault
from medhub.records import service as records
from medhub.records.models import Identity as IdentityRow
from medhub.records.models import Image, Patient, Study
from medhub.records.pathway import get_pathway
from medhub.reports.certificate import derive_credentials
from medhub.reports.document import render
from medhub.reports.events import ReportIssued
from medhub.reports.facts import (
    ImageFinding,
    PatientIdentity,
    Person,
    ReportEvent,
    ReportFacts,
    Superseded,
    facts_digest,
    facts_record,
)
from medhub.reports.models import Report
from medhub.reports.pdf_signature import sign_report
from medhub.review import queries
from medhub.review.models import Case
from medhub.review.service import case_history, get_case, record_case
from medhub.science.inference.card import ClassifierNotFound, spell_label
from medhub.science.inference.explanation import overlay

# The pages print pictures no larger than this.
PICTURE_SIDE = 480


class NotSigned(Conflict):
    """There is no report yet: the case is not signed."""

    code = "not-signed"


def issue(app: AppContext, case_id: str) -> None:
    """Write the report of a signed case, with and without the identity; asked twice, it is written once."""
    with app.database.reading() as session:
        case = session.get(Case, case_id)
        if case is None or case.signed_at is None or session.get(Report, case_id) is not None:
            return
        corrected = case.supersedes_id
    if corrected is not None:  # its digest stands in this one, whichever job comes first
        issue(app, corrected)
    with app.database.reading() as session:
        case = session.get(Case, case_id)
        if case is None:  # erased meanwhile
            return
        facts = _facts(session, app, case)
        identity = _identity(session, app, case.patient_id)
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
            form: records.store_blob(
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


def _facts(session: Session, app: AppContext, case: Case) -> ReportFacts:
    patient = session.get_one(Patient, case.patient_id)
    study = session.get_one(Study, case.study_id)
    pathway = get_pathway(app.settings, case.pathway)
    pictures = select(Image).where(Image.study_id == case.study_id, Image.shown_as == "image")
    chosen = pictures.order_by(Image.number, Image.id)
    images = queries.load_image_facts(session, list(session.scalars(chosen)), case)
    first = next((facts.prediction for facts in images if facts.prediction is not None), None)
    licence, notice = None, None
    names = {label: spell_label(label) for label in pathway.labels}
    if first is not None:
        try:
            card = get_classifier(app.settings, first.classifier, first.digest).card
            licence, notice = card.licence, " ".join(card.not_for)
            names |= card.display_names()
        except ClassifierNotFound:
            notice = "The classifier's card is no longer installed."
    if case.signed_at is None or case.signed_by is None:
        raise NotSigned("There is no report yet: the case is not signed.")
    return ReportFacts(
        case_id=case.id,
        version=case.version,
        project=session.get_one(Project, case.project_id).name,
        pathway_title=pathway.title,
        pathway_name=pathway.name,
        pathway_digest=case.pathway_digest,
        patient_code=patient.code,
        sex=patient.sex,
        birth_year=patient.birth_year,
        classifier_name=first.classifier if first is not None else None,
        classifier_version=first.version if first is not None else None,
        classifier_digest=first.digest if first is not None else None,
        images=tuple(_finding(app, facts) for facts in images),
        signed_by=Person(case.signed_by, case.signed_role or ""),
        signed_at=case.signed_at,
        issued_at=clock.now().replace(microsecond=0),  # PDF knows seconds
        software_version=__version__,
        fields=_fields(session, patient, study),
        supersedes=_superseded(session, case),
        history=tuple(
            ReportEvent(event.at, Person(event.by, event.role or ""), event.action)
            for event in case_history(session, case)
            if event.image_id is None
        ),
        classifier_licence=licence,
        classifier_notice=notice,
        display_names=names,
    )


def _fields(session: Session, patient: Patient, study: Study) -> tuple[tuple[str, str], ...]:
    lines = []
    for subject, values in (("patient", patient.fields), ("study", study.fields)):
        for definition in field_definitions.list_fields(
            session, [patient.project_id], "patient" if subject == "patient" else "study"
        ):
            if definition.key in values:
                value = values[definition.key]
                words = ("yes" if value else "no") if isinstance(value, bool) else str(value)
                lines.append((definition.label, f"{words} {definition.unit}" if definition.unit else words))
    return tuple(lines)


def _finding(app: AppContext, facts: queries.ImageFacts) -> ImageFinding:
    image, prediction, verdict = facts.image, facts.prediction, facts.verdict
    assert verdict is not None  # noqa: S101 - a case is signed only when each image has a verdict
    picture = isolated_calls.render_stored(app, image.blob, PICTURE_SIDE)
    layered: bytes | None = None
    if prediction is not None and prediction.evidence is not None:
        layered = _layered(picture, app, prediction.evidence)
    return ImageFinding(
        number=image.number,
        image_digest=image.blob,
        width=image.width,
        height=image.height,
        picture=picture,
        evidence=layered,
        classifier_label=prediction.likeliest if prediction is not None else None,
        confidence=prediction.confidence if prediction is not None else None,
        threshold=prediction.threshold if prediction is not None else None,
        uncertain=prediction.uncertain if prediction is not None else True,
        uncertain_reason=prediction.reason if prediction is not None else "No classifier could read this image.",
        probabilities=dict(prediction.probabilities) if prediction is not None else {},
        verdict_label=verdict.label,
        verdict_note=verdict.note,
        verdict_by=verdict.by,
        verdict_role=verdict.role,
        verdict_at=verdict.at,
        agrees=verdict.agrees,
    )


def _layered(picture: bytes, app: AppContext, digest: str) -> bytes:
    with Picture.open(io.BytesIO(picture)) as opened:
        pixels_of = np.asarray(opened.convert("RGB"))
    buffer = io.BytesIO()
    Picture.fromarray(overlay(pixels_of, read_evidence(app.blobs, digest))).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _superseded(session: Session, case: Case) -> Superseded | None:
    if case.supersedes_id is None:
        return None
    old = session.get_one(Case, case.supersedes_id)
    report = session.get(Report, old.id)
    return Superseded(
        version=old.version,
        facts_digest=report.digest if report is not None else "",
        reason=case.correction_reason or "",
        issued_at=report.issued_at if report is not None else None,
    )


_IDENTITY_LABELS = {"email": "E-mail", "phone": "Phone"}


def _identity(session: Session, app: AppContext, patient_id: str) -> PatientIdentity | None:
    known = vault.read_identity(app.keys, session.get(IdentityRow, patient_id))
    if not known:
        return None
    return PatientIdentity(
        name=known.get("name", "not given"),
        hospital_number=known.get("hospital_number"),
        birth_date=known.get("birth_date"),
        more=tuple((label, known[key]) for key, label in _IDENTITY_LABELS.items() if key in known),
    )


def read_report(app: AppContext, actor: Actor, case_id: str) -> tuple[Case, bytes]:
    """The report of a case: with the identity for who may see it, without for the others."""
    with app.database.reading() as session:
        case = get_case(session, actor, case_id, "report.read")
        if case.signed_at is None:
            raise NotSigned("There is no report yet: the case is not signed.")
        issued = session.get(Report, case_id) is not None
    if not issued:
        issue(app, case_id)
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
    """A page of issued reports with their cases and the patients' codes, newest first unless sorted otherwise."""
    chosen = (
        select(Report, Case, Patient.code)
        .join(Case, Case.id == Report.case_id)
        .join(Patient, Patient.id == Case.patient_id)
        .where(Case.project_id.in_(actor.projects("report.read", project_id)))
    )
    if case_id is not None:
        chosen = chosen.where(Report.case_id == case_id)
    if query:
        matching = func.lower(Patient.code).contains(query.lower(), autoescape=True)
        chosen = chosen.where(matching | Report.digest.startswith(query.lower(), autoescape=True))
    total = session.scalar(select(func.count()).select_from(chosen.with_only_columns(Report.case_id).subquery())) or 0
    columns = {"issued_at": Report.issued_at, "patient_code": Patient.code}
    page = chosen.order_by(sort_clause(sort, columns, "-issued_at"), Report.case_id).offset(offset).limit(limit)
    actor.record(session, "report.list", "report", None, found=total)
    return [(report, case, code) for report, case, code in session.execute(page)], total
