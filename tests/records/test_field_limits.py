# SPDX-License-Identifier: Apache-2.0
"""Values beyond the limits of a field are refused, and unlikely ones are stored only if a person confirms them."""

from __future__ import annotations

from typing import Any

import pytest

from medhub.accounts.actor import Actor
from medhub.errors import Invalid
from medhub.foundation.app_context import AppContext
from medhub.records import field_definitions, service
from medhub.records.field_limits import ImplausibleValue
from medhub.records.models import Patient
from tests.records.conftest import Defining, Registering

HEMOGLOBIN = {"minimum": 0, "low": 5, "high": 20.5, "maximum": 30}


def change(app: AppContext, actor: Actor, patient: Patient, confirmed: tuple[str, ...] = (), **fields: Any) -> Patient:
    with app.database.writing() as session:
        return service.change_patient(session, app.keys, actor, patient.id, fields=fields, confirmed_fields=confirmed)


@pytest.mark.parametrize(("value", "reason"), [(5000, "at most 30 g/dL"), (30.1, "at most"), (-0.1, "at least 0 g/dL")])
def test_a_value_beyond_the_limits_is_refused(
    register: Registering, define: Defining, value: float, reason: str
) -> None:
    define("hemoglobin", "decimal", unit="g/dL", limits=HEMOGLOBIN)
    with pytest.raises(Invalid, match=reason) as caught:
        register(hemoglobin=value)
    assert caught.value.facts["field"] == "fields.hemoglobin"


@pytest.mark.parametrize("value", [0, 4.9, 20.6, 30])
def test_an_unlikely_value_is_confirmed_first(
    app: AppContext, technologist: Actor, register: Registering, define: Defining, value: float
) -> None:
    define("hemoglobin", "decimal", unit="g/dL", limits=HEMOGLOBIN)
    patient = register(hemoglobin=12)
    with pytest.raises(ImplausibleValue, match="Correct the value, or confirm it") as caught:
        change(app, technologist, patient, hemoglobin=value)
    listed: Any = caught.value.facts["implausible"]
    assert [entry["field"] for entry in listed] == ["hemoglobin"]
    assert change(app, technologist, patient, ("hemoglobin",), hemoglobin=value).fields == {"hemoglobin": value}
    # What is stored already is not asked again.
    assert change(app, technologist, patient, hemoglobin=value).fields == {"hemoglobin": value}


@pytest.mark.parametrize("value", [5, 12, 20.5])
def test_a_usual_value_is_stored(register: Registering, define: Defining, value: float) -> None:
    define("hemoglobin", "decimal", limits=HEMOGLOBIN)
    assert register(hemoglobin=value).fields == {"hemoglobin": value}


def test_a_date_has_limits(register: Registering, define: Defining) -> None:
    define("taken", "date", limits={"minimum": "2000-01-01"})
    with pytest.raises(Invalid, match="at least 2000-01-01"):
        register(taken="1999-12-31")
    assert register(taken="2000-01-01").fields == {"taken": "2000-01-01"}


@pytest.mark.parametrize(
    ("kind", "limits", "reason"),
    [
        ("decimal", {"minimum": 2, "maximum": 1}, "ascend"),
        ("decimal", {"low": 2, "maximum": 1}, "ascend"),
        ("integer", {"minimum": 1.5}, "whole number"),
        ("text", {"minimum": 1}, "Only a number or a date"),
        ("date", {"maximum": "2026-02-30"}, "a date"),
        ("decimal", {"maximum": "much"}, "a number"),
    ],
)
def test_limits_that_cannot_be_are_refused(define: Defining, kind: str, limits: dict[str, Any], reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        define("x", kind, limits=limits)


def test_stored_values_stay_when_limits_are_added(
    app: AppContext, technologist: Actor, register: Registering, define: Defining
) -> None:
    field = define("hemoglobin", "decimal")
    patient = register(hemoglobin=5000)
    with app.database.writing() as session:
        changed = field_definitions.change_field(session, technologist, field.id, limits=HEMOGLOBIN)
        assert changed.limits == HEMOGLOBIN
    with app.database.writing() as session:
        service.change_patient(session, app.keys, technologist, patient.id, sex="M")
    with pytest.raises(Invalid, match="at most"):
        change(app, technologist, patient, hemoglobin=5001)
