# SPDX-License-Identifier: Apache-2.0
"""A user chose the patient and the pathway for all files before the upload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Invalid, NotAllowed
from medhub.foundation.app_context import AppContext
from medhub.ingest.context import IngestContext, IngestSource, TargetStudy, build_context
from medhub.ingest.ingest_file import IngestFile
from medhub.ingest.ingest_settings import settings_of
from medhub.ingest.patient_claims.reading import read_identifiers
from medhub.ingest.patient_matching import find_owner
from medhub.ingest.refusals import ArrivalRefused, FileUndecodable
from medhub.ingest.routing import route
from medhub.records import series_service, studies
from medhub.records import service as records
from medhub.records.models import Patient
from medhub.records.pathway import get_pathway
from medhub.science.imaging.dicom.received_file import is_dicom


class ChosenPatient:
    """Files of the patient in ``source.context``; a DICOM file that names another known patient is refused."""

    name = "chosen-patient"

    def identify(self, app: AppContext, actor: Actor, source: IngestSource, files: Sequence[IngestFile]) -> None:
        """Set the chosen patient, and compare with the identifiers of DICOM files."""
        if source.context is None:
            raise ValueError("the source has no chosen patient")
        for file in files:
            file.context = source.context
        dicom = [file for file in files if file.is_open and is_dicom(file.data)]
        for file, refusal in zip(dicom, read_identifiers(app, dicom), strict=True):
            if isinstance(refusal, FileUndecodable):
                file.refusal = refusal  # any other defect is reported by the cleaning step
        if not any(file.identifiers for file in dicom):
            return
        with app.database.reading() as session:
            rules = settings_of(session, source.project_id)
            for file in dicom:
                if file.identifiers is not None:
                    pathway = route(app.settings, rules, file.identifiers.modality, source.pathway)
                    file.context = replace(source.context, pathway=pathway)
                if file.is_open:
                    file.refusal = _refuse_other_patient(session, app, source.context, file)


def _refuse_other_patient(
    session: Session, app: AppContext, context: IngestContext, file: IngestFile
) -> ArrivalRefused | None:
    """The refusal of a file that names a known patient other than the chosen one."""
    identifiers = file.identifiers
    if identifiers is None or not (identifiers.patient_id or identifiers.study_uid):
        return None
    owner = find_owner(session, app.keys, context.project_id, identifiers)
    if owner is None or owner == context.patient_id:
        return None
    code = session.get_one(Patient, owner).code
    return ArrivalRefused(
        f"This file names the patient who is here as {code}, and was uploaded for {context.patient_code}. "
        "Release it if it is theirs all the same, or discard it and upload it for the other one.",
        reason="conflicting-patient",
    )


def choose_patient(
    session: Session,
    app: AppContext,
    actor: Actor,
    patient_id: str,
    pathway_name: str,
    *,
    study_id: str | None = None,
    series_id: str | None = None,
) -> IngestSource:
    """Check that the actor may upload for a patient on a pathway, and into a study or series if one is named."""
    patient = records.get_patient(session, actor, patient_id, "image.upload")
    pathway = get_pathway(app.settings, pathway_name)
    act = pathway.act(pathway.first_stage.name, "upload")
    if act is None or not actor.has_role(patient.project_id, act.roles):
        roles = ", ".join(act.roles) if act is not None else "nobody"
        raise NotAllowed(f"On the pathway {pathway.title} images are uploaded by: {roles}.", action="image.upload")
    context = build_context(session, app, patient, pathway)
    if study_id is not None or series_id is not None:
        context = replace(context, target=_find_target(session, actor, context, study_id, series_id))
    return IngestSource(patient.project_id, "upload", pathway=pathway.name, claim=ChosenPatient.name, context=context)


def _find_target(
    session: Session, actor: Actor, context: IngestContext, study_id: str | None, series_id: str | None
) -> TargetStudy:
    """The study or series to upload into; it must belong to the patient and the pathway of the upload."""
    series = None
    if series_id is not None:
        series = series_service.get_series(session, actor, series_id, "image.upload").series
    study = studies.get_study(session, actor, series.study_id if series else study_id or "", "image.upload")
    if study.patient_id != context.patient_id or (study_id is not None and study.id != study_id):
        raise Invalid("This place belongs to another patient or study than the upload says.", field="study_id")
    if study.pathway is not None and (context.pathway is None or study.pathway != context.pathway.name):
        raise Invalid(f"This study goes the pathway {study.pathway}. Upload on that one.", field="pathway")
    if series is None:
        return TargetStudy(study.id, study.study_uid)
    return TargetStudy(study.id, study.study_uid, series.series_uid, series.modality)
