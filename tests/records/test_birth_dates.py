# SPDX-License-Identifier: Apache-2.0
"""Birth dates and years: real days, between one lower limit and today, and without contradictions, at every entry."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.errors import Invalid
from medhub.foundation import clock
from medhub.foundation.app_context import AppContext
from medhub.records import service, studies
from medhub.records.birth_dates import age_on, birth_year_in_file, check_birth, warn_about_study_date
from medhub.records.models import Patient
from tests.factories.accounts import People
from tests.records.conftest import Registering


@pytest.mark.parametrize(
    ("birth_date", "reason"),
    [
        ("1980-02-31", "no day 1980-02-31"),
        ("1979-02-29", "no day"),
        ("1980-13-01", "no day"),
        ("1980-00-10", "no day"),
        ("2580-01-01", "future"),
        ("9999-12-31", "future"),
        ("1879-12-31", "begin in 1880"),
        ("0001-01-01", "begin in 1880"),
        ("14.03.1980", "year-month-day"),
        ("1980-3-14", "year-month-day"),
        ("19800314", "year-month-day"),
        ("1980-03-14T00:00", "year-month-day"),
        ("١٩٨٠-٠٣-١٤", "year-month-day"),
    ],
)
def test_a_birth_date_that_cannot_be_is_refused(register: Registering, birth_date: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason) as caught:
        register(identity={"birth_date": birth_date}, birth_year=None)
    assert caught.value.facts["field"] == "identity.birth_date"


@pytest.mark.parametrize("birth_date", ["1880-01-01", "1980-02-29", "2000-02-29"])
def test_a_birth_date_fills_the_birth_year(app: AppContext, register: Registering, birth_date: str) -> None:
    patient = register(identity={"birth_date": birth_date}, birth_year=None)
    with app.database.reading() as session:
        assert session.get_one(Patient, patient.id).birth_year == int(birth_date[:4])


def test_today_is_a_birth_date_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: datetime(2026, 6, 30, 11, 0, tzinfo=UTC))
    assert check_birth(None, "2026-07-01") == 2026  # in Auckland it is the first of July already
    with pytest.raises(Invalid, match="future"):
        check_birth(None, "2026-07-02")


def test_a_year_that_contradicts_the_date_is_refused(
    app: AppContext, technologist: Actor, register: Registering
) -> None:
    with pytest.raises(Invalid, match="1981 contradicts") as caught:
        register(identity={"birth_date": "1980-03-14"}, birth_year=1981)
    assert caught.value.facts["field"] == "birth_year"
    patient = register(identity={"birth_date": "1980-03-14"}, birth_year=1980)
    with pytest.raises(Invalid, match="contradicts"), app.database.writing() as session:
        service.change_patient(session, app.keys, technologist, patient.id, birth_year=1979)
    with pytest.raises(Invalid, match="no day"), app.database.writing() as session:
        service.change_patient(session, app.keys, technologist, patient.id, identity={"birth_date": "1980-02-30"})
    with app.database.writing() as session:  # a corrected date corrects the year
        changed = service.change_patient(
            session, app.keys, technologist, patient.id, identity={"birth_date": "1979-03-14"}
        )
        assert changed.birth_year == 1979
    with app.database.writing() as session:
        renamed = service.change_patient(session, app.keys, technologist, patient.id, identity={"name": "Siti"})
        assert renamed.birth_year == 1979


@pytest.mark.parametrize(
    ("written", "year"),
    [
        ("19800314", 1980), ("1980", 1980), ("198003", 1980), ("19800231", None), ("25800101", None),
        ("18791231", None), ("", None), ("1980ABCD", None), ("00010101", None),
    ],
)  # fmt: skip
def test_a_birth_date_in_a_file_gives_a_year_only_if_it_can_be(written: str, year: int | None) -> None:
    assert birth_year_in_file(written) == year


def test_the_age_is_exact_by_the_birth_date() -> None:
    assert age_on("1980-03-14", 1980, date(2026, 3, 13)) == 45
    assert age_on("1980-03-14", 1980, date(2026, 3, 14)) == 46
    assert age_on(None, 1980, date(2026, 3, 13)) == 46
    assert age_on("1980-02-31", 1980, date(2026, 3, 13)) == 46  # stored by an earlier version
    assert age_on(None, None, date(2026, 3, 13)) is None


def test_a_study_before_the_birth_is_a_warning(app: AppContext, people: People, register: Registering) -> None:
    patient = register(birth_year=1990)
    actor = people.actor(app, Role.TECHNOLOGIST)
    with app.database.writing() as session:
        study = studies.add_study(session, actor, patient_id=patient.id, study_uid="1.2", description="", fields={})
        assert studies.facts_of(session, [study])[0].warnings == []
        study.study_date = "19850101"
        session.flush()
        (warning,) = studies.facts_of(session, [study])[0].warnings
    assert "1985" in warning
    assert "1990" in warning
    assert warn_about_study_date("19891231", 1990) is None  # dates are moved by up to a year
    assert warn_about_study_date("", 1990) is None
