# SPDX-License-Identifier: Apache-2.0
"""One good call for every route of the application, on objects of the first project."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from medhub.accounts import service as accounts
from medhub.accounts.actor import Actor
from medhub.accounts.models import Membership, User
from medhub.accounts.permissions import Role
from medhub.classification import appointments
from medhub.classification.models import ShadowPrediction
from medhub.classification.registry import all_installed
from medhub.entrypoints.web import create_app
from medhub.export import service as exports
from medhub.export import tasks as export_tasks
from medhub.export.models import ExportFinding
from medhub.export.selection import Selection
from medhub.foundation import clock, ids
from medhub.foundation.app_context import AppContext
from medhub.ingest.context import IngestSource
from medhub.ingest.ingest_file import ReceivedFile
from medhub.ingest.models import Arrival
from medhub.ingest.pipeline import ingest_files
from medhub.nodes import service as nodes
from medhub.records import field_definitions, series_service, studies
from medhub.records.erasure import erase_patient
from medhub.records.models import ErasureRequest, FieldDefinition, Image, Patient, Series, Study
from medhub.records.pathway import Pathway, get_pathway
from medhub.review import service as review
from medhub.training import datasets, promotions, runs
from medhub.training.models import Promotion
from medhub.training.promotion_criteria import PromotionCriteria
from medhub.worklist import service as worklist
from tests.factories.accounts import PASSWORD, People, client_of, make_user
from tests.factories.cases import PATHWAY, make_case, make_patient, run_jobs, upload
from tests.factories.colors import COLORS, packed, picture, sign_case
from tests.factories.cts import ct
from tests.factories.images import in_doubt, photograph
from tests.factories.servers import small_ct, written

WADO_QUERY = "requestType=WADO&studyUID={w.uids[0]}&seriesUID={w.uids[1]}&objectUID={w.uids[2]}"
COLORED = ("tiny", "second")
LEVELS = ("studies", "series", "instances")


@dataclass(frozen=True)
class Call:
    """What is sent to a route."""

    path: str
    send: dict[str, Any] = field(default_factory=dict)


class World:
    """An installation with an object for every route, and methods that add further ones."""

    def __init__(self, app: AppContext, people: People, web: Path) -> None:
        (web / "index.html").write_text("<!doctype html><title>Medhub</title>")
        self.app, self.people = app, people
        self.web_app: FastAPI = create_app(app, run_jobs=False, web=web)
        self._numbers = itertools.count(1)
        self._clients: dict[str | None, TestClient] = {}
        with app.database.writing() as session:
            for role in Role:
                user = make_user(f"foreign-{role}@lab.example", f"The other {role}")
                session.add(user)
                session.flush()
                session.add(Membership(user_id=user.id, project_id=people.other_project_id, role=role))
            both = make_user("both@lab.example", "Viewer here, administrator there")
            session.add(both)
            session.flush()
            session.add(Membership(user_id=both.id, project_id=people.project_id, role=Role.VIEWER))
            session.add(Membership(user_id=both.id, project_id=people.other_project_id, role=Role.ADMINISTRATOR))
            session.add(make_user("alone@lab.example", "In no project"))
        self.patient_id = make_patient(app, people)
        self.case_id, self.image_ids = make_case(app, people, self.patient_id)
        self.image_id = self.image_ids[0]
        self.study_id, self.series_id = self._parents(self.image_id)
        self.signed_case_id, self.signed_image_id = self.signed_case()
        self.field_id = self.field()
        self.arrival_id = self.arrival()
        self.claim_id = self.claim()
        self.node_id = self.dicom_node()
        self.scheduled_id = self.scheduled_study()
        self.erasure_id = self.erasure()
        self.dataset_id = self.dataset()
        self.run_id = self.run()
        self.digests = {classifier.card.name: classifier.digest for classifier in all_installed(app.settings)}
        self._read_colors()
        self.shadow()
        self.promotion_id = self.promotion()
        self.export_id = self.export()
        self.dicom_node("PACS_OF_ALL")
        self.blocked_export_id = self.blocked_export()
        run_jobs(app)

    def client(self, email: str | None) -> TestClient:
        """A client of a person, or of nobody; the same each time, until ``forget_clients``."""
        if email not in self._clients:
            self._clients[email] = (
                TestClient(self.web_app, raise_server_exceptions=False)
                if email is None
                else client_of(self.web_app, self.app, email)
            )
        return self._clients[email]

    def forget_clients(self) -> None:
        """Make every user sign in again."""
        self._clients.clear()

    @property
    def secrets(self) -> list[str]:
        """What only members of the first project may read anywhere."""
        return [
            self.people.project_id,
            self.patient_id,
            self.image_id,
            self.study_id,
            self.series_id,
            self.case_id,
            self.arrival_id,
            self.claim_id,
            self.signed_case_id,
            self.dataset_id,
            self.run_id,
            self.export_id,
            self.node_id,
            self.scheduled_id,
            self.blocked_export_id,
        ]

    def number(self) -> int:
        """A number that was not returned before."""
        return next(self._numbers)

    def _parents(self, image_id: str) -> tuple[str, str]:
        with self.app.database.reading() as session:
            image = session.get_one(Image, image_id)
            return image.study_id, image.series_id

    def patient(self) -> str:
        """A patient without studies."""
        return make_patient(self.app, self.people, identity=False)

    def requested_erasure(self) -> str:
        """A patient whose erasure waits for a second person."""
        patient_id = self.patient()
        with self.app.database.writing() as session:
            session.add(
                ErasureRequest(
                    id=ids.new_id(),
                    project_id=self.people.project_id,
                    patient_id=patient_id,
                    reason="Asked for.",
                    requested_at=clock.now(),
                    requested_by_id=ids.new_id(),
                    requested_by="Somebody else",
                )
            )
        return patient_id

    def case(self, *, verdicts: bool = False) -> tuple[str, str]:
        """A case of one image, and the image; with a verdict if wanted."""
        case_id, (image_id,) = make_case(
            self.app, self.people, self.patient(), images=1, seed=1000 + 10 * self.number()
        )
        if verdicts:
            physician = self.people.actor(self.app, Role.PHYSICIAN)
            with self.app.database.writing() as session:
                review.give_verdict(session, self.app.settings, physician, image_id, "neutrophil", None)
        return case_id, image_id

    def signed_case(self) -> tuple[str, str]:
        """A signed case with its report, and its image."""
        case_id, image_id = self.case(verdicts=True)
        physician = self.people.actor(self.app, Role.PHYSICIAN)
        with self.app.database.writing() as session:
            review.sign_case(session, self.app.settings, physician, case_id, None)
        return case_id, image_id

    def study_of(self, image_id: str) -> str:
        """The study of an image."""
        return self._parents(image_id)[0]

    def series_of(self, image_id: str) -> str:
        """The series of an image."""
        return self._parents(image_id)[1]

    @property
    def uids(self) -> tuple[str, str, str]:
        """The UIDs of the image, outermost first."""
        return self.uids_of(self.image_id)

    def uids_of(self, image_id: str) -> tuple[str, str, str]:
        """The UIDs of the study, the series and the object of an image."""
        with self.app.database.reading() as session:
            image = session.get_one(Image, image_id)
            series = session.get_one(Series, image.series_id)
            return session.get_one(Study, image.study_id).study_uid, series.series_uid, image.sop_instance_uid

    def new_study_beside(self, image_id: str) -> tuple[str, str]:
        """An empty study of an image's patient, and an empty series in it."""
        with self.app.database.writing() as session:
            image = session.get_one(Image, image_id)
            patient = session.get_one(Patient, image.patient_id)
            study = studies.new_study(session, patient, study_uid=ids.new_uid())
            return study.id, series_service.new_series(
                session, study, series_uid=ids.new_uid(), modality=image.modality
            ).id

    def erasure(self) -> str:
        """The certificate of an erased patient."""
        administrator, patient_id = self.people.actor(self.app, Role.ADMINISTRATOR), self.patient()
        with self.app.database.writing() as session:
            return erase_patient(session, self.app, administrator, patient_id).id

    def arrival(self) -> str:
        """A quarantined file whose pixels a person must check for burned-in text."""
        technologist = self.people.actor(self.app, Role.TECHNOLOGIST)
        (outcome,) = upload(self.app, technologist, self.patient_id, in_doubt(self.number()))
        assert outcome.outcome == "quarantined"
        with self.app.database.reading() as session:
            newest = select(Arrival.id).where(Arrival.sealed_bytes.is_not(None)).order_by(Arrival.created_at.desc())
            return session.scalars(newest.limit(1)).one()

    def another_ct(self) -> bytes:
        """A CT of a patient who is not in the archive."""
        number = self.number()
        attributes = {
            "PatientID": f"N{number}",
            "StudyInstanceUID": f"1.2.{number}",
            "SOPInstanceUID": f"1.2.{number}.1",
        }
        return ct(**attributes)

    def claim(self) -> str:
        """A quarantined file whose identifiers contradict those of the patient with the same patient ID."""
        technologist = self.people.actor(self.app, Role.TECHNOLOGIST)
        source, number = IngestSource(self.people.project_id, "command"), self.number()
        identifiers = {"PatientID": f"N{number}", "StudyInstanceUID": f"1.2.{number}"}
        files = [
            ct(**identifiers, SOPInstanceUID=f"1.2.{number}.{n}", PatientSex=sex) for n, sex in ((1, "F"), (2, "M"))
        ]
        received = [ReceivedFile.of(data) for data in files]
        accepted, quarantined = ingest_files(self.app, technologist, source, received)
        assert (accepted.outcome, quarantined.code) == ("accepted", "conflicting-patient")
        with self.app.database.reading() as session:
            newest = select(Arrival.id).where(Arrival.patient_id.is_(None)).order_by(Arrival.created_at.desc())
            return session.scalars(newest.limit(1)).one()

    def dicom_node(self, title: str = "") -> str:
        """A DICOM node at an address that does not answer."""
        administrator = self.people.actor(self.app, Role.ADMINISTRATOR)
        address = {"ae_title": title or f"PACS_{self.number()}", "called_ae": "MEDHUB", "host": "127.0.0.1", "port": 1}
        permissions = {"tls": False, "only_from_host": False, "may_store": True, "may_query": False}
        with self.app.database.writing() as session:
            return nodes.add_node(session, administrator, self.people.project_id, {**address, **permissions}).id

    def scheduled_study(self) -> str:
        """A study that is scheduled for the patient."""
        technologist = self.people.actor(self.app, Role.TECHNOLOGIST)
        start = {"start_date": "20260301", "start_time": "093000", "modality": "CT", "station_ae": ""}
        texts = {"accession_number": "", "description": "CT", "requesting_physician": ""}
        with self.app.database.writing() as session:
            return worklist.schedule_study(session, self.app.keys, technologist, self.patient_id, {**start, **texts}).id

    def field(self) -> str:
        """A field without values."""
        administrator = self.people.actor(self.app, Role.ADMINISTRATOR)
        with self.app.database.writing() as session:
            return field_definitions.define_field(
                session,
                administrator,
                project_id=self.people.project_id,
                subject="patient",
                key=f"field_{self.number()}",
                label="Haemoglobin",
                kind="decimal",
                required=False,
                unit="g/dL",
                choices=[],
                position=0,
            ).id

    def dataset(self) -> str:
        """A version of two uploaded pictures."""
        researcher = self.people.actor(self.app, Role.RESEARCHER)
        return datasets.make_from_zip(
            self.app, researcher, project_id=self.people.project_id, name="bench", data=self.archive()
        )

    def archive(self) -> bytes:
        """A ZIP of two labeled pictures."""
        number = self.number()
        return packed({"neutrophil/1.png": picture("red", number), "basophil/1.png": picture("blue", number)})

    def run(self) -> str:
        """A training run that has not started."""
        researcher = self.people.actor(self.app, Role.RESEARCHER)
        with self.app.database.writing() as session:
            return runs.start_run(
                session,
                self.app.settings,
                researcher,
                name="ours",
                dataset_id=self.dataset_id,
                recipe="quick",
                init=None,
                overrule=None,
            ).id

    def export(self) -> str:
        """An export that is ready."""
        return self._ordered(self.study_of(self.signed_image_id))

    def blocked_export(self) -> str:
        """An export that waits for a decision: its study description contains a date."""
        study_id = self.study_of(self.signed_case()[1])
        with self.app.database.writing() as session:
            session.get_one(Study, study_id).description = "Seen on 12.03.2026"
        return self._ordered(study_id)

    def _ordered(self, study_id: str) -> str:
        researcher = self.people.actor(self.app, Role.RESEARCHER)
        selection = Selection("studies", (study_id,))
        with self.app.database.writing() as session:
            export_id = exports.create_export(
                session, self.app, researcher, project_id=self.people.project_id, selection=selection, form="dicom"
            ).id
        for _ in range(6):  # scanned, packed
            export_tasks.advance_export(self.app, export_id)
        return export_id

    def finding_of(self, export_id: str) -> str:
        """A finding of an export."""
        query = select(ExportFinding.id).where(ExportFinding.export_id == export_id)
        with self.app.database.reading() as session:
            return session.scalars(query.order_by(ExportFinding.id).limit(1)).one()

    def shadow(self) -> None:
        """Put the classifier of colors that is not in use into shadow mode."""
        researcher, pathway = self._researcher_and_colors()
        with self.app.database.writing() as session:
            if appointments.current(session, self.people.project_id, COLORS, appointments.SHADOW) is None:
                in_use = appointments.digest_in_use(session, self.app.settings, self.people.project_id, pathway)
                digest = next(
                    candidate for name, candidate in self.digests.items() if name in COLORED and candidate != in_use
                )
                promotions.start_shadow(session, self.app, researcher, self.people.project_id, pathway, digest)

    def without_shadow(self) -> str:
        """End shadow mode; returns the digest of a classifier that could be put into it."""
        researcher, pathway = self._researcher_and_colors()
        with self.app.database.writing() as session:
            if appointments.current(session, self.people.project_id, COLORS, appointments.SHADOW) is not None:
                appointments.end_shadow(session, researcher, self.people.project_id, pathway)
            in_use = appointments.digest_in_use(session, self.app.settings, self.people.project_id, pathway)
        return next(digest for name, digest in self.digests.items() if name in COLORED and digest != in_use)

    def replaced(self) -> None:
        """Put another classifier than that of the pathway file into use for colors."""
        researcher, pathway = self._researcher_and_colors()
        with self.app.database.writing() as session:
            if not appointments.can_roll_back(session, self.app.settings, self.people.project_id, pathway):
                digest = self.digests["second"]
                appointments.appoint(
                    session,
                    researcher,
                    self.app.settings,
                    self.people.project_id,
                    pathway,
                    digest,
                    appointments.IN_USE,
                )

    def promotion(self, *, by: Role = Role.RESEARCHER) -> str:
        """A request to take the second classifier of colors into use, which keeps all limits; one waits at a time."""
        _, pathway = self._researcher_and_colors()
        actor = self.people.actor(self.app, by)
        administrator = self.people.actor(self.app, Role.ADMINISTRATOR)
        self.withdraw()
        with self.app.database.writing() as session:
            if appointments.can_roll_back(session, self.app.settings, self.people.project_id, pathway):
                appointments.roll_back(session, administrator, self.app.settings, self.people.project_id, pathway)
            generous = PromotionCriteria(margin=0.5, ece=1.0, abstention=1.0, images=1)
            promotions.fix_limits(session, administrator, self.people.project_id, pathway, generous)
            session.flush()
            digest = self.digests["second"]
            return promotions.request_promotion(
                session,
                self.app,
                actor,
                project_id=self.people.project_id,
                digest=digest,
                pathway_name=COLORS,
                margin=None,
            ).id

    def _read_colors(self) -> None:
        """Have both classifiers of colors have read two signed images, and be right."""
        signed = sign_case(self.app, self.people, ["red", "green"], seed=900)
        with self.app.database.writing() as session:
            for image_id, label in zip(signed.image_ids, ("red", "green"), strict=True):
                for name in COLORED:
                    session.add(
                        ShadowPrediction(
                            id=ids.new_id(),
                            image_id=image_id,
                            classifier=name,
                            version="1",
                            digest=self.digests[name],
                            label=label,
                            uncertain=False,
                            likeliest=label,
                            confidence=1.0,
                            threshold=0.5,
                            probabilities={},
                            novelty=0.0,
                            novel=False,
                            milliseconds=1.0,
                            created_at=clock.now(),
                        )
                    )

    def withdraw(self) -> None:
        """Have no promotion wait."""
        administrator = self.people.actor(self.app, Role.ADMINISTRATOR)
        with self.app.database.writing() as session:
            for promotion in session.scalars(select(Promotion).where(Promotion.state == "waiting")):
                promotions.reject_promotion(session, self.app, administrator, promotion.id, "Another one comes.")

    def _researcher_and_colors(self) -> tuple[Actor, Pathway]:
        return self.people.actor(self.app, Role.RESEARCHER), get_pathway(self.app.settings, COLORS)

    def require_no_field(self) -> None:
        """Have patients be registered without any field again, whatever fields were defined."""
        with self.app.database.writing() as session:
            session.execute(update(FieldDefinition).values(required=False))

    def user(self, *, elsewhere: bool = False) -> str:
        """A viewer of the first project who has done nothing; a member of the other project too, if wanted."""
        with self.app.database.writing() as session:
            user = make_user(f"person-{self.number()}@lab.example", "A person")
            session.add(user)
            session.flush()
            session.add(Membership(user_id=user.id, project_id=self.people.project_id, role=Role.VIEWER))
            if elsewhere:
                session.add(Membership(user_id=user.id, project_id=self.people.other_project_id, role=Role.VIEWER))
            return user.id

    def project(self, email: str) -> str:
        """A project without records, administered by a person."""
        with self.app.database.writing() as session:
            user_id = session.scalars(select(User.id).where(User.email == email)).one()
            project = accounts.add_project(session, f"Empty {self.number()}")
            session.add(Membership(user_id=user_id, project_id=project.id, role=Role.ADMINISTRATOR))
        self.web_app.state.sign_in_cache.invalidate()  # as the routes do that change somebody's rights
        return project.id


