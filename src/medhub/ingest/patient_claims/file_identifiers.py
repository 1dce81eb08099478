# SPDX-License-Identifier: Apache-2.0
"""Each DICOM file names its patient: by issuer and number, or by its study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from medhub.accounts.actor import Actor
from medhub.foundation.app_context import AppContext
from medhub.ingest.context import IngestContext, IngestSource, build_context
from medhub.ingest.ingest_file import IngestFile
from medhub.ingest.ingest_settings import settings_of
from medhub.ingest.patient_claims.reading import read_identifiers
from medhub.ingest.patient_matching import find_patient, lock_patients
from medhub.ingest.profiles import profile_of
from medhub.ingest.refusals import ArrivalRefused
from medhub.ingest.routing import route


class FileIdentifiers:
    """Files that name their patient; a patient who is new is registered, and contradictions are left to a person."""

    name = "file-identifiers"

    def identify(self, app: AppContext, actor: Actor, source: IngestSource, files: Sequence[IngestFile]) -> None:
        """Read the identifiers of the files and find their patients, in one transaction."""
        readable = [file for file in files if file.is_open]
        for file, refusal in zip(readable, read_identifiers(app, readable), strict=True):
            file.refusal = refusal
        contexts: dict[tuple[str, ...], IngestContext] = {}
        with app.database.writing() as session:
            settings = settings_of(session, source.project_id)
            profile = profile_of(session, source.project_id)
            claims = [file.identifiers for file in files if file.identifiers is not None]
            lock_patients(session, app.keys, source.project_id, claims)
            for file in files:
                claim = file.identifiers
                if claim is None or not file.is_open:
                    continue
                key = (
                    claim.patient_id,
                    claim.issuer,
                    claim.name,
                    claim.birth_date,
                    claim.sex,
                    claim.study_uid,
                    claim.modality,
                )
                if key not in contexts:
                    try:
                        patient = find_patient(session, app, actor, source.project_id, claim, profile)
                    except ArrivalRefused as refusal:
                        file.refusal = refusal
                        continue
                    pathway = route(app.settings, settings, claim.modality, source.pathway)
                    context = build_context(session, app, patient, pathway)
                    contexts[key] = replace(context, settle_s=settings.settle_s)
                file.context = contexts[key]
