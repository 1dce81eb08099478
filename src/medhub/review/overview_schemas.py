# SPDX-License-Identifier: Apache-2.0
"""JSON schemas of the dashboard and of the counts of a patient."""

from __future__ import annotations

from medhub.foundation.http import Moment, Schema


class PatientSummary(Schema):
    """Counts of a patient's images and cases."""

    patient_id: str
    code: str
    project_id: str
    images: int
    unverified: int
    cases: int
    open_cases: int
    last_upload_at: Moment | None


class DayCount(Schema):
    """The count of a day."""

    date: str
    count: int


class LabelCount(Schema):
    """The count of a label."""

    label: str
    count: int


class Dashboard(Schema):
    """The counts of the dashboard."""

    patients: int
    images: int
    unverified: int
    cases_waiting_for_me: int
    cases_ready_to_sign: int
    cases_open: int
    cases_signed: int
    reports: int
    quarantined: int
    uploads: list[DayCount]
    labels: list[LabelCount]
