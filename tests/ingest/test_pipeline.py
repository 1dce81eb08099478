# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event, select

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.audit.models import AuditEntry
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import DecoderFailed
from medhub.ingest import ingest_settings, patient_assignment, release
from medhub.ingest.context import IngestSource
from medhub.ingest.models import Arrival
from medhub.ingest.quarantine import unassigned_store
from medhub.records.erasure import erase_patient
from medhub.records.models import Image, Patient, Series, Study
from tests.factories.accounts import People
from tests.factories.cases import ingest_all, make_patient, run_jobs, upload
from tests.factories.cts import ct
from tests.factories.time import MovableClock


@pytest.fixture
def technologist(app: AppContext, people: People) -> Actor:
    return people.actor(app, Role.TECHNOLOGIST)


@pytest.fixture
def source(people: People) -> IngestSource:
    return IngestSource(people.project_id, "stow")


def count(app: AppContext, table: type) -> int:
    with app.database.reading() as session:
        return len(list(session.scalars(select(table))))


def test_files_of_one_patient_find_their_patient_by_number_and_issuer(
    app: AppContext, technologist: Actor, source: IngestSource
) -> None:
    answers = ingest_all(
        app,
        technologist,
        source,
        [
            ct(),
            ct(SOPInstanceUID="1.2.3.2", InstanceNumber=2, PatientName="DOE^JANE^ANNA"),
            ct(PatientID="4712", PatientName="ROE^RICHARD", StudyInstanceUID="1.2.4", SOPInstanceUID="1.2.4.1"),
            ct(IssuerOfPatientID="elsewhere", StudyInstanceUID="1.2.5", SOPInstanceUID="1.2.5.1"),
        ],
    )
    assert [answer.outcome for answer in answers] == ["accepted"] * 4
    assert answers[1].identifiers is not None
    assert answers[1].identifiers.sop_instance_uid == "1.2.3.2"
    assert (count(app, Patient), count(app, Study), count(app, Series)) == (3, 3, 3)
    with app.database.reading() as session:
        image = session.get_one(Image, answers[0].image_id)
        series = session.get_one(Series, image.series_id)
        study = session.get_one(Study, image.study_id)
    assert (series.number, image.instance_number, image.attributes["Rows"]) == (3, 1, ["16"])
    assert study.attributes["PatientID"] == study.attributes["PatientName"]
    assert study.settles_at is not None
    assert study.pathway is None


@pytest.mark.parametrize(
    "otherwise",
    [
        {"PatientName": "ROE^RICHARD"},
        {"PatientBirthDate": "19700103"},
        {"PatientSex": "M"},
        {"PatientID": "4712", "PatientName": "ROE^RICHARD"},
    ],
    ids=["name", "birth-date", "sex", "study-of-another"],
)
def test_a_patient_that_contradicts_what_is_known_is_not_merged(
    app: AppContext, technologist: Actor, source: IngestSource, otherwise: dict[str, str]
) -> None:
    ingest_all(app, technologist, source, [ct()])
    (answer,) = ingest_all(app, technologist, source, [ct(SOPInstanceUID="1.2.3.9", **otherwise)])
    assert (answer.outcome, answer.code) == ("quarantined", "conflicting-patient")
    assert (count(app, Patient), count(app, Image)) == (1, 1)
    with app.database.reading() as session:
        waiting = session.scalars(select(Arrival).where(Arrival.outcome == "quarantined")).one()
        known = session.scalars(select(Patient)).one()
    assert waiting.patient_id is None
    assert waiting.candidates == [known.id]
    assert waiting.sealed_bytes is not None


def test_a_file_without_a_patient_number_belongs_to_the_patient_of_its_study(
    app: AppContext, technologist: Actor, source: IngestSource
) -> None:
    nameless = {"PatientID": "", "PatientName": "", "PatientBirthDate": "", "PatientSex": ""}
    answers = ingest_all(
        app,
        technologist,
        source,
        [
            ct(**nameless),
            ct(**nameless, SOPInstanceUID="1.2.3.2"),
            ct(**nameless, StudyInstanceUID="1.2.9", SOPInstanceUID="1.2.9.1"),
            ct(**nameless, StudyInstanceUID="", SOPInstanceUID="1.2.10.1"),
            b"no DICOM",
        ],
    )
    assert [answer.code for answer in answers] == [None, None, None, "no-patient", "unsupported"]
    assert count(app, Patient) == 2


