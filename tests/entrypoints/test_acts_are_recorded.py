# SPDX-License-Identifier: Apache-2.0
"""Every route that touches a patient's data leaves one entry in the audit log, with who, what, which and from where."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from sqlalchemy import func, select

from medhub.accounts.permissions import Role
from medhub.audit.models import AuditEntry
from medhub.audit.service import verify_chain
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import Isolation
from tests.factories.accounts import make_people
from tests.factories.api_calls import CALLS, World
from tests.factories.app_contexts import open_app_on
from tests.factories.cases import IDENTITY, use_classifier
from tests.test_permissions import TABLE, expected

# What each route is recorded as; a route that shows or changes nothing of a patient is recorded as nothing.
ACTS: dict[str, tuple[str, ...]] = {
    "GET /api/patients": ("patient.list",),
    "POST /api/patients": ("patient.create",),
    "GET /api/patients/{id}": ("patient.read", "identity.read"),
    "PATCH /api/patients/{id}": ("patient.change", "identity.read"),
    "DELETE /api/patients/{id}": ("patient.delete",),
    "DELETE /api/patients/{id}?erase=true": ("patient.erase",),
    "GET /api/patients/{id}/erasure": ("patient.read",),
    "POST /api/patients/{id}/erasure": ("patient.erase",),
    "DELETE /api/patients/{id}/erasure": ("patient.erasure-withdraw",),
    "GET /api/patients/{id}/summary": ("patient.read",),
    "GET /api/studies": ("study.list",),
    "POST /api/studies": ("study.create",),
    "GET /api/studies/{id}": ("study.read",),
    "PATCH /api/studies/{id}": ("study.change",),
    "DELETE /api/studies/{id}": ("study.delete",),
    "GET /api/series": ("series.list",),
    "POST /api/series": ("series.create",),
    "GET /api/series/{id}": ("series.read",),
    "PATCH /api/series/{id}": ("series.change",),
    "DELETE /api/series/{id}": ("series.delete",),
    "POST /api/series/{id}/move": ("series.move",),
    "POST /api/images/move": ("image.move",),
    "POST /api/images/delete": ("image.delete",),
    "POST /api/images": ("image.receive",),
    "GET /api/arrivals": ("arrival.list",),
    "GET /api/erasures": (),
    "GET /api/erasures/{id}": (),
    "GET /api/arrivals/{id}": ("arrival.read",),
    "GET /api/arrivals/{id}/frames/{number}": ("arrival.view",),
    "POST /api/arrivals/{id}/release": ("arrival.release",),
    "GET /api/arrivals/{id}/person": ("arrival.identify",),
    "POST /api/arrivals/{id}/assign": ("arrival.assign", "arrival.release"),
    "POST /api/arrivals/{id}/discard": ("arrival.discard",),
    "GET /api/images/{id}/manifest": ("image.view",),
    "PUT /api/projects/{id}/profile": ("profile.choose",),
    "POST /api/projects/{id}/profile/preview": ("profile.preview",),
    "GET /api/projects/{id}/archive": (),
    "POST /api/projects/{id}/files": ("patient.create", "image.receive"),
    "PUT /api/projects/{id}/archive": ("archive.change",),
    "POST /api/projects/{id}/archive/index": ("archive.index",),
    "GET /api/projects/{id}/profile": (),
    "POST /api/dicom-nodes": ("peer.create",),
    "POST /api/peers": ("peer.create",),
    "PATCH /api/dicom-nodes/{id}": ("peer.change",),
    "PATCH /api/peers/{id}": ("peer.change",),
    "DELETE /api/dicom-nodes/{id}": ("peer.delete",),
    "DELETE /api/peers/{id}": ("peer.delete",),
    "POST /api/dicom-nodes/{id}/echo": ("peer.echo",),
    "POST /api/peers/{id}/echo": ("peer.echo",),
    "GET /api/scheduled-studies": ("worklist.list",),
    "POST /api/scheduled-studies": ("worklist.create",),
    "GET /api/scheduled-studies/{id}": ("worklist.read",),
    "PATCH /api/scheduled-studies/{id}": ("worklist.change",),
    "DELETE /api/scheduled-studies/{id}": ("worklist.cancel",),
    "GET /api/dicom-nodes": (),
    "GET /api/peers": (),
    "GET /api/dicom-nodes/listener": (),
    "GET /api/peers/listener": (),
    "GET /api/dicom-nodes/{id}": (),
    "GET /api/peers/{id}": (),
    "GET /api/images": ("image.list",),
    "GET /api/images/{id}": ("image.read",),
    "PATCH /api/images/{id}": ("image.change",),
    "DELETE /api/images/{id}": ("image.delete",),
    "GET /api/images/{id}/rendered": ("image.view",),
    "GET /api/images/{id}/content": ("image.view",),
    "GET /api/images/{id}/evidence": ("image.view",),
    "GET /api/images/{id}/original": ("image.view",),
    "PUT /api/images/{id}/verdict": ("verdict.give",),
    "DELETE /api/images/{id}/verdict": ("verdict.take-back",),
    "GET /api/cases": ("case.list",),
    "GET /api/cases/{id}": ("case.read",),
    "POST /api/cases/{id}/sign": ("case.sign",),
    "POST /api/cases/{id}/correct": ("case.correct",),
    "GET /api/cases/{id}/report.pdf": ("report.read",),
    "GET /api/reports": ("report.list",),
    # People, projects, fields, signing in: no patient's data, but acts that an auditor asks for.
    "POST /api/users": ("user.create",),
    "PATCH /api/users/{id}": ("user.change",),
    "DELETE /api/users/{id}": ("user.delete",),
    "PUT /api/users/{id}/memberships/{project_id}": ("user.change",),
    "DELETE /api/users/{id}/memberships/{project_id}": ("user.change",),
    "POST /api/projects": ("project.create",),
    "PATCH /api/projects/{id}": ("project.change",),
    "DELETE /api/projects/{id}": ("project.delete",),
    "POST /api/fields": ("field.define",),
    "PATCH /api/fields/{id}": ("field.change",),
    "DELETE /api/fields/{id}": ("field.delete",),
    "POST /api/auth/session": ("account.sign-in",),
    "POST /api/auth/token": ("account.sign-in",),
    "DELETE /api/auth/session": ("account.sign-out",),
    "POST /api/auth/revoke": ("account.sign-out",),
    "POST /api/auth/password": ("account.change",),
    # Data sets, trainings, and which classifier reads.
    "POST /api/datasets": ("dataset.create",),
    "POST /api/datasets/zip": ("dataset.create",),
    "GET /api/datasets/{id}/rows": ("dataset.read",),
    "GET /api/datasets/{id}/provenance.csv": ("dataset.export",),
    "POST /api/training-runs": ("training.start",),
    "POST /api/training-runs/{id}/stop": ("training.stop",),
    "GET /api/classifiers/{digest}/predictions": ("prediction.list",),
    "POST /api/promotions": ("promotion.request",),
    "POST /api/promotions/{id}/approve": ("promotion.approve",),
    "POST /api/promotions/{id}/reject": ("promotion.reject",),
    "PUT /api/pathways/{name}/limits": ("limits.change",),
    "PUT /api/pathways/{name}/shadow": ("classifier.begin-shadow",),
    "DELETE /api/pathways/{name}/shadow": ("classifier.end-shadow",),
    "POST /api/pathways/{name}/rollback": ("classifier.roll-back",),
    # Leaving.
    "POST /api/exports": ("export.create",),
    "DELETE /api/exports/{id}": ("export.destroy",),
    "GET /api/exports/{id}/sendings": (),
    "POST /api/exports/{id}/sendings": ("export.send",),
    "GET /api/exports/{id}/file": ("export.download",),
    "GET /api/exports/{id}/findings": ("export.read-findings",),
    "GET /api/exports/{id}/findings/{finding_id}/picture": ("export.view-finding",),
    "POST /api/exports/{id}/findings/{finding_id}/clear": ("export.clear",),
    "POST /api/exports/{id}/findings/{finding_id}/exclude": ("export.exclude",),
    "GET /api/exports": (),
    "GET /api/exports/{id}": (),
    # DICOMweb.
    "GET /dicom-web/studies": ("study.search",),
    "GET /dicom-web/series": ("series.search",),
    "GET /dicom-web/instances": ("image.search",),
    "GET /dicom-web/studies/{study}/series": ("series.search",),
    "GET /dicom-web/studies/{study}/instances": ("image.search",),
    "GET /dicom-web/studies/{study}/series/{series}/instances": ("image.search",),
    "GET /dicom-web/studies/{study}": ("study.retrieve",),
    "GET /dicom-web/studies/{study}/series/{series}": ("series.retrieve",),
    "GET /dicom-web/studies/{study}/series/{series}/instances/{instance}": ("image.retrieve",),
    "GET /dicom-web/studies/{study}/metadata": ("study.retrieve",),
    "GET /dicom-web/studies/{study}/series/{series}/metadata": ("series.retrieve",),
    "GET /dicom-web/studies/{study}/series/{series}/instances/{instance}/metadata": ("image.retrieve",),
    "GET /dicom-web/studies/{study}/series/{series}/instances/{instance}/bulkdata/{path:path}": ("image.retrieve",),
    "GET /dicom-web/studies/{study}/series/{series}/instances/{instance}/frames/{numbers}": ("image.retrieve",),
    "GET /dicom-web/studies/{study}/series/{series}/instances/{instance}/frames/{number}/rendered": ("image.retrieve",),
    "GET /dicom-web/studies/{study}/series/{series}/instances/{instance}/rendered": ("image.retrieve",),
    "GET /dicom-web/studies/{study}/rendered": ("study.retrieve",),
    "GET /dicom-web/studies/{study}/series/{series}/rendered": ("series.retrieve",),
    "GET /dicom-web/wado": ("image.retrieve",),
    "GET /wado": ("image.retrieve",),
    "GET /dicom-web/studies/{study}/thumbnail": ("study.retrieve",),
    "GET /dicom-web/studies/{study}/series/{series}/thumbnail": ("series.retrieve",),
    "GET /dicom-web/studies/{study}/series/{series}/instances/{instance}/thumbnail": ("image.retrieve",),
    "POST /dicom-web/studies": ("patient.create", "image.receive"),
    "POST /dicom-web/studies/{study}": ("patient.create", "image.receive"),
    "DELETE /dicom-web/studies/{study}": ("study.delete",),
    "DELETE /dicom-web/studies/{study}/series/{series}": ("series.delete",),
    "DELETE /dicom-web/studies/{study}/series/{series}/instances/{instance}": ("image.delete",),
    # Figures without a patient, and what says nothing of any.
    "GET /api/images/count": (),
    "GET /api/dashboard": (),
    "GET /api/auth/session": (),
    "GET /api/users": (),
    "GET /api/users/{id}": (),
    "GET /api/projects": (),
    "GET /api/projects/{id}": (),
    "GET /api/fields": (),
    "GET /api/pathways": (),
    "GET /api/classifiers": (),
    "GET /api/datasets": (),
    "GET /api/datasets/{id}": (),
    "GET /api/recipes": (),
    "GET /api/training-runs": (),
    "GET /api/training-runs/{id}": (),
    "GET /api/classifiers/{digest}": (),
    "GET /api/classifiers/{digest}/compare": (),
    "GET /api/promotions": (),
    "GET /api/promotions/{id}": (),
    "GET /api/pathways/{name}/classifiers": (),
    "GET /api/pathways/{name}/agreement": (),
    "GET /api/pathways/{name}/drift": (),
    "GET /api/audit": (),
    "GET /api/audit/verification": (),
    "GET /api/audit/actions": (),
    "GET /api/health": (),
    "GET /api/ready": (),
    "GET /api/openapi.json": (),
    "GET /metrics": (),
    "GET /{path:path}": (),
}
# What touches the data of one patient says whose; these lists are of several.
OF_SEVERAL = {"GET /api/patients", "GET /api/series", "GET /api/reports", "GET /api/scheduled-studies"} | {
    route for route, acts in ACTS.items() if any(act.endswith(".search") for act in acts)
}
_NOT_OF_A_PATIENT = (
    *(
        "users",
        r"projects(?!/\{id\}/files)",
        "dicom-nodes",
        "peers",
        "fields",
        "auth",
        "datasets",
        "training-runs",
        "classifiers",
    ),
    *("promotions", "pathways", "exports", ".*/person"),
)
NOT_OF_A_PATIENT = f"/api/({'|'.join(_NOT_OF_A_PATIENT)})"
OF_A_PATIENT = {
    route for route, acts in ACTS.items() if acts and route not in OF_SEVERAL and not re.search(NOT_OF_A_PATIENT, route)
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def app(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, isolation: Isolation
) -> Iterator[AppContext]:
    with open_app_on(request, request.param, tmp_path_factory.mktemp("recorded"), isolation, "recorded") as app:
        yield app


@pytest.fixture(scope="module")
def world(app: AppContext, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_classifier(monkeypatch)
        yield World(app, make_people(app), tmp_path_factory.mktemp("web"))


def last_seq_of(app: AppContext) -> int:
    with app.database.reading() as session:
        return session.scalar(select(func.max(AuditEntry.seq))) or 0


def entries_after(app: AppContext, number: int) -> list[AuditEntry]:
    with app.database.reading() as session:
        return list(session.scalars(select(AuditEntry).where(AuditEntry.seq > number).order_by(AuditEntry.seq)))


def test_every_route_is_in_the_table() -> None:
    assert set(ACTS) == set(TABLE)


@pytest.mark.parametrize("route", ACTS)
def test_a_call_is_recorded_as_what_it_is(world: World, route: str) -> None:
    role = next(role for role, status in zip(Role, expected(route)[0], strict=True) if status < 300)
    email = f"{role}@lab.example"
    client = world.client(email)
    call = CALLS[route](world, True, email)
    last_seq = last_seq_of(world.app)
    response = client.request(route.partition(" ")[0], call.path, **call.send)
    world.forget_clients()
    assert response.status_code < 300, response.text
    entries = entries_after(world.app, last_seq)
    assert tuple(entry.action for entry in entries) == ACTS[route]
    for entry in entries:
        assert (entry.actor_id, entry.actor) == (world.people.user_ids[role], f"The {role}")
        assert (entry.outcome, entry.origin) == ("done", "testclient")
        assert (entry.patient_id is not None) == (route in OF_A_PATIENT)
        if "{id}" in route and "/api/series" not in route and not route.endswith(("/correct", "/files")):
            assert entry.object_id is not None
            assert entry.object_id in call.path


@pytest.mark.parametrize("route", [route for route in ACTS if 403 in expected(route)[0]])
def test_a_refused_call_is_recorded_as_refused(world: World, route: str) -> None:
    role = next(role for role, status in zip(Role, expected(route)[0], strict=True) if status == 403)
    email = f"{role}@lab.example"
    client = world.client(email)
    call = CALLS[route](world, False, email)
    last_seq = last_seq_of(world.app)
    assert client.request(route.partition(" ")[0], call.path, **call.send).status_code == 403
    (entry,) = entries_after(world.app, last_seq)
    assert (entry.outcome, entry.actor_id) == ("refused", world.people.user_ids[role])
    if "{id}" in route:
        assert entry.object_id is not None
        assert entry.object_id in call.path


def test_what_the_browser_has_already_is_recorded_as_seen(world: World) -> None:
    url = f"/api/images/{world.image_id}/rendered?size=64"
    client = world.client("viewer@lab.example")
    etag = client.get(url).headers["etag"]
    last_seq = last_seq_of(world.app)
    assert client.get(url, headers={"If-None-Match": etag}).status_code == 304
    (entry,) = entries_after(world.app, last_seq)
    assert (entry.action, entry.object_id) == ("image.view", world.image_id)


def test_a_failed_act_leaves_no_entry_that_says_it_was_done(world: World) -> None:
    client = world.client("administrator@lab.example")
    last_seq = last_seq_of(world.app)
    assert client.delete(f"/api/patients/{world.patient_id}").status_code == 409
    assert client.patch(f"/api/patients/{world.patient_id}", json={"birth_year": 1001}).status_code == 422
    assert entries_after(world.app, last_seq) == []


def test_a_wrong_password_is_recorded_without_the_name_that_was_tried(world: World) -> None:
    last_seq = last_seq_of(world.app)
    for email in ("viewer@lab.example", "siti@lab.example"):
        form = {"username": email, "password": "not the password"}
        assert world.client(None).post("/api/auth/token", data=form).status_code == 401
    known, unknown = entries_after(world.app, last_seq)
    assert (known.action, known.outcome, known.object_id) == (
        "account.sign-in",
        "refused",
        world.people.user_ids[Role.VIEWER],
    )
    assert unknown.object_id is None


def test_the_chain_holds_and_names_no_patient(world: World) -> None:
    world.client("physician@lab.example").get(f"/api/patients?query={IDENTITY['name']}")
    with world.app.database.reading() as session:
        assert verify_chain(session).broken_at is None
        entry_texts = [
            f"{entry.actor} {entry.detail} {entry.object_id} {entry.origin}"
            for entry in session.scalars(select(AuditEntry))
        ]
    identifying_words = {word for value in IDENTITY.values() for word in value.split()} | {"smear.jpg", "1980"}
    # Whole words: an id may hold any four digits.
    searched = re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in identifying_words))
    assert [text for text in entry_texts if searched.search(text)] == []
