# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from fastapi import FastAPI
from fastapi.testclient import TestClient

from medhub.foundation.app_context import AppContext
from tests.factories.accounts import People, client_of
from tests.factories.cases import make_patient


def test_the_log_is_searched_by_the_code_of_a_patient(web_app: FastAPI, app: AppContext, people: People) -> None:
    client = client_of(web_app, app, "administrator@lab.example")
    patients = [client.get(f"/api/patients/{make_patient(app, people)}").json() for _ in range(2)]
    for patient in patients:
        for query in (patient["code"], patient["code"].lower(), patient["code"][-5:]):
            page = client.get("/api/audit", params={"query": query}).json()
            assert page["total"] > 0
            assert {row["patient_code"] for row in page["items"]} == {patient["code"]}
            assert {row["patient_id"] for row in page["items"]} == {patient["id"]}
    outsider = client_of(web_app, app, "outsider@lab.example")
    assert outsider.get("/api/audit", params={"query": patients[0]["code"]}).json()["total"] == 0


def test_refused_sign_ins_are_shown_to_the_administrators_of_the_person(
    web_app: FastAPI, app: AppContext, people: People, nobody: TestClient
) -> None:
    for email in ("viewer@lab.example", "unknown@lab.example"):
        refused = nobody.post("/api/auth/session", json={"email": email, "password": "not the password"})
        assert refused.status_code == 401

    def refused_accounts(email: str) -> list[str | None]:
        page = client_of(web_app, app, email).get("/api/audit", params={"outcome": "refused"}).json()
        return [row["object_id"] for row in page["items"] if row["action"] == "account.sign-in"]

    assert refused_accounts("administrator@lab.example") == [None, people.user_ids["viewer"]]  # type: ignore[index]
    assert refused_accounts("outsider@lab.example") == [None]