def policy(app: AppContext, people: People, **values: object) -> None:
    """Set how the project takes in files."""
    wanted = {"duplicates": "keep", "settle_s": 0, "pathways": {}, "attributes": [], **values}
    administrator = people.actor(app, Role.ADMINISTRATOR)
    with app.database.writing() as session:
        ingest_settings.change_settings(session, app, administrator, people.project_id, **wanted)  # type: ignore[arg-type]


def the_only_image(app: AppContext) -> Image:
    with app.database.reading() as session:
        return session.scalars(select(Image)).one()


@pytest.mark.parametrize(("duplicates", "stays"), [("keep", True), ("replace", False), ("changed", False)])
def test_another_file_with_the_same_identifier_goes_by_the_rule_of_the_project(
    app: AppContext, people: People, technologist: Actor, source: IngestSource, duplicates: str, stays: bool
) -> None:
    policy(app, people, duplicates=duplicates)
    ingest_all(app, technologist, source, [ct()])
    first = the_only_image(app)
    (same,) = ingest_all(app, technologist, source, [ct()])
    assert same.outcome == "duplicate"
    (other,) = ingest_all(app, technologist, source, [ct(WindowWidth="400", WindowCenter="40")])
    assert (other.outcome, other.code) == (("quarantined", "conflicting") if stays else ("accepted", None))
    last = the_only_image(app)
    assert (last.id == first.id) == stays
    assert last.number == first.number
    run_jobs(app)
    assert app.blobs.has(first.blob) == stays


def test_only_what_differs_once_it_is_cleaned_takes_the_place_of_what_is_here(
    app: AppContext, people: People, technologist: Actor, source: IngestSource
) -> None:
    policy(app, people, duplicates="changed")
    ingest_all(app, technologist, source, [ct()])
    first = the_only_image(app)
    (other,) = ingest_all(app, technologist, source, [ct(InstitutionName="Elsewhere")])
    assert other.outcome == "duplicate"
    assert the_only_image(app).id == first.id


def test_an_image_that_somebody_has_judged_is_not_replaced(
    app: AppContext, people: People, technologist: Actor, source: IngestSource
) -> None:
    policy(app, people, duplicates="replace")
    ingest_all(app, technologist, source, [ct()])
    with app.database.writing() as session:
        session.scalars(select(Image)).one().verified = True
    (other,) = ingest_all(app, technologist, source, [ct(WindowWidth="400", WindowCenter="40")])
    assert (other.outcome, other.code) == ("quarantined", "conflicting")