# A call may change or destroy: what it needs is made anew when it is going to be allowed (`fresh`), and who is not
# allowed to make the call is refused on an object that stays.
Maker = Callable[[World, bool, str], Call]


def _form(world: World, email: str) -> Call:
    return Call("/api/auth/token", {"data": {"username": email, "password": PASSWORD, "grant_type": "password"}})


def _sign_in(world: World, email: str) -> Call:
    return Call("/api/auth/session", {"json": {"email": email, "password": PASSWORD}})


def _upload(world: World) -> Call:
    return Call(
        "/api/images",
        {
            "data": {"patient_id": world.patient_id, "pathway": PATHWAY},
            "files": [("files", ("smear.jpg", photograph(5000 + world.number()), "image/jpeg"))],
        },
    )


def _at(path: str, **send: Any) -> Maker:
    """The same call each time; names in braces stand for what the world has."""

    def make(world: World, _fresh: bool, _email: str) -> Call:
        return Call(path.format(w=world, project=world.people.project_id), send)

    return make


def _zip(world: World) -> Call:
    return Call(
        "/api/datasets/zip",
        {
            "data": {"project_id": world.people.project_id, "name": "bench"},
            "files": {"file": ("Siti binti Abdullah.zip", world.archive(), "application/zip")},
        },
    )


