# SPDX-License-Identifier: Apache-2.0
"""What a whole working day leaves in the audit log: each act once, and nobody's identity."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from medhub.accounts.permissions import Role
from medhub.audit.models import AuditEntry
from medhub.audit.service import verify_chain
from medhub.entrypoints.web import create_app
from medhub.foundation.app_context import AppContext
from tests.factories.accounts import People, client_of
from tests.factories.cases import run_jobs, use_classifier
from tests.factories.images import photograph

NAME = "Siti Nurhaliza binti Tarudin"
IDENTITY = {
    "name": NAME,
    "hospital_number": "H-884422",
    "birth_date": "1979-01-11",
    "email": "siti.nurhaliza@mail.example",
    "phone": "+60-12-7788990",
}
NOTE = "Auer rods, she is a teacher at Kampung Awah"


def test_a_working_day_leaves_each_act_and_no_identity(
    app: AppContext, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch, 0.6)
    web_app = create_app(app, run_jobs=False)
    technologist, physician, administrator = (
        client_of(web_app, app, f"{role}@lab.example")
        for role in (Role.TECHNOLOGIST, Role.PHYSICIAN, Role.ADMINISTRATOR)
    )
    created = technologist.post("/api/patients", json={"sex": "F", "birth_year": 1979, "identity": IDENTITY})
    patient_id = created.json()["id"]
    results = technologist.get("/api/patients", params={"query": "Nurhaliza"}).json()
    assert results["total"] == 1
    assert technologist.get(f"/api/patients/{patient_id}").json()["identity"]["name"] == NAME
    changed = technologist.patch(f"/api/patients/{patient_id}", json={"identity": {**IDENTITY, "phone": "+60-1"}})
    assert changed.status_code == 200
    uploaded = technologist.post(
        "/api/images",
        data={"patient_id": patient_id, "pathway": "smear-review"},
        files=[("files", (f"{NAME}.jpg", photograph(1)))],
    ).json()
    image_id = uploaded["items"][0]["image_id"]
    run_jobs(app)
    assert physician.get(f"/api/images/{image_id}").status_code == 200
    assert physician.get(f"/api/images/{image_id}/rendered").status_code == 200
    assert physician.get(f"/api/images/{image_id}/original").status_code == 200
    assert physician.get(f"/api/images/{image_id}/evidence").status_code == 200
    assert technologist.put(f"/api/images/{image_id}/verdict", json={"label": "neutrophil"}).status_code == 403
    given = physician.put(f"/api/images/{image_id}/verdict", json={"label": "neutrophil", "note": NOTE})
    assert given.status_code == 200
    case_id = physician.get("/api/cases").json()["items"][0]["id"]
    assert physician.post(f"/api/cases/{case_id}/sign", json={"note": NOTE}).status_code == 200
    run_jobs(app)
    assert physician.get(f"/api/cases/{case_id}/report.pdf").status_code == 200
    assert physician.post(f"/api/cases/{case_id}/correct", json={"reason": NOTE}).status_code in {200, 201}
    erased = administrator.delete(f"/api/patients/{patient_id}", params={"erase": "true"})
    assert erased.status_code == 200

    with app.database.reading() as session:
        entries = list(session.scalars(select(AuditEntry).order_by(AuditEntry.seq)))
        assert verify_chain(session).broken_at is None
    of_patient = [entry.action for entry in entries if entry.patient_id == patient_id]
    for action in (
        "patient.create",
        "patient.read",
        "identity.read",
        "patient.change",
        "image.receive",
        "prediction.make",
        "case.open",
        "image.view",
        "verdict.give",
        "case.sign",
        "report.issue",
        "report.read",
        "case.correct",
        "patient.erase",
    ):
        assert action in of_patient, action
    assert of_patient.count("patient.create") == of_patient.count("image.receive") == 1
    assert of_patient.count("image.view") >= 3
    assert [(entry.action, entry.actor) for entry in entries if entry.outcome == "refused"] == [
        ("verdict.give", "The technologist")
    ]
    recorded = json.dumps(
        [[str(getattr(entry, column.key)) for column in AuditEntry.__table__.columns] for entry in entries],
        ensure_ascii=False,
    ).lower()
    for secret in (*IDENTITY.values(), *NAME.split()[:2], "Tarudin", "Auer", "Kampung"):
        assert secret.lower() not in recorded, secret


def test_the_one_who_erased_is_known_and_the_erased_is_not(app: AppContext, people: People) -> None:
    web_app = create_app(app, run_jobs=False)
    administrator = client_of(web_app, app, f"{Role.ADMINISTRATOR}@lab.example")
    created = administrator.post("/api/patients", json={"sex": "F", "identity": IDENTITY}).json()
    administrator.delete(f"/api/patients/{created['id']}", params={"erase": "true"})
    with app.database.reading() as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "patient.erase")).one()
    assert (entry.actor_id, entry.object_id, entry.outcome) == (
        people.user_ids[Role.ADMINISTRATOR],
        created["id"],
        "done",
    )
    assert entry.detail == {"images": 0, "blobs": 0}
    assert created["code"] not in str(entry.detail)
