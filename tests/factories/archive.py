# SPDX-License-Identifier: Apache-2.0
"""Rows of an archive whose attributes a test chooses, without files."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from medhub.foundation import clock, ids
from medhub.records.models import Image, Patient, Series, Study

CT = "1.2.840.10008.5.1.4.1.1.2"


def add_patient(session: Session, project_id: str, code: str) -> Patient:
    """A patient by its code."""
    patient = Patient(
        id=ids.new_id(),
        project_id=project_id,
        code=code,
        sex="U",
        birth_year=None,
        fields={},
        created_at=clock.now(),
        changed_at=clock.now(),
    )
    session.add(patient)
    session.flush()
    return patient


def add_study(session: Session, patient: Patient, uid: str, **attributes: Any) -> Study:
    """A study whose attributes are as given, each a text or a list of texts."""
    value_lists = _lists(attributes)
    study = Study(
        id=ids.new_id(),
        project_id=patient.project_id,
        patient_id=patient.id,
        study_uid=uid,
        description=value_lists.get("StudyDescription", [""])[0],
        study_date=value_lists.get("StudyDate", [""])[0],
        study_time=value_lists.get("StudyTime", [""])[0],
        attributes=value_lists,
        fields={},
        created_at=clock.now(),
    )
    session.add(study)
    session.flush()
    return study


def add_series(session: Session, study: Study, uid: str, modality: str = "CT", **attributes: Any) -> Series:
    """A series of a study."""
    value_lists = _lists({"Modality": modality, **attributes})
    series = Series(
        id=ids.new_id(),
        study_id=study.id,
        series_uid=uid,
        modality=modality,
        description=value_lists.get("SeriesDescription", [""])[0],
        number=int(value_lists["SeriesNumber"][0]) if "SeriesNumber" in value_lists else None,
        attributes=value_lists,
        created_at=clock.now(),
    )
    session.add(series)
    session.flush()
    return series


def add_image(session: Session, study: Study, series: Series, uid: str, **attributes: Any) -> Image:
    """An image of a series, without a file."""
    value_lists = _lists({"SOPClassUID": CT, **attributes})
    image = Image(
        id=ids.new_id(),
        project_id=study.project_id,
        patient_id=study.patient_id,
        study_id=study.id,
        series_id=series.id,
        number=int(value_lists.get("InstanceNumber", ["1"])[0]),
        sop_class_uid=value_lists["SOPClassUID"][0],
        sop_instance_uid=uid,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality=series.modality,
        kind="dicom",
        instance_number=int(value_lists["InstanceNumber"][0]) if "InstanceNumber" in value_lists else None,
        attributes=value_lists,
        width=16,
        height=16,
        frames=1,
        size_bytes=1,
        blob="0" * 64,
        state="waiting",
        created_at=clock.now(),
    )
    session.add(image)
    session.flush()
    return image


def _lists(attributes: dict[str, Any]) -> dict[str, list[str]]:
    return {keyword: value if isinstance(value, list) else [str(value)] for keyword, value in attributes.items()}