def _start(world: World) -> Call:
    return Call(
        "/api/training-runs",
        {"json": {"name": "ours", "dataset_id": world.dataset_id, "recipe": "quick", "init": "none"}},
    )


def _request(world: World, fresh: bool) -> Call:
    if fresh:
        world.promotion()
        world.withdraw()
    return Call(
        "/api/promotions",
        {"json": {"digest": world.digests["second"], "pathway": COLORS, "project_id": world.people.project_id}},
    )


def _shadow(world: World, fresh: bool) -> Call:
    digest = world.without_shadow() if fresh else world.digests["second"]
    path = f"/api/pathways/{COLORS}/shadow?project_id={world.people.project_id}"
    return Call(path, {"json": {"digest": digest}})


def _after(prepare: Callable[[World], object], path: str, **send: Any) -> Maker:
    """A call that is allowed once the world was prepared for it."""

    def make(world: World, fresh: bool, _email: str) -> Call:
        if fresh:
            prepare(world)
        return Call(path.format(w=world), send)

    return make


def _move(world: World, fresh: bool) -> Call:
    image_id = world.case()[1] if fresh else world.image_id
    series_id = world.new_study_beside(image_id)[1] if fresh else world.series_id
    return Call("/api/images/move", {"json": {"image_ids": [image_id], "to_series_id": series_id}})


