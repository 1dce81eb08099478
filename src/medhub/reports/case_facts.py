# SPDX-License-Identifier: Apache-2.0
"""Collecting the facts of a case's report from the database."""

from __future__ import annotations

import io
from datetime import datetime

import numpy as np
from PIL import Image as PillowImage
from sqlalchemy.orm import Session

from medhub import __version__
from medhub.accounts.models import Project
from medhub.classification.models import Prediction
from medhub.classification.registry import get_classifier
from medhub.classification.service import read_evidence
from medhub.errors import Conflict
from medhub.foundation import clock
from medhub.foundation.app_context import AppContext
from medhub.records import field_definitions, isolated_calls, vault
from medhub.records.models import Identity as IdentityRow
from medhub.records.models import Patient, Study
from medhub.records.pathway import get_pathway
from medhub.reports.facts import ImageFinding, PatientIdentity, Person, ReportEvent, ReportFacts, Superseded
from medhub.reports.models import Report
from medhub.review import queries
from medhub.review.models import Case, CaseEvent
from medhub.review.service import case_history
from medhub.science.inference.card import ClassifierNotFound, spell_label
from medhub.science.inference.decision import reason_without_instruction
from medhub.science.inference.explanation import overlay

# Pages print pictures of at most this many pixels a side.
PICTURE_SIDE = 480


class NotSigned(Conflict):
    """There is no report yet: the case is not signed."""

    code = "not-signed"


def load_report_facts(session: Session, app: AppContext, case: Case) -> ReportFacts:
    """The facts of a signed case, without identity."""
    patient = session.get_one(Patient, case.patient_id)
    study = session.get_one(Study, case.study_id)
    pathway = get_pathway(app.settings, case.pathway)
    images = queries.load_case_images(session, case)
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
        images=tuple(_build_finding(app, facts) for facts in images),
        signed_by=Person(case.signed_by, case.signed_role or ""),
        signed_at=case.signed_at,
        issued_at=clock.now().replace(microsecond=0),  # PDF knows seconds
        software_version=__version__,
        fields=format_fields(session, patient, study),
        supersedes=_load_superseded(session, case),
        history=tuple(
            ReportEvent(_time_of(event, case), Person(event.by, event.role or ""), event.action)
            for event in case_history(session, case)
            if event.image_id is None
        ),
        conclusion=case.sign_note,
        classifier_licence=licence,
        classifier_notice=notice,
        display_names=names,
    )


def _time_of(event: CaseEvent, case: Case) -> datetime:
    """The time of an event; that of the signature is the time of the case, so that both are one entry."""
    if event.action == "signed" and event.case_id == case.id and case.signed_at is not None:
        return case.signed_at
    return event.at


def format_fields(session: Session, patient: Patient, study: Study) -> tuple[tuple[str, str], ...]:
    """The fields of a patient and a study as label and value."""
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


def _build_finding(app: AppContext, facts: queries.ImageFacts) -> ImageFinding:
    image, prediction, verdict = facts.image, facts.prediction, facts.verdict
    assert verdict is not None  # noqa: S101 - a case is signed only when each image has a verdict
    picture = isolated_calls.render_stored(app, image.blob, PICTURE_SIDE)
    layered: bytes | None = None
    if prediction is not None and prediction.evidence is not None:
        layered = _overlay_evidence(picture, app, prediction.evidence)
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
        uncertain_reason=_abstention_reason(prediction),
        novel=prediction.novel if prediction is not None else False,
        probabilities=dict(prediction.probabilities) if prediction is not None else {},
        verdict_label=verdict.label,
        verdict_note=verdict.note,
        verdict_by=verdict.by,
        verdict_role=verdict.role,
        verdict_at=verdict.at,
        agrees=verdict.agrees,
    )


def _abstention_reason(prediction: Prediction | None) -> str | None:
    """Why the classifier abstained, or why there is no prediction."""
    if prediction is None:
        return "No classifier could read this image."
    return reason_without_instruction(prediction.reason)


def _overlay_evidence(picture: bytes, app: AppContext, digest: str) -> bytes:
    with PillowImage.open(io.BytesIO(picture)) as opened:
        pixels_of = np.asarray(opened.convert("RGB"))
    buffer = io.BytesIO()
    PillowImage.fromarray(overlay(pixels_of, read_evidence(app.blobs, digest))).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _load_superseded(session: Session, case: Case) -> Superseded | None:
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


def load_identity(session: Session, app: AppContext, patient_id: str) -> PatientIdentity | None:
    """The identity of a patient from the vault; None if there is none."""
    known = vault.read_identity(app.keys, session.get(IdentityRow, patient_id))
    if not known:
        return None
    return PatientIdentity(
        name=known.get("name", "not given"),
        hospital_number=known.get("hospital_number"),
        birth_date=known.get("birth_date"),
        more=tuple((label, known[key]) for key, label in _IDENTITY_LABELS.items() if key in known),
    )
