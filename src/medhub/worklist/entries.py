# SPDX-License-Identifier: Apache-2.0
"""Entries of the modality worklist, and which of them a query matches (PS3.4, K.6.1 and C.2.2.2)."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydicom.datadict import dictionary_VR
from sqlalchemy import select
from sqlalchemy.orm import Session

from medhub.foundation.keys import Keys
from medhub.records.models import Patient
from medhub.records.query_matching import EMPTY, parse_range, parse_values
from medhub.worklist.models import ScheduledStudy
from medhub.worklist.service import OPEN_STATES, details_of, identity_of

_STATUS = {"scheduled": "SCHEDULED", "in-progress": "STARTED"}


@dataclass(frozen=True)
class WorklistEntry:
    """A scheduled study as a modality gets it: values by keyword, of the entry and of its scheduled step."""

    study_id: str
    patient_id: str
    values: Mapping[str, str]
    step: Mapping[str, str]


def find_entries(
    session: Session,
    keys: Keys,
    project_id: str,
    *,
    calling: str,
    matching: Mapping[str, str],
    step_matching: Mapping[str, str],
) -> Iterator[WorklistEntry]:
    """The open scheduled studies of a project that match the keys of a query, the earliest first.

    Names and numbers are encrypted, so what is not excluded by its date is decrypted and compared here.
    Raises ``UnusableKey`` where a key has a value that its attribute cannot have.
    """
    tests = [_Key.of(keyword, value) for keyword, value in matching.items()]
    step_tests = [_Key.of(keyword, value) for keyword, value in step_matching.items()]
    query = select(ScheduledStudy).where(ScheduledStudy.project_id == project_id, ScheduledStudy.state.in_(OPEN_STATES))
    for test in step_tests:
        if test.keyword == "ScheduledProcedureStepStartDate" and test.values:
            limits = parse_range(test.keyword, "DA", test.values[0])
            if limits.first:
                query = query.where(ScheduledStudy.start_date >= limits.first)
            if limits.last:
                query = query.where(ScheduledStudy.start_date <= limits.last)
    order = (ScheduledStudy.start_date, ScheduledStudy.start_time, ScheduledStudy.id)
    for study in session.scalars(query.order_by(*order)):
        entry = _entry_of(session, keys, study, calling)
        if all(test.matches(entry.values) for test in tests) and all(test.matches(entry.step) for test in step_tests):
            yield entry


def _entry_of(session: Session, keys: Keys, study: ScheduledStudy, calling: str) -> WorklistEntry:
    identity = identity_of(session, keys, session.get_one(Patient, study.patient_id))
    details = details_of(session, keys, study)
    values = {
        "PatientName": identity.name,
        "PatientID": identity.patient_id,
        "PatientBirthDate": identity.birth_date,
        "PatientSex": identity.sex,
        "AccessionNumber": details.accession_number,
        "StudyInstanceUID": study.study_uid,
        "RequestedProcedureID": study.step_id,
        "RequestedProcedureDescription": details.description,
        "RequestingPhysician": details.requesting_physician,
        "ReferringPhysicianName": details.requesting_physician,
    }
    step = {
        "ScheduledStationAETitle": study.station_ae or calling,
        "ScheduledProcedureStepStartDate": study.start_date,
        "ScheduledProcedureStepStartTime": study.start_time,
        "Modality": study.modality,
        "ScheduledProcedureStepDescription": details.description,
        "ScheduledProcedureStepID": study.step_id,
        "ScheduledProcedureStepStatus": _STATUS[study.state],
    }
    return WorklistEntry(study.id, study.patient_id, values, step)


@dataclass(frozen=True)
class _Key:
    """A key of a query."""

    keyword: str
    vr: str
    values: Sequence[str]

    @classmethod
    def of(cls, keyword: str, text: str) -> _Key:
        vr = dictionary_VR(keyword).partition(" ")[0]
        values = [] if vr == "SQ" else parse_values(keyword, vr, text)
        if vr in {"DA", "TM"}:
            for value in values:
                if value != EMPTY:
                    parse_range(keyword, vr, value)
        return cls(keyword, vr, values)

    def matches(self, entry: Mapping[str, str]) -> bool:
        """Whether an entry has one of the values; attributes that no entry has are not matched, only returned."""
        if not self.values or self.keyword not in entry:
            return True
        return any(self._matches(entry[self.keyword], value) for value in self.values)

    def _matches(self, text: str, value: str) -> bool:
        if value == EMPTY:
            return not text
        if self.vr in {"DA", "TM"}:
            limits = parse_range(self.keyword, self.vr, value)
            return (
                bool(text) and (not limits.first or text >= limits.first) and (not limits.last or text <= limits.last)
            )
        if self.vr == "PN":
            text, value = _comparable_name(text), _comparable_name(value)
        if self.vr != "UI" and ("*" in value or "?" in value):
            # Brackets are no wildcards of DICOM.
            return fnmatch.fnmatchcase(text, value.replace("[", "[[]"))
        return text == value


def _comparable_name(name: str) -> str:
    """A name without case and empty components at its end."""
    return re.sub(r"\^+(?=$|=|\*$)", "", name.casefold())