def _move_series(world: World, fresh: bool) -> Call:
    image_id = world.case()[1] if fresh else world.image_id
    series_id = world.series_of(image_id)
    study_id = world.new_study_beside(image_id)[0] if fresh else world.study_id
    return Call(f"/api/series/{series_id}/move", {"json": {"to_study_id": study_id}})


def _decide(world: World, fresh: bool, how: str) -> Call:
    export_id = world.blocked_export() if fresh else world.blocked_export_id
    finding_id = world.finding_of(export_id)
    return Call(f"/api/exports/{export_id}/findings/{finding_id}/{how}", {"json": {"note": "Nobody is named."}})


def _store(world: World, of_a_study: bool) -> Call:
    """Objects of a patient who is not in the archive."""
    number = world.number()
    body, boundary = BytesIO(), "objects"
    file = small_ct(1, study=f"1.2.{number}", series=f"1.2.{number}.1", patient=f"7{number}")
    body.write(f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + written(file))
    body.write(f"\r\n--{boundary}--\r\n".encode())
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    path = f"/dicom-web/projects/{world.people.project_id}/studies" + (f"/1.2.{number}" if of_a_study else "")
    return Call(path, {"content": body.getvalue(), "headers": {"Content-Type": kind}})


def _delete(world: World, fresh: bool, depth: int) -> Call:
    uids = world.uids_of(world.case()[1]) if fresh else world.uids
    return Call("/dicom-web" + "".join(f"/{what}/{uid}" for what, uid in zip(LEVELS[:depth], uids, strict=False)))


