# SPDX-License-Identifier: Apache-2.0
"""Rules of birth dates and birth years; the same for the app, the command line, and files that name their patient."""

from __future__ import annotations

import re
from datetime import date, timedelta

from medhub.errors import Invalid
from medhub.foundation import clock

OLDEST_BIRTH_YEAR = 1880
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII)
_EASTERNMOST = timedelta(hours=14)  # where the day begins first


def latest_birth_date() -> date:
    """The present day where it begins first; a child may be born there."""
    return (clock.now() + _EASTERNMOST).date()


def check_birth(birth_year: int | None, birth_date: str | None) -> int | None:
    """Check a birth year and a birth date, and return the birth year, which follows from the date."""
    latest = latest_birth_date()
    if birth_year is not None and not OLDEST_BIRTH_YEAR <= birth_year <= latest.year:
        raise Invalid(f"The birth year must lie between {OLDEST_BIRTH_YEAR} and {latest.year}.", field="birth_year")
    if not birth_date:
        return birth_year
    born = _parse(birth_date)
    if born > latest:
        raise _invalid(f"{birth_date} lies in the future. Check the year.")
    if born.year < OLDEST_BIRTH_YEAR:
        raise _invalid(f"{birth_date} is too long ago: birth dates begin in {OLDEST_BIRTH_YEAR}.")
    if birth_year is not None and birth_year != born.year:
        raise Invalid(
            f"The birth year {birth_year} contradicts the birth date {birth_date}. Correct one of them.",
            field="birth_year",
        )
    return born.year


def _parse(birth_date: str) -> date:
    parts = _DATE.fullmatch(birth_date)
    if parts is None:
        raise _invalid("Write the birth date as year-month-day, such as 1980-03-14.")
    try:
        return date(int(parts[1]), int(parts[2]), int(parts[3]))
    except ValueError:
        raise _invalid(f"There is no day {birth_date} in the calendar. Check month and day.") from None


def _invalid(message: str) -> Invalid:
    return Invalid(message, field="identity.birth_date")


def birth_year_in_file(birth_date: str) -> int | None:
    """The birth year by a normalized DICOM date (YYYYMMDD, or a part of it); none if it cannot be a birth date."""
    if re.fullmatch(r"\d{8}", birth_date, re.ASCII):
        if not is_birth_date(f"{birth_date[:4]}-{birth_date[4:6]}-{birth_date[6:]}"):
            return None
    elif not re.fullmatch(r"\d{4}(\d{2})?", birth_date, re.ASCII):
        return None
    year = int(birth_date[:4])
    return year if OLDEST_BIRTH_YEAR <= year <= latest_birth_date().year else None


def is_birth_date(text: str) -> bool:
    """Whether a text is a possible birth date."""
    try:
        check_birth(None, text)
    except Invalid:
        return False
    return bool(text)


def age_on(birth_date: str | None, birth_year: int | None, today: date) -> int | None:
    """The age in years: exact by a birth date, otherwise by the birth year."""
    if birth_date and is_birth_date(birth_date):
        born = date.fromisoformat(birth_date)
        return max(0, today.year - born.year - ((today.month, today.day) < (born.month, born.day)))
    return today.year - birth_year if birth_year is not None else None


def warn_about_study_date(study_date: str, birth_year: int | None) -> str | None:
    """A warning about a study date before the birth year; de-identification may have moved it by up to a year."""
    if birth_year is None or not study_date[:4].isdecimal() or int(study_date[:4]) >= birth_year - 1:
        return None
    return (
        f"The study date ({study_date[:4]}) is before the birth year of the patient ({birth_year}). "
        "Check whether the study belongs to this patient."
    )
