# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from tests.entrypoints.conftest import ClientOf

IDENTITY = {"name": "Siti binti Abdullah", "hospital_number": "H-100234", "birth_date": "1980-03-14"}


def test_a_second_registration_is_refused_until_it_is_confirmed_with_a_reason(client: ClientOf) -> None:
    technologist = client("technologist")
    first = technologist.post("/api/patients", json={"identity": IDENTITY})
    assert first.status_code == 201
    assert first.json()["birth_year"] == 1980
    again = {"identity": {"name": "Ann Lee", "hospital_number": "h 0100234"}}
    refused = technologist.post("/api/patients", json=again)
    body = refused.json()
    assert (refused.status_code, body["code"]) == (409, "duplicate-patient")
    assert first.json()["code"] in body["detail"]
    assert body["duplicates"] == [
        {"id": first.json()["id"], "code": first.json()["code"], "reasons": ["hospital_number"]}
    ]
    assert body["errors"][0]["field"] == "identity.hospital_number"
    without = technologist.post("/api/patients", json={**again, "confirm_duplicate": True})
    assert (without.status_code, without.json()["errors"][0]["field"]) == (422, "duplicate_reason")
    confirmed = {**again, "confirm_duplicate": True, "duplicate_reason": "The number was given twice"}
    second = technologist.post("/api/patients", json=confirmed)
    assert second.status_code == 201
    rows = technologist.get("/api/patients", params={"query": "H-100234"}).json()["items"]
    assert {row["id"] for row in rows} == {first.json()["id"], second.json()["id"]}
    assert client("researcher").get("/api/patients", params={"query": "H-100234"}).json()["items"] == []


def test_a_birth_date_that_cannot_be_is_answered_with_the_reason(client: ClientOf) -> None:
    for birth_date, word in (("1980-02-31", "calendar"), ("2580-01-01", "future"), ("1700-01-01", "1880")):
        refused = client("technologist").post("/api/patients", json={"identity": {"birth_date": birth_date}})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["field"] == "identity.birth_date"
        assert word in refused.json()["detail"]
    contradiction = {"birth_year": 1981, "identity": {"birth_date": "1980-03-14"}}
    refused = client("technologist").post("/api/patients", json=contradiction)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "birth_year")