CALLS: dict[str, Maker] = {
    "GET /api/openapi.json": _at("/api/openapi.json"),
    "GET /api/health": _at("/api/health"),
    "GET /api/ready": _at("/api/ready"),
    "GET /metrics": _at("/metrics"),
    "GET /{path:path}": _at("/patients"),
    "POST /api/auth/session": lambda w, _, email: _sign_in(w, email),
    "GET /api/auth/session": _at("/api/auth/session"),
    "DELETE /api/auth/session": _at("/api/auth/session"),
    "POST /api/auth/password": _at("/api/auth/password", json={"current": PASSWORD, "new": PASSWORD}),
    "POST /api/auth/token": lambda w, _, email: _form(w, email),
    "POST /api/auth/revoke": _at("/api/auth/revoke"),
    "GET /api/users": _at("/api/users?project_id={project}"),
    "POST /api/users": lambda w, *_: Call(
        "/api/users",
        {
            "json": {
                "email": f"new-{w.number()}@lab.example",
                "name": "New",
                "role": "viewer",
                "project_id": w.people.project_id,
                "password": PASSWORD,
            }
        },
    ),
    "GET /api/users/{id}": lambda w, *_: Call(f"/api/users/{w.people.user_ids[Role.VIEWER]}"),
    "PATCH /api/users/{id}": lambda w, fresh, _: Call(
        f"/api/users/{w.user() if fresh else w.people.user_ids[Role.VIEWER]}", {"json": {"name": "Renamed"}}
    ),
    "DELETE /api/users/{id}": lambda w, fresh, _: Call(
        f"/api/users/{w.user() if fresh else w.people.user_ids[Role.VIEWER]}"
    ),
    "PUT /api/users/{id}/memberships/{project_id}": lambda w, fresh, _: Call(
        f"/api/users/{w.user() if fresh else w.people.user_ids[Role.VIEWER]}/memberships/{w.people.project_id}",
        {"json": {"role": "researcher"}},
    ),
    "DELETE /api/users/{id}/memberships/{project_id}": lambda w, fresh, _: Call(
        f"/api/users/{w.user(elsewhere=True) if fresh else w.people.user_ids[Role.VIEWER]}"
        f"/memberships/{w.people.project_id}"
    ),
    "GET /api/projects": _at("/api/projects"),
    "POST /api/projects": lambda w, *_: Call("/api/projects", {"json": {"name": f"Project {w.number()}"}}),
    "GET /api/projects/{id}": _at("/api/projects/{project}"),
    "PATCH /api/projects/{id}": _at("/api/projects/{project}", json={"description": "Blood"}),
    "DELETE /api/projects/{id}": lambda w, fresh, email: Call(
        f"/api/projects/{w.project(email) if fresh else w.people.project_id}"
    ),
    "GET /api/projects/{id}/profile": _at("/api/projects/{project}/profile"),
    "GET /api/projects/{id}/archive": _at("/api/projects/{project}/archive"),
    "POST /api/projects/{id}/files": lambda w, *_: Call(
        f"/api/projects/{w.people.project_id}/files",
        {"files": [("files", ("IM1", w.another_ct(), "application/dicom"))]},
    ),
    "PUT /api/projects/{id}/archive": _at(
        "/api/projects/{project}/archive", json={"duplicates": "changed", "attributes": ["KVP"]}
    ),
    "POST /api/projects/{id}/archive/index": _at("/api/projects/{project}/archive/index"),
    "PUT /api/projects/{id}/profile": _at("/api/projects/{project}/profile", json={"name": "basic"}),
    "POST /api/projects/{id}/profile/preview": lambda w, *_: Call(
        f"/api/projects/{w.people.project_id}/profile/preview",
        {"data": {"name": "basic"}, "files": [("files", ("smear.jpg", photograph(1), "image/jpeg"))]},
    ),
    "GET /api/dicom-nodes": _at("/api/dicom-nodes?project_id={project}"),
    "POST /api/dicom-nodes": lambda w, *_: Call(
        "/api/dicom-nodes",
        {"json": {"project_id": w.people.project_id, "ae_title": f"CT_{w.number()}", "host": "192.0.2.9"}},
    ),
    "GET /api/dicom-nodes/listener": _at("/api/dicom-nodes/listener"),
    "GET /api/dicom-nodes/{id}": _at("/api/dicom-nodes/{w.node_id}"),
    "PATCH /api/dicom-nodes/{id}": _at("/api/dicom-nodes/{w.node_id}", json={"may_query": True}),
    "DELETE /api/dicom-nodes/{id}": lambda w, fresh, _: Call(
        f"/api/dicom-nodes/{w.dicom_node() if fresh else w.node_id}"
    ),
    "POST /api/dicom-nodes/{id}/echo": _at("/api/dicom-nodes/{w.node_id}/echo"),
    "GET /api/peers": _at("/api/peers?project_id={project}"),
    "POST /api/peers": lambda w, *_: Call(
        "/api/peers",
        {"json": {"project_id": w.people.project_id, "ae_title": f"CT_{w.number()}", "host": "192.0.2.9"}},
    ),
    "GET /api/peers/listener": _at("/api/peers/listener"),
    "GET /api/peers/{id}": _at("/api/peers/{w.node_id}"),
    "PATCH /api/peers/{id}": _at("/api/peers/{w.node_id}", json={"may_query": True}),
    "DELETE /api/peers/{id}": lambda w, fresh, _: Call(f"/api/peers/{w.dicom_node() if fresh else w.node_id}"),
    "POST /api/peers/{id}/echo": _at("/api/peers/{w.node_id}/echo"),
    "GET /api/fields": _at("/api/fields?project_id={project}"),
    "POST /api/fields": lambda w, *_: Call(
        "/api/fields",
        {
            "json": {
                "project_id": w.people.project_id,
                "subject": "patient",
                "key": f"key_{w.number()}",
                "label": "Ward",
                "kind": "text",
            }
        },
    ),
    "PATCH /api/fields/{id}": _at("/api/fields/{w.field_id}", json={"label": "Hb"}),
    "DELETE /api/fields/{id}": lambda w, fresh, _: Call(f"/api/fields/{w.field() if fresh else w.field_id}"),
    "GET /api/pathways": _at("/api/pathways"),
    "GET /api/classifiers": _at("/api/classifiers"),
    "GET /api/dashboard": _at("/api/dashboard?project_id={project}"),
    "GET /api/patients": _at("/api/patients?project_id={project}"),
    "GET /api/scheduled-studies": _at("/api/scheduled-studies"),
    "POST /api/scheduled-studies": lambda w, *_: Call(
        "/api/scheduled-studies",
        {"json": {"patient_id": w.patient_id, "modality": "CT", "starts_at": "2026-03-01T09:30:00"}},
    ),
    "GET /api/scheduled-studies/{id}": _at("/api/scheduled-studies/{w.scheduled_id}"),
    "PATCH /api/scheduled-studies/{id}": _at("/api/scheduled-studies/{w.scheduled_id}", json={"station_ae": "CT_2"}),
    "DELETE /api/scheduled-studies/{id}": lambda w, fresh, _: Call(
        f"/api/scheduled-studies/{w.scheduled_study() if fresh else w.scheduled_id}"
    ),
    "POST /api/patients": lambda w, *_: Call(
        "/api/patients",
        {"json": {"project_id": w.people.project_id, "sex": "M", "birth_year": 1956, "identity": {"name": "A B"}}},
    ),
    "GET /api/patients/{id}": _at("/api/patients/{w.patient_id}"),
    "PATCH /api/patients/{id}": _at("/api/patients/{w.patient_id}", json={"sex": "F"}),
    "DELETE /api/patients/{id}": lambda w, fresh, _: Call(f"/api/patients/{w.patient() if fresh else w.patient_id}"),
    "DELETE /api/patients/{id}?erase=true": lambda w, fresh, _: Call(
        f"/api/patients/{w.patient() if fresh else w.patient_id}?erase=true"
    ),
    "GET /api/patients/{id}/erasure": _at("/api/patients/{w.patient_id}/erasure"),
    "POST /api/patients/{id}/erasure": lambda w, fresh, _: Call(
        f"/api/patients/{w.patient() if fresh else w.patient_id}/erasure", {"json": {"reason": "Asked for."}}
    ),
    "DELETE /api/patients/{id}/erasure": lambda w, fresh, _: Call(
        f"/api/patients/{w.requested_erasure() if fresh else w.patient_id}/erasure"
    ),
    "GET /api/erasures": _at("/api/erasures?project_id={project}"),
    "GET /api/erasures/{id}": _at("/api/erasures/{w.erasure_id}"),
    "GET /api/patients/{id}/summary": _at("/api/patients/{w.patient_id}/summary"),
    "GET /api/studies": _at("/api/studies?patient_id={w.patient_id}"),
    "POST /api/studies": lambda w, *_: Call("/api/studies", {"json": {"patient_id": w.patient_id}}),
    "GET /api/studies/{id}": _at("/api/studies/{w.study_id}"),
    "PATCH /api/studies/{id}": _at("/api/studies/{w.study_id}", json={"description": "Day 1"}),
    "DELETE /api/studies/{id}": lambda w, fresh, _: Call(
        f"/api/studies/{w.study_of(w.case()[1]) if fresh else w.study_id}"
    ),
    "GET /api/series": _at("/api/series?study_id={w.study_id}"),
    "POST /api/series": lambda w, *_: Call("/api/series", {"json": {"study_id": w.study_id, "modality": "GM"}}),
    "GET /api/series/{id}": _at("/api/series/{w.series_id}"),
    "PATCH /api/series/{id}": _at("/api/series/{w.series_id}", json={"description": "First slide"}),
    "DELETE /api/series/{id}": lambda w, fresh, _: Call(
        f"/api/series/{w.series_of(w.case()[1]) if fresh else w.series_id}"
    ),
    "POST /api/series/{id}/move": lambda w, fresh, _: _move_series(w, fresh),
    "POST /api/images/move": lambda w, fresh, _: _move(w, fresh),
    "POST /api/images/delete": lambda w, fresh, _: Call(
        "/api/images/delete", {"json": {"image_ids": [w.case()[1] if fresh else w.image_id]}}
    ),
    "POST /api/images": lambda w, *_: _upload(w),
    "GET /api/arrivals": _at("/api/arrivals?patient_id={w.patient_id}"),
    "GET /api/arrivals/{id}": _at("/api/arrivals/{w.arrival_id}"),
    "GET /api/arrivals/{id}/frames/{number}": _at("/api/arrivals/{w.arrival_id}/frames/1"),
    "POST /api/arrivals/{id}/release": lambda w, fresh, _: Call(
        f"/api/arrivals/{w.arrival() if fresh else w.arrival_id}/release",
        {"json": {"boxes": [[1, 0, 0, 8, 8]], "note": "Nothing else is written."}},
    ),
    "GET /api/arrivals/{id}/person": _at("/api/arrivals/{w.claim_id}/person"),
    "POST /api/arrivals/{id}/assign": lambda w, fresh, _: Call(
        f"/api/arrivals/{w.claim() if fresh else w.claim_id}/assign", {"json": {"patient_id": w.patient_id}}
    ),
    "POST /api/arrivals/{id}/discard": lambda w, fresh, _: Call(
        f"/api/arrivals/{w.arrival() if fresh else w.arrival_id}/discard", {"json": {"note": "A test picture."}}
    ),
    "GET /api/images/{id}/manifest": _at("/api/images/{w.image_id}/manifest"),
    "GET /api/images": _at("/api/images?patient_id={w.patient_id}"),
    "GET /api/images/count": _at("/api/images/count?patient_id={w.patient_id}"),
    "GET /api/images/{id}": _at("/api/images/{w.image_id}"),
    "PATCH /api/images/{id}": _at("/api/images/{w.image_id}", json={"number": 1}),
    "DELETE /api/images/{id}": lambda w, fresh, _: Call(f"/api/images/{w.case()[1] if fresh else w.image_id}"),
    "GET /api/images/{id}/rendered": _at("/api/images/{w.image_id}/rendered?size=64"),
    "GET /api/images/{id}/content": _at("/api/images/{w.image_id}/content"),
    "GET /api/images/{id}/evidence": _at("/api/images/{w.image_id}/evidence?size=64"),
    "GET /api/images/{id}/original": _at("/api/images/{w.image_id}/original"),
    "PUT /api/images/{id}/verdict": _at("/api/images/{w.image_id}/verdict", json={"label": "neutrophil"}),
    "DELETE /api/images/{id}/verdict": lambda w, fresh, _: Call(
        f"/api/images/{w.case(verdicts=True)[1] if fresh else w.image_id}/verdict"
    ),
    "GET /api/cases": _at("/api/cases?patient_id={w.patient_id}"),
    "GET /api/cases/{id}": _at("/api/cases/{w.case_id}"),
    "POST /api/cases/{id}/sign": lambda w, fresh, _: Call(
        f"/api/cases/{w.case(verdicts=True)[0] if fresh else w.case_id}/sign"
    ),
    "POST /api/cases/{id}/correct": lambda w, fresh, _: Call(
        f"/api/cases/{w.signed_case()[0] if fresh else w.signed_case_id}/correct",
        {"json": {"reason": "Image 1 is a basophil."}},
    ),
    "GET /api/cases/{id}/report.pdf": _at("/api/cases/{w.signed_case_id}/report.pdf"),
    "GET /api/reports": _at("/api/reports?project_id={project}"),
    "GET /api/datasets": _at("/api/datasets"),
    "POST /api/datasets": lambda w, *_: Call(
        "/api/datasets", {"json": {"project_id": w.people.project_id, "pathway": COLORS}}
    ),
    "POST /api/datasets/zip": lambda w, *_: _zip(w),
    "GET /api/datasets/{id}": _at("/api/datasets/{w.dataset_id}"),
    "GET /api/datasets/{id}/rows": _at("/api/datasets/{w.dataset_id}/rows"),
    "GET /api/datasets/{id}/provenance.csv": _at("/api/datasets/{w.dataset_id}/provenance.csv"),
    "GET /api/recipes": _at("/api/recipes"),
    "GET /api/training-runs": _at("/api/training-runs"),
    "POST /api/training-runs": lambda w, *_: _start(w),
    "GET /api/training-runs/{id}": _at("/api/training-runs/{w.run_id}"),
    "POST /api/training-runs/{id}/stop": lambda w, fresh, _: Call(
        f"/api/training-runs/{w.run() if fresh else w.run_id}/stop"
    ),
    "GET /api/classifiers/{digest}": _at("/api/classifiers/{w.digests[second]}"),
    "GET /api/classifiers/{digest}/predictions": _at("/api/classifiers/{w.digests[second]}/predictions?part=shadow"),
    "GET /api/classifiers/{digest}/compare": _at("/api/classifiers/{w.digests[second]}/compare?with={w.digests[tiny]}"),
    "GET /api/promotions": _at("/api/promotions"),
    "POST /api/promotions": lambda w, fresh, _: _request(w, fresh),
    "GET /api/promotions/{id}": _at("/api/promotions/{w.promotion_id}"),
    "POST /api/promotions/{id}/approve": lambda w, fresh, _: Call(
        f"/api/promotions/{w.promotion() if fresh else w.promotion_id}/approve", {"json": {"reason": "Better here."}}
    ),
    "POST /api/promotions/{id}/reject": lambda w, fresh, _: Call(
        f"/api/promotions/{w.promotion() if fresh else w.promotion_id}/reject", {"json": {"reason": "Too few images."}}
    ),
    "GET /api/pathways/{name}/classifiers": _at("/api/pathways/colors/classifiers?project_id={w.people.project_id}"),
    "PUT /api/pathways/{name}/limits": _at(
        "/api/pathways/colors/limits?project_id={w.people.project_id}",
        json={"margin": 0.5, "ece": 1.0, "abstention": 1.0, "images": 1},
    ),
    "PUT /api/pathways/{name}/shadow": lambda w, fresh, _: _shadow(w, fresh),
    "DELETE /api/pathways/{name}/shadow": _after(
        World.shadow, "/api/pathways/colors/shadow?project_id={w.people.project_id}"
    ),
    "POST /api/pathways/{name}/rollback": _after(
        World.replaced, "/api/pathways/colors/rollback?project_id={w.people.project_id}"
    ),
    "GET /api/pathways/{name}/agreement": _at("/api/pathways/colors/agreement?project_id={w.people.project_id}"),
    "GET /api/pathways/{name}/drift": _at("/api/pathways/colors/drift?project_id={w.people.project_id}"),
    "GET /api/exports": _at("/api/exports"),
    "POST /api/exports": lambda w, *_: Call(
        "/api/exports", {"json": {"project_id": w.people.project_id, "form": "metadata", "selection": "project"}}
    ),
    "GET /api/exports/{id}": _at("/api/exports/{w.export_id}"),
    "DELETE /api/exports/{id}": lambda w, fresh, _: Call(f"/api/exports/{w.export() if fresh else w.export_id}"),
    "GET /api/exports/{id}/sendings": _at("/api/exports/{w.export_id}/sendings"),
    "POST /api/exports/{id}/sendings": _at("/api/exports/{w.export_id}/sendings", json={"node": "PACS_OF_ALL"}),
    "GET /api/exports/{id}/file": _at("/api/exports/{w.export_id}/file"),
    "GET /api/exports/{id}/findings": _at("/api/exports/{w.blocked_export_id}/findings"),
    "GET /api/exports/{id}/findings/{finding_id}/picture": lambda w, *_: Call(
        f"/api/exports/{w.blocked_export_id}/findings/{w.finding_of(w.blocked_export_id)}/picture"
    ),
    "POST /api/exports/{id}/findings/{finding_id}/clear": lambda w, fresh, _: _decide(w, fresh, "clear"),
    "POST /api/exports/{id}/findings/{finding_id}/exclude": lambda w, fresh, _: _decide(w, fresh, "exclude"),
    "GET /api/audit": _at("/api/audit?project_id={project}"),
    "GET /api/audit/verification": _at("/api/audit/verification"),
    "GET /api/audit/actions": _at("/api/audit/actions"),
    "GET /dicom-web/studies": _at("/dicom-web/studies?StudyInstanceUID={w.uids[0]}"),
    "GET /dicom-web/series": _at("/dicom-web/series?StudyInstanceUID={w.uids[0]}"),
    "GET /dicom-web/instances": _at("/dicom-web/instances?StudyInstanceUID={w.uids[0]}"),
    "GET /dicom-web/studies/{study}/series": _at("/dicom-web/studies/{w.uids[0]}/series"),
    "GET /dicom-web/studies/{study}/instances": _at("/dicom-web/studies/{w.uids[0]}/instances"),
    "GET /dicom-web/studies/{study}/series/{series}/instances": _at(
        "/dicom-web/studies/{w.uids[0]}/series/{w.uids[1]}/instances"
    ),
    "GET /dicom-web/studies/{study}": _at("/dicom-web/studies/{w.uids[0]}"),
    "GET /dicom-web/studies/{study}/series/{series}": _at("/dicom-web/studies/{w.uids[0]}/series/{w.uids[1]}"),
    "GET /dicom-web/studies/{study}/series/{series}/instances/{instance}": _at(
        "/dicom-web/studies/{w.uids[0]}/series/{w.uids[1]}/instances/{w.uids[2]}"
    ),
    "GET /dicom-web/studies/{study}/metadata": _at("/dicom-web/studies/{w.uids[0]}/metadata"),
    "GET /dicom-web/studies/{study}/series/{series}/metadata": _at(
        "/dicom-web/studies/{w.uids[0]}/series/{w.uids[1]}/metadata"
    ),
    "GET /dicom-web/studies/{study}/series/{series}/instances/{instance}/metadata": _at(
        "/dicom-web/studies/{w.uids[0]}/series/{w.uids[1]}/instances/{w.uids[2]}/metadata"
    ),
    "GET /dicom-web/studies/{study}/series/{series}/instances/{instance}/bulkdata/{path:path}": _at(
        "/dicom-web/studies/{w.uids[0]}/series/{w.uids[1]}/instances/{w.uids[2]}/bulkdata/7FE00010"
    ),
    "GET /dicom-web/studies/{study}/series/{series}/instances/{instance}/frames/{numbers}": _at(
        "/dicom-web/studies/{w.uids[0]}/series/{w.uids[1]}/instances/{w.uids[2]}/frames/1"
    ),
    "GET /dicom-web/studies/{study}/series/{series}/instances/{instance}/frames/{number}/rendered": _at(
        "/dicom-web/studies/{w.uids[0]}/series/{w.uids[1]}/instances/{w.uids[2]}/frames/1/rendered"
    ),
    "GET /dicom-web/studies/{study}/series/{series}/instances/{instance}/rendered": _at(
        "/dicom-web/studies/{w.uids[0]}/series/{w.uids[1]}/instances/{w.uids[2]}/rendered"
    ),
    "GET /dicom-web/studies/{study}/rendered": _at("/dicom-web/studies/{w.uids[0]}/rendered"),
    "GET /dicom-web/studies/{study}/series/{series}/rendered": _at(
        "/dicom-web/studies/{w.uids[0]}/series/{w.uids[1]}/rendered"
    ),
    "GET /dicom-web/wado": _at(f"/dicom-web/wado?{WADO_QUERY}"),
    "GET /wado": _at(f"/wado?{WADO_QUERY}&contentType=application/dicom"),
    "GET /dicom-web/studies/{study}/thumbnail": _at("/dicom-web/studies/{w.uids[0]}/thumbnail"),
    "GET /dicom-web/studies/{study}/series/{series}/thumbnail": _at(
        "/dicom-web/studies/{w.uids[0]}/series/{w.uids[1]}/thumbnail"
    ),
    "GET /dicom-web/studies/{study}/series/{series}/instances/{instance}/thumbnail": _at(
        "/dicom-web/studies/{w.uids[0]}/series/{w.uids[1]}/instances/{w.uids[2]}/thumbnail"
    ),
    "POST /dicom-web/studies": lambda w, *_: _store(w, False),
    "POST /dicom-web/studies/{study}": lambda w, *_: _store(w, True),
    "DELETE /dicom-web/studies/{study}": lambda w, fresh, _: _delete(w, fresh, 1),
    "DELETE /dicom-web/studies/{study}/series/{series}": lambda w, fresh, _: _delete(w, fresh, 2),
    "DELETE /dicom-web/studies/{study}/series/{series}/instances/{instance}": lambda w, fresh, _: _delete(w, fresh, 3),
}