def test_a_study_settles_once_nothing_more_comes(
    app: AppContext, people: People, technologist: Actor, source: IngestSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    movable_clock = MovableClock(monkeypatch)
    policy(app, people, settle_s=60)
    ingest_all(app, technologist, source, [ct()])
    movable_clock.advance(seconds=45)
    ingest_all(app, technologist, source, [ct(SOPInstanceUID="1.2.3.2")])
    movable_clock.advance(seconds=45)
    run_jobs(app)
    with app.database.reading() as session:
        assert session.scalars(select(Study)).one().settles_at is not None
    movable_clock.advance(seconds=30)
    run_jobs(app)
    with app.database.reading() as session:
        assert session.scalars(select(Study)).one().settles_at is None
        assert [series.metadata_blob is not None for series in session.scalars(select(Series))] == [True]
        assert [image.thumbnail is not None for image in session.scalars(select(Image))] == [True, True]
        assert {image.state for image in session.scalars(select(Image))} == {"archived"}


def test_a_study_of_a_clock_that_was_ahead_does_not_wait(
    app: AppContext, people: People, technologist: Actor, source: IngestSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    movable_clock = MovableClock(monkeypatch)
    policy(app, people, settle_s=60)
    movable_clock.advance(days=1)
    ingest_all(app, technologist, source, [ct()])
    movable_clock.advance(days=-1)
    run_jobs(app)
    with app.database.reading() as session:
        assert session.scalars(select(Study)).one().settles_at is None


def test_attributes_that_a_project_chooses_are_looked_up_in_what_is_here_already(
    app: AppContext, people: People, technologist: Actor, source: IngestSource
) -> None:
    ingest_all(app, technologist, source, [ct(KVP="120")])
    assert "KVP" not in the_only_image(app).attributes
    policy(app, people, attributes=["KVP", "Rows"])
    with app.database.reading() as session:
        settings = ingest_settings.settings_of(session, people.project_id)
    assert (settings.index_state, settings.index_total, settings.attributes) == ("running", 1, ["KVP"])
    run_jobs(app)
    assert the_only_image(app).attributes["KVP"] == ["120"]
    with app.database.reading() as session:
        assert ingest_settings.settings_of(session, people.project_id).index_state == "done"
    ingest_all(app, technologist, source, [ct(KVP="80", SOPInstanceUID="1.2.3.2")])
    with app.database.reading() as session:
        voltages = [image.attributes["KVP"] for image in session.scalars(select(Image).order_by(Image.number))]
    assert voltages == [["120"], ["80"]]


def waiting(app: AppContext) -> Arrival:
    with app.database.reading() as session:
        return session.scalars(select(Arrival).where(Arrival.outcome == "quarantined")).one()


def test_a_person_says_whose_a_file_is_and_files_that_say_the_same_follow(
    app: AppContext, people: People, technologist: Actor, source: IngestSource
) -> None:
    other_identity = {"PatientName": "ROE^RICHARD", "PatientSex": "M"}
    ingest_all(app, technologist, source, [ct(), ct(SOPInstanceUID="1.2.3.9", **other_identity)])
    arrival = waiting(app)
    assignment = patient_assignment.review_assignment(app, technologist, arrival.id)
    assert (assignment.identifiers.name, assignment.identifiers.patient_id) == ("ROE^RICHARD", "4711")
    assert [patient.id for patient, _ in assignment.candidates] == arrival.candidates
    assigned = patient_assignment.assign(
        app, technologist, arrival.id, patient_id=None, new_patient=True, note="Another one."
    )
    assert assigned.outcome == "accepted"
    assert count(app, Patient) == 2
    same_identity, known_identity = ingest_all(
        app, technologist, source, [ct(SOPInstanceUID="1.2.3.10", **other_identity), ct(SOPInstanceUID="1.2.3.11")]
    )
    assert (same_identity.outcome, known_identity.outcome) == ("accepted", "accepted")
    with app.database.reading() as session:
        patient_ids = [
            session.get_one(Image, result.image_id).patient_id for result in (assigned, same_identity, known_identity)
        ]
    assert patient_ids[0] == patient_ids[1] != patient_ids[2]
    (conflicting,) = ingest_all(app, technologist, source, [ct(SOPInstanceUID="1.2.3.12", PatientName="POE^EDGAR")])
    assert conflicting.code == "conflicting-patient"
    run_jobs(app)
    assert waiting(app).code == "conflicting-patient"
    assert arrival.sealed_bytes is not None
    assert not unassigned_store(app).has(arrival.sealed_bytes)


def test_files_that_wait_and_say_the_same_follow_and_no_others(
    app: AppContext, people: People, technologist: Actor, source: IngestSource
) -> None:
    other_identity = {"PatientName": "ROE^RICHARD", "PatientSex": "M"}
    slices = [ct(SOPInstanceUID=f"1.2.3.{number}", InstanceNumber=number, **other_identity) for number in range(10, 15)]
    third_identity = ct(SOPInstanceUID="1.2.3.20", PatientName="POE^EDGAR")
    results = ingest_all(app, technologist, source, [ct(), *slices, third_identity, b"no DICOM"])
    assert [result.outcome for result in results] == ["accepted", *["quarantined"] * 7]
    with app.database.reading() as session:
        first = session.scalars(select(Arrival).where(Arrival.outcome == "quarantined").order_by(Arrival.id)).first()
    assert first is not None
    patient_assignment.assign(app, technologist, first.id, patient_id=None, new_patient=True, note="The twin.")
    run_jobs(app)
    with app.database.reading() as session:
        remaining_codes = session.scalars(select(Arrival.code).where(Arrival.outcome == "quarantined")).all()
        assert len(remaining_codes) == 2
        assigned = session.scalars(select(Arrival).where(Arrival.note == "The twin.")).all()
        patient_ids = [image.patient_id for image in session.scalars(select(Image))]
        assigning_actors = select(AuditEntry.actor).where(AuditEntry.action == "arrival.assign")
        assert session.scalars(assigning_actors).all() == [technologist.name] * 5
    assert set(remaining_codes) == {"conflicting-patient", "unsupported"}
    assert sorted(patient_ids.count(patient_id) for patient_id in set(patient_ids)) == [1, 5]
    assert [(arrival.outcome, arrival.resolved_by) for arrival in assigned] == [("accepted", technologist.name)] * 5


def test_a_file_that_may_be_an_erased_patients_is_destroyed(
    app: AppContext, people: People, technologist: Actor, source: IngestSource
) -> None:
    ingest_all(app, technologist, source, [ct(), ct(SOPInstanceUID="1.2.3.9", PatientName="ROE^RICHARD")])
    arrival = waiting(app)
    administrator = people.actor(app, Role.ADMINISTRATOR)
    with app.database.writing() as session:
        patient = session.scalars(select(Patient)).one()
        certificate = erase_patient(session, app, administrator, patient.id)
    assert certificate.contents["files_that_may_be_theirs"] == 1
    run_jobs(app)
    with app.database.reading() as session:
        assert session.get_one(Arrival, arrival.id).outcome == "discarded"
    assert arrival.sealed_bytes is not None
    assert not unassigned_store(app).has(arrival.sealed_bytes)


def test_a_batch_in_which_one_file_kills_its_reader_loses_no_other(
    app: AppContext, technologist: Actor, source: IngestSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = ct(SOPInstanceUID="1.2.3.7"), ct()
    real = app.isolation.run_within

    def run_within(timeout_s: float, function: object, *args: Any, **kwargs: Any) -> Any:
        if isinstance(args[0], list) and bad in args[0]:
            raise DecoderFailed("The program that reads files has ended.", how="crash")
        return real(timeout_s, function, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(app.isolation, "run_within", run_within)
    answers = ingest_all(app, technologist, source, [good, bad, ct(SOPInstanceUID="1.2.3.8")])
    assert [answer.outcome for answer in answers] == ["accepted", "quarantined", "accepted"]


def test_an_upload_for_one_patient_that_names_another_waits_for_a_person(
    app: AppContext, people: People, technologist: Actor, source: IngestSource
) -> None:
    ingest_all(app, technologist, source, [ct()])
    with app.database.reading() as session:
        code = session.scalars(select(Patient)).one().code
    chosen = make_patient(app, people)
    (anothers,) = upload(app, technologist, chosen, ct(SOPInstanceUID="1.2.3.2"))
    assert (anothers.outcome, anothers.code) == ("quarantined", "conflicting-patient")
    assert code in (anothers.reason or "")
    (unknown,) = upload(
        app, technologist, chosen, ct(SOPInstanceUID="1.2.9.1", PatientID="9", StudyInstanceUID="1.2.9")
    )
    assert unknown.outcome == "accepted"
    assert release.release(app, technologist, waiting(app).id, None, "They are the same.").outcome == "accepted"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_taking_files_in_reads_no_table_from_end_to_end(
    app: AppContext, technologist: Actor, source: IngestSource
) -> None:
    ingest_all(app, technologist, source, [ct()])
    queries: list[tuple[str, Any]] = []

    def record_query(
        _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool
    ) -> None:
        if statement.startswith("SELECT") and "LIMIT" not in statement and not many:
            queries.append((statement, parameters))

    event.listen(app.database.engine, "before_cursor_execute", record_query)
    files = [ct(SOPInstanceUID="1.2.3.2"), ct(SOPInstanceUID="1.2.3.3"), ct()]
    results = ingest_all(app, technologist, source, files)
    assert [result.outcome for result in results] == ["accepted", "accepted", "duplicate"]
    event.remove(app.database.engine, "before_cursor_execute", record_query)
    with app.database.reading() as session:
        connection = session.connection()
        plans = [
            str(step[3])
            for statement, parameters in queries
            for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    assert any(step.startswith("SEARCH images") for step in plans)
    assert [step for step in plans if step.startswith("SCAN")] == []
