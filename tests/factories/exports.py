# SPDX-License-Identifier: Apache-2.0
"""Signed images that bypass ingest, orders of exports, and images with planted identities."""

from __future__ import annotations

import functools
import hashlib
import io
from typing import Any

import pydicom
from PIL import Image as Canvas
from PIL import ImageDraw, ImageFont
from pydicom.uid import ExplicitVRLittleEndian
from sqlalchemy import select

from medhub.accounts.actor import Actor
from medhub.export import service
from medhub.export.formats import FormatName
from medhub.export.models import Export, ExportFinding
from medhub.export.selection import Selection
from medhub.export.service import PictureType
from medhub.foundation import clock, ids
from medhub.foundation.app_context import AppContext
from medhub.records import patient_blobs, series_service, studies
from medhub.records.models import Image, Patient
from medhub.review.models import Case, Verdict
from medhub.science.arrivals.cleaning import CleaningContext, prepare_arrival
from medhub.science.imaging.decoding_limits import DecodingLimits
from tests.factories.accounts import People
from tests.factories.cases import make_patient, run_jobs
from tests.factories.colors import COLORS, picture


@functools.cache
def clean(color: str, seed: int) -> bytes:
    """A picture as it is stored, without the date of its arrival."""
    context = CleaningContext(
        uid_key=b"k" * 32,
        patient_code=f"P-7F3KQ{'ABCDEF'[seed // 100]}",
        sex="F",
        birth_year=1980,
        photograph_modality="XC",
        study_instance_uid=f"2.25.{seed // 100}",
        received_at=clock.now(),
    )
    file = pydicom.dcmread(
        io.BytesIO(prepare_arrival(picture(color, seed), context=context, limits=DecodingLimits()).dicom)
    )
    del file.StudyDate, file.ContentDate
    return _write_file(file)


def _write_file(file: pydicom.FileDataset) -> bytes:
    buffer = io.BytesIO()
    file.save_as(buffer)
    return buffer.getvalue()


def lay_signed(
    app: AppContext, people: People, verdicts: dict[str, str], seed: int, *, identity: bool = False
) -> tuple[str, list[str]]:
    """A patient with a signed case: a picture of each color with its verdict; ids of patient and images."""
    patient_id = make_patient(app, people, identity=identity)
    image_ids = []
    with app.database.writing() as session:
        patient, moment = session.get_one(Patient, patient_id), clock.now()
        study = studies.new_study(session, patient, study_uid=f"2.25.{seed}", pathway=COLORS)
        series = series_service.new_series(session, study, series_uid=f"2.25.{seed}.1", modality="XC")
        case = Case(
            id=ids.new_id(),
            project_id=people.project_id,
            patient_id=patient_id,
            study_id=study.id,
            pathway=COLORS,
            pathway_digest="0" * 64,
            stage="signed",
            version=1,
            opened_at=moment,
            signed_at=moment,
            signed_by="The physician",
        )
        session.add(case)
        for number, (color, label) in enumerate(verdicts.items(), 1):
            data = clean(color, seed + number)
            image = Image(
                id=ids.new_id(),
                project_id=people.project_id,
                patient_id=patient_id,
                study_id=study.id,
                series_id=series.id,
                number=number,
                sop_class_uid="1.2.840.10008.5.1.4.1.1.77.1.4",
                sop_instance_uid=f"2.25.{seed + number}",
                transfer_syntax_uid="1.2.840.10008.1.2.4.80",
                modality="XC",
                kind="photograph",
                width=48,
                height=48,
                frames=1,
                size_bytes=len(data),
                blob=hashlib.sha256(data).hexdigest(),
                state="read",
                created_at=moment,
            )
            session.add(image)
            session.flush()
            patient_blobs.store_blob(session, app, data, patient_id=patient_id, image_id=image.id)
            values = {"by_id": "", "by": "The physician", "role": "physician", "at": moment, "agrees": True}
            session.add(Verdict(case_id=case.id, image_id=image.id, label=label, **values))
            image_ids.append(image.id)
    return patient_id, image_ids


def plant(app: AppContext, image_id: str, **elements: Any) -> None:
    """Write DICOM elements into a stored image, as an error of the de-identification would leave them."""
    with app.database.writing() as session:
        image = session.get_one(Image, image_id)
        file = pydicom.dcmread(io.BytesIO(app.blobs.get(image.blob)))
        if "PixelData" in elements:
            file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        for keyword, value in elements.items():
            setattr(file, keyword, value)
        image.blob = patient_blobs.store_blob(
            session, app, _write_file(file), patient_id=image.patient_id, image_id=image.id
        )


def burn(app: AppContext, image_id: str, words: str) -> None:
    """Replace a stored picture with one that contains text."""
    drawn = Canvas.new("RGB", (480, 160), (60, 60, 60))
    ImageDraw.Draw(drawn).text((20, 50), words, fill=(255, 255, 255), font=ImageFont.load_default(size=32))
    syntax = {"PhotometricInterpretation": "RGB", "Rows": drawn.height, "Columns": drawn.width}
    plant(app, image_id, **syntax, PixelData=drawn.tobytes())


def order(
    app: AppContext,
    actor: Actor,
    project_id: str,
    form: FormatName = "dicom",
    selection: Selection | None = None,
    *,
    picture: PictureType | None = None,
    run: bool = True,
) -> str:
    """Order an export and run its jobs; returns the id."""
    if form == "training" and picture is None:
        picture = "png"
    with app.database.writing() as session:
        export_id = service.create_export(
            session,
            app,
            actor,
            project_id=project_id,
            selection=selection or Selection("project"),
            form=form,
            picture=picture,
        ).id
    if run:
        run_jobs(app)
    return export_id


def read(app: AppContext, export_id: str) -> Export:
    """The row of an export."""
    with app.database.reading() as session:
        return session.get_one(Export, export_id)


def findings(app: AppContext, export_id: str, state: str = "open") -> list[ExportFinding]:
    """The findings of an export with a state, in order."""
    with app.database.reading() as session:
        query = select(ExportFinding).where(ExportFinding.export_id == export_id, ExportFinding.state == state)
        return list(session.scalars(query.order_by(ExportFinding.id)))


def clear_all(app: AppContext, actor: Actor, export_id: str) -> None:
    """Clear all open findings and run the jobs that follow."""
    while open_findings := findings(app, export_id):
        with app.database.writing() as session:
            service.clear_finding(session, actor, export_id, open_findings[0].id, "Nobody is named by this.")
    run_jobs(app)
