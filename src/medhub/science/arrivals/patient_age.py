# SPDX-License-Identifier: Apache-2.0
"""Age of a patient at the study, from the dates of the file (PS3.3, C.7.2.2; AS of PS3.5, 6.2)."""

from __future__ import annotations

import re
from datetime import date

from pydicom import Dataset

from medhub.science.deid.replacement_values import cap_age

# In the order in which they tell when the patient was examined.
_STUDY_DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
_DATE = re.compile(r"(\d{4})[.-]?(\d{2})[.-]?(\d{2})")
# Below these limits an age is written in the smaller unit.
_DAYS_OF_WEEKS, _DAYS_OF_MONTHS, _MONTHS_OF_YEARS = 28, 92, 24


def study_year_of(received: Dataset) -> int | None:
    """Year of the study; ``None`` if the file does not have it."""
    study = _study_date_of(received)
    return study.year if study is not None else None


def age_at_study(received: Dataset) -> str:
    """Compute the age at the study.

    Parameters
    ----------
    received
        As received.

    Returns
    -------
    str
        In days, weeks, months or years, above 89 years as 90; empty if the file lacks one of the dates.
    """
    born, study = _date_of(received, "PatientBirthDate"), _study_date_of(received)
    if born is None or study is None or study < born:
        return ""
    days = (study - born).days
    months = (study.year - born.year) * 12 + study.month - born.month - (study.day < born.day)
    if days < _DAYS_OF_WEEKS:
        return f"{days:03d}D"
    if days < _DAYS_OF_MONTHS:
        return f"{days // 7:03d}W"
    if months < _MONTHS_OF_YEARS:
        return f"{months:03d}M"
    return cap_age(f"{min(months // 12, 999):03d}Y")


def _study_date_of(received: Dataset) -> date | None:
    return next((day for keyword in _STUDY_DATES if (day := _date_of(received, keyword)) is not None), None)


def _date_of(received: Dataset, keyword: str) -> date | None:
    try:
        match = _DATE.fullmatch(str(received.get(keyword, "") or "").strip())
        return date(*map(int, match.groups())) if match is not None else None
    except Exception:  # a date that cannot be read is unknown
        return None
