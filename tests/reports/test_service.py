# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from pypdf import PdfReader
from sqlalchemy import select, update

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.audit.models import AuditEntry
from medhub.errors import NotAllowed, NotFound, Unavailable
from medhub.foundation.app_context import AppContext
from medhub.foundation.jobs import Job, count_failed
from medhub.foundation.keys import Keys
from medhub.records import field_definitions, vault
from medhub.records import service as records
from medhub.records.erasure import erase_patient
from medhub.records.models import Patient
from medhub.reports import document, service
from medhub.reports.case_facts import NotSigned
from medhub.reports.certificate import derive_credentials
from medhub.reports.facts import facts_digest
from medhub.reports.models import Report
from medhub.reports.service import enqueue_missing_reports, issue_report, list_reports, read_report
from medhub.reports.verification import verify_report
from medhub.reports.verification_result import TrustedKeys
from medhub.review import service as review
from medhub.review.models import Case, CaseEvent
from tests.factories.accounts import People
from tests.factories.cases import IDENTITY, make_case, make_patient, run_jobs, use_classifier
from tests.factories.threads import together

NOTE = "Segmented nucleus, pale granules."


@pytest.fixture
def physician(app: AppContext, people: People) -> Actor:
    return people.actor(app, Role.PHYSICIAN)


@pytest.fixture
def patient_id(app: AppContext, people: People) -> str:
    return make_patient(app, people)


@pytest.fixture
def signed(app: AppContext, people: People, patient_id: str, physician: Actor, monkeypatch: pytest.MonkeyPatch) -> str:
    """A signed case of two images, one uncertain; its report is not issued yet."""
    use_classifier(monkeypatch, 0.97, 0.55)
    case_id, image_ids = make_case(app, people, patient_id)
    finish(app, physician, case_id, image_ids)
    return case_id


def finish(app: AppContext, physician: Actor, case_id: str, image_ids: list[str], label: str = "neutrophil") -> None:
    for image_id in image_ids:
        with app.database.writing() as session:
            review.give_verdict(session, app.settings, physician, image_id, label, NOTE)
    with app.database.writing() as session:
        review.sign_case(session, app.settings, physician, case_id, None)


def report_of(app: AppContext, case_id: str) -> Report:
    with app.database.reading() as session:
        return session.get_one(Report, case_id)


def text_of(pdf: bytes) -> str:
    return " ".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)


def issued(app: AppContext) -> list[AuditEntry]:
    with app.database.reading() as session:
        return list(session.scalars(select(AuditEntry).where(AuditEntry.action == "report.issue")))


def test_a_signature_issues_the_report(app: AppContext, signed: str) -> None:
    run_jobs(app)
    report = report_of(app, signed)
    assert report.digest == facts_digest(report.record)
    (entry,) = issued(app)
    assert (entry.object_id, entry.detail) == (signed, {"digest": report.digest})


