# SPDX-License-Identifier: Apache-2.0
"""Ids and texts that are longer than their columns are refused with a reason, on both databases alike."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import pydicom
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import String, insert, update

from medhub.audit.service import AuditAct, record, verify_chain
from medhub.errors import Invalid
from medhub.foundation import clock
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import Base
from medhub.records.models import Patient
from tests.entrypoints.conftest import ClientOf
from tests.factories.accounts import People
from tests.factories.cases import PATHWAY, make_patient
from tests.factories.images import in_doubt, photograph

LENGTHS = (33, 65, 5000)


def _operations(web_app: FastAPI) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in web_app.openapi()["paths"].items():
        for method, operation in item.items():
            if not path.startswith("/api/auth"):  # the caller stays signed in
                yield method.upper(), path, operation


def _takes_text(parameter: dict[str, Any]) -> bool:
    schema = parameter["schema"]
    return any(option.get("type") == "string" for option in schema.get("anyOf", [schema]))


@pytest.mark.parametrize("role", ["administrator", "viewer"])
def test_long_ids_in_paths_and_queries_are_refused(web_app: FastAPI, client: ClientOf, role: str) -> None:
    caller = client(role)
    broken = []
    for method, path, operation in _operations(web_app):
        parameters = [parameter for parameter in operation.get("parameters", []) if _takes_text(parameter)]
        queries = [parameter["name"] for parameter in parameters if parameter["in"] == "query"]
        for length in LENGTHS:
            address = re.sub(r"\{[^}]+\}", "9" * length, path)
            calls = [{name: "9" * length} for name in queries] if method == "GET" else [{}]
            for query in calls if address == path else [{}, *calls]:
                status = caller.request(method, address, params=query).status_code
                if status >= 500:
                    broken.append((method, path, list(query), length, status))
    assert broken == []
    assert caller.get("/api/auth/session").status_code == 200


def test_a_reading_with_a_long_id_does_not_disturb_others(client: ClientOf, app: AppContext) -> None:
    answer = client("viewer").get("/api/images", params={"patient_id": "p" * 40})
    assert answer.status_code == 422
    with app.database.reading() as session:
        assert verify_chain(session).broken_at is None


@pytest.mark.parametrize(
    "values",
    [{"patient_id": "p" * 33}, {"object_id": "o" * 65}, {"actor": "a" * 121}, {"detail": {"name": "a\x00b"}}],
    ids=lambda values: next(iter(values)),
)
def test_an_act_that_no_column_can_hold_is_refused_alone(app: AppContext, values: dict[str, Any]) -> None:
    act = AuditAct(**{"action": "test.read", "object_type": "test", **values})
    with pytest.raises(Invalid), app.database.reading() as session:
        record(session, act)
    with app.database.reading() as session:
        record(session, AuditAct("test.read", "test"))
        assert verify_chain(session).broken_at is None


def test_a_text_longer_than_its_column_is_refused(app: AppContext) -> None:
    stored = []
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            if not isinstance(column.type, String) or column.type.length is None:
                continue
            text = "é" * (column.type.length + 1)
            for statement in (
                insert(table).values({column.name: text}),
                insert(table).values([{column.name: text}]),
                update(table).values({column.name: text}),
            ):
                try:
                    with app.database.writing() as session:
                        session.connection().execute(statement)
                except Invalid:
                    continue
                stored.append(str(column))
            with pytest.raises(Invalid, match="characters") as refusal, app.database.writing() as session:
                session.connection().execute(insert(table), [{column.name: text}])
            assert text not in refusal.value.message
    assert stored == []


def test_an_object_with_a_long_text_is_refused_at_its_flush(app: AppContext, people: People) -> None:
    patient = Patient(id="p" * 32, project_id=people.project_id, code="P-" + "7" * 40, sex="F", fields={})
    patient.created_at = patient.changed_at = clock.now()
    with pytest.raises(Invalid, match="characters"), app.database.writing() as session:
        session.add(patient)
    with app.database.reading() as session:
        assert session.get(Patient, "p" * 32) is None


def test_a_value_that_the_database_refuses_is_the_fault_of_the_request(client: ClientOf, web_app: FastAPI) -> None:
    """The answer to what the checks before it let pass is 422, never 500."""
    del web_app
    administrator: TestClient = client("administrator")
    answer = administrator.post("/api/projects", json={"name": "ok", "description": "a\x00b"})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("StudyTime", "1" * 40),
        ("StudyDate", "2" * 40),
        ("Modality", "M" * 40),
        ("StudyInstanceUID", "1.2." + "3" * 100),
        ("SeriesInstanceUID", "1.2." + "3" * 100),
        ("SOPInstanceUID", "1.2." + "3" * 100),
        ("StudyDescription", "d" * 5000),
    ],
)
def test_a_dicom_file_with_a_long_value_is_accepted_or_quarantined(
    app: AppContext, people: People, client: ClientOf, keyword: str, value: str
) -> None:
    data = io.BytesIO()
    with pydicom.config.disable_value_validation():
        dataset = pydicom.dcmread(io.BytesIO(in_doubt(5)))
        setattr(dataset, keyword, value)
        dataset.BurnedInAnnotation = "NO"
        dataset.save_as(data)
    answer = client("technologist").post(
        "/api/images",
        data={"patient_id": make_patient(app, people), "pathway": PATHWAY},
        files=[("files", ("long.dcm", data.getvalue())), ("files", ("good.jpg", photograph(3)))],
    )
    assert answer.status_code == 200, answer.text
    outcomes = [item["outcome"] for item in answer.json()["items"]]
    assert outcomes[0] in {"accepted", "quarantined"}
    assert outcomes[1] == "accepted"