def test_the_report_has_the_conclusion_of_the_signer_and_one_entry_for_the_signature(
    app: AppContext, people: People, patient_id: str, physician: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    case_id, (image_id,) = make_case(app, people, patient_id, images=1)
    with app.database.writing() as session:
        review.give_verdict(session, app.settings, physician, image_id, "neutrophil", None)
    with app.database.writing() as session:
        review.sign_case(session, app.settings, physician, case_id, "  Normal differential.\n")
    run_jobs(app)
    record = report_of(app, case_id).record
    assert record["conclusion"] == "Normal differential."
    assert [(act["what"], act["at"]) for act in record["history"]][1:] == [("signed", record["signed"]["at"])]
    pdf = PdfReader(io.BytesIO(read_report(app, physician, case_id)[1]))
    assert "Normal differential." in pdf.pages[0].extract_text()
    with app.database.reading() as session:
        case = session.get_one(Case, case_id)
        (signed,) = (event for event in review.case_history(session, case) if event.action == "signed")
        assert signed.at == case.signed_at


def test_a_signature_recorded_a_moment_after_its_time_is_still_one_entry(
    app: AppContext, signed: str, physician: Actor
) -> None:
    with app.database.writing() as session:
        event = session.scalars(select(CaseEvent).where(CaseEvent.action == "signed")).one()
        event.at += timedelta(microseconds=300)
    text = text_of(read_report(app, physician, signed)[1])
    assert text.count("Signed the case") == 1


def test_the_report_gives_the_reason_of_an_uncertain_prediction_and_no_instruction(
    app: AppContext, signed: str, physician: Actor
) -> None:
    text = text_of(read_report(app, physician, signed)[1]).replace("\n", " ")
    assert "Below the threshold: 0.55 of 0.75." in text
    record = json.dumps(report_of(app, signed).record)
    for content in (text, record):
        assert "note is" not in content.lower()


def test_a_report_is_issued_once_however_often_it_is_asked_for(app: AppContext, signed: str, physician: Actor) -> None:
    first = read_report(app, physician, signed)[1]
    issue_report(app, signed)
    run_jobs(app)
    assert read_report(app, physician, signed)[1] == first
    assert len(issued(app)) == 1


def test_a_report_is_issued_once_when_several_ask_at_the_same_moment(
    app: AppContext, signed: str, physician: Actor
) -> None:
    pdfs = together(
        *[lambda: read_report(app, physician, signed)[1]] * 3,
    )
    assert len(set(pdfs)) == 1
    assert len(issued(app)) == 1
    with app.database.reading() as session:
        assert len(session.scalars(select(Report)).all()) == 1


def test_the_same_bytes_come_each_time_even_after_the_patient_changed(
    app: AppContext, people: People, signed: str, physician: Actor, patient_id: str
) -> None:
    first = read_report(app, physician, signed)[1]
    technologist = people.actor(app, Role.TECHNOLOGIST)
    with app.database.writing() as session:
        records.change_patient(session, app.keys, technologist, patient_id, identity={"name": "Another Name"})
    assert read_report(app, physician, signed)[1] == first


@pytest.mark.parametrize("role", [Role.TECHNOLOGIST, Role.PHYSICIAN, Role.ADMINISTRATOR])
def test_who_may_see_the_identity_finds_it_in_the_report(
    app: AppContext, people: People, signed: str, role: Role
) -> None:
    text = text_of(read_report(app, people.actor(app, role), signed)[1])
    for value in (IDENTITY["name"], IDENTITY["hospital_number"], "14 Mar 1980"):
        assert value in text


@pytest.mark.parametrize("role", [Role.VIEWER, Role.RESEARCHER, Role.PHARMACIST])
def test_who_may_not_see_the_identity_gets_the_report_without_it(
    app: AppContext, people: People, signed: str, patient_id: str, role: Role
) -> None:
    _, pdf = read_report(app, people.actor(app, role), signed)
    text = text_of(pdf)
    with app.database.reading() as session:
        assert session.get_one(Patient, patient_id).code in text
    attached = b" ".join(data for many in PdfReader(io.BytesIO(pdf)).attachments.values() for data in many)
    for value in (*IDENTITY.values(), "Abdullah", "14 Mar 1980"):
        assert value not in text
        assert value.encode() not in attached
        assert value.encode() not in pdf


def test_patients_and_outsiders_read_no_report(app: AppContext, people: People, signed: str) -> None:
    with pytest.raises(NotAllowed):
        read_report(app, people.actor(app, Role.PATIENT), signed)
    with pytest.raises(NotFound):
        read_report(app, people.outsider(app), signed)
    with pytest.raises(NotFound):
        read_report(app, people.actor(app, Role.VIEWER), "no such case")


def test_what_is_served_can_be_verified_and_any_change_is_found(app: AppContext, people: People, signed: str) -> None:
    trusted = TrustedKeys(derive_credentials(app.keys).certificate)
    other = TrustedKeys(derive_credentials(Keys(b"\x01" * 32)).certificate)
    pdfs = [read_report(app, people.actor(app, role), signed)[1] for role in (Role.PHYSICIAN, Role.VIEWER)]
    assert pdfs[0] != pdfs[1]
    for pdf in pdfs:
        result = verify_report(pdf, trusted)
        assert (result.intact, result.authentic, result.facts_digest_matches) == (True, True, True)
        assert result.record == report_of(app, signed).record
        altered = bytearray(pdf)
        altered[len(altered) // 2] ^= 1
        assert not verify_report(bytes(altered), trusted).intact
        assert verify_report(pdf, other).authentic is False


def test_the_record_leads_back_to_images_classifier_and_people(app: AppContext, signed: str, physician: Actor) -> None:
    run_jobs(app)
    record: dict[str, Any] = report_of(app, signed).record
    assert (record["case"], record["version"], record["supersedes"]) == (signed, 1, None)
    assert record["classifier"]["digest"] == "c" * 64
    assert record["signed"]["who"] == {"name": "The physician", "role": "physician"}
    assert len(record["images"]) == 2
    for image in record["images"]:
        assert hashlib.sha256(app.blobs.get(image["image_digest"])).hexdigest() == image["image_digest"]
    text = text_of(read_report(app, physician, signed)[1])
    assert NOTE in text.replace("\n", " ")
    assert "neutrophil" in text


def test_a_correction_names_the_digest_of_the_report_that_it_corrects(
    app: AppContext, people: People, signed: str, physician: Actor
) -> None:
    run_jobs(app)
    with app.database.writing() as session:
        new = review.correct_case(session, app.settings, physician, signed, "Image 1 is a basophil.").id
    with pytest.raises(NotSigned):
        read_report(app, physician, new)
    with app.database.reading() as session:
        image_ids = list(review.verdicts_of(session, new))
    finish(app, physician, new, image_ids, label="basophil")
    run_jobs(app)
    old, record = report_of(app, signed), report_of(app, new).record
    assert (record["version"], record["supersedes"]["version"]) == (2, 1)
    assert record["supersedes"]["facts_digest"] == old.digest
    assert record["supersedes"]["reason"] == "Image 1 is a basophil."
    assert "Image 1 is a basophil." in text_of(read_report(app, physician, new)[1]).replace("\n", " ")
    assert {image["verdict"]["label"] for image in old.record["images"]} == {"neutrophil"}
    read_report(app, physician, signed)  # the old one stays as it was


def test_a_correction_that_is_signed_before_the_old_report_was_written_names_it_all_the_same(
    app: AppContext, signed: str, physician: Actor
) -> None:
    with app.database.writing() as session:
        new = review.correct_case(session, app.settings, physician, signed, "Too quick.").id
    with app.database.reading() as session:
        image_ids = list(review.verdicts_of(session, new))
    finish(app, physician, new, image_ids)
    issue_report(app, new)  # by chance before the job of the old one
    run_jobs(app)
    assert report_of(app, new).record["supersedes"]["facts_digest"] == report_of(app, signed).digest


def test_there_is_no_report_of_a_case_that_is_not_signed(
    app: AppContext, people: People, patient_id: str, physician: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    case_id, _ = make_case(app, people, patient_id, images=1)
    with pytest.raises(NotSigned, match="not signed"):
        read_report(app, physician, case_id)
    issue_report(app, case_id)
    issue_report(app, "no such case")
    with app.database.reading() as session:
        assert session.scalars(select(Report)).all() == []


def test_a_report_without_identity_is_the_same_for_all(
    app: AppContext, people: People, physician: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    case_id, image_ids = make_case(app, people, make_patient(app, people, identity=False), images=1)
    finish(app, physician, case_id, image_ids)
    viewer = people.actor(app, Role.VIEWER)
    assert read_report(app, physician, case_id)[1] == read_report(app, viewer, case_id)[1]


def test_reports_lie_sealed_under_the_patients_key(app: AppContext, signed: str, patient_id: str) -> None:
    run_jobs(app)
    report = report_of(app, signed)
    for digest, form in ((report.identified_blob, "identified"), (report.plain_blob, "plain")):
        sealed = app.blobs.get(digest)
        assert not sealed.startswith(b"%PDF")
        assert b"%PDF" not in sealed
        with app.database.reading() as session:
            opened = vault.unseal_for(session, app.keys, patient_id, sealed, f"report {signed} {form}")
            assert opened.startswith(b"%PDF")
            with pytest.raises(Unavailable):  # one form cannot be passed off as the other
                vault.unseal_for(session, app.keys, patient_id, sealed, f"report {signed} other")


def test_the_report_of_an_erased_patient_is_unreadable(
    app: AppContext, people: People, signed: str, patient_id: str, physician: Actor
) -> None:
    run_jobs(app)
    sealed = app.blobs.get(report_of(app, signed).identified_blob)
    administrator = people.actor(app, Role.ADMINISTRATOR)
    with app.database.writing() as session:
        erase_patient(session, app, administrator, patient_id)
    with pytest.raises(NotFound):
        read_report(app, physician, signed)
    with pytest.raises(vault.VaultKeyDestroyed), app.database.reading() as session:
        vault.unseal_for(session, app.keys, patient_id, sealed, f"report {signed} identified")
    run_jobs(app)
    assert list(app.blobs.digests()) == []


def test_a_patient_who_is_erased_while_the_report_is_written_leaves_none(
    app: AppContext, people: People, signed: str, patient_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    administrator = people.actor(app, Role.ADMINISTRATOR)
    done: list[int] = []

    def slowly(facts: Any) -> bytes:
        if not done:
            done.append(1)
            with app.database.writing() as session:
                erase_patient(session, app, administrator, patient_id)
        return document.render(facts)

    monkeypatch.setattr(service, "render", slowly)
    issue_report(app, signed)
    run_jobs(app)
    with app.database.reading() as session:
        assert session.scalars(select(Report)).all() == []
    assert list(app.blobs.digests()) == []


def test_the_projects_own_fields_are_in_the_report_with_their_units(
    app: AppContext, people: People, patient_id: str, physician: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with app.database.writing() as session:
        shared: dict[str, Any] = {"project_id": people.project_id, "subject": "patient", "required": False}
        shared |= {"choices": [], "position": 0}
        field_definitions.define_field(
            session, physician, key="haemoglobin", label="Haemoglobin", kind="decimal", unit="g/dL", **shared
        )
        field_definitions.define_field(
            session, physician, key="fasting", label="Fasting", kind="boolean", unit=None, **shared
        )
    with app.database.writing() as session:
        records.change_patient(session, app.keys, physician, patient_id, fields={"haemoglobin": 11.9, "fasting": False})
    use_classifier(monkeypatch)
    case_id, image_ids = make_case(app, people, patient_id, images=1)
    finish(app, physician, case_id, image_ids)
    run_jobs(app)
    fields = report_of(app, case_id).record["patient"]["fields"]
    assert sorted(fields) == [["Fasting", "no"], ["Haemoglobin", "11.9 g/dL"]]


def test_reading_a_report_is_recorded_with_its_form(app: AppContext, people: People, signed: str) -> None:
    for role in (Role.PHYSICIAN, Role.VIEWER):
        read_report(app, people.actor(app, role), signed)
    with app.database.reading() as session:
        reads = session.scalars(select(AuditEntry).where(AuditEntry.action == "report.read").order_by(AuditEntry.seq))
        assert [(entry.actor, entry.detail["form"]) for entry in reads] == [
            ("The physician", "identified"),
            ("The viewer", "plain"),
        ]


def test_reports_are_listed_and_found(app: AppContext, people: People, signed: str, patient_id: str) -> None:
    run_jobs(app)
    report = report_of(app, signed)
    with app.database.reading() as session:
        code = session.get_one(Patient, patient_id).code

    def find_reports(query: str | None = None, sort: str | None = None, actor: Actor | None = None) -> list[str]:
        asker = actor or people.actor(app, Role.VIEWER)
        with app.database.reading() as session:
            rows, total = list_reports(
                session, asker, project_id=None, case_id=None, query=query, sort=sort, offset=0, limit=9
            )
            assert total == len(rows)
            return [issued.case_id for issued, _case, _code in rows]

    assert (
        find_reports()
        == find_reports(code.lower())
        == find_reports(report.digest[:12].upper())
        == find_reports(sort="patient_code")
        == [signed]
    )
    assert find_reports("nothing") == find_reports(actor=people.outsider(app)) == []


def test_a_report_whose_job_was_lost_is_written_when_it_is_asked_for(
    app: AppContext, signed: str, physician: Actor
) -> None:
    with app.database.writing() as session:
        session.execute(update(Job).values(state="failed"))
    _, pdf = read_report(app, physician, signed)
    assert pdf.startswith(b"%PDF")


def test_a_signed_case_whose_report_job_was_lost_gets_its_report(app: AppContext, signed: str) -> None:
    with app.database.writing() as session:
        session.execute(update(Job).where(Job.kind == "issue-report").values(state="failed"))
    assert enqueue_missing_reports(app) == 1
    with app.database.reading() as session:
        assert count_failed(session) == 0
    assert enqueue_missing_reports(app) == 0  # its job is waiting
    run_jobs(app)
    assert report_of(app, signed).case_id == signed
    assert enqueue_missing_reports(app) == 0
