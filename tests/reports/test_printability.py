# SPDX-License-Identifier: Apache-2.0
"""What a report cannot print is a warning before the signature, never a replacement sign in a sealed report."""

from __future__ import annotations

from typing import Any

import pytest

from medhub.accounts.permissions import Role
from medhub.foundation.app_context import AppContext
from medhub.records import service as records
from medhub.reports.embedded_record import read_record
from medhub.reports.printability import NotPrintable
from medhub.reports.service import read_report
from medhub.reports.typography import printable_text, unprintable_characters
from medhub.review import service as review
from medhub.review.models import Case
from medhub.review.service import case_history, verdicts_of
from tests.factories.accounts import People
from tests.factories.cases import make_case, make_patient, run_jobs, use_classifier
from tests.reports.test_document import words

SCRIPTS = {
    "Ethiopic": "ጸሓይ ገብረማርያም",
    "Odia": "ସୁଭଦ୍ରା ମହାପାତ୍ର",
    "Thaana": "އައިޝަތު",
    "Santali": "ᱥᱟᱱᱛᱟᱲᱤ",
    "Meetei": "ꯃꯤꯇꯩ",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_scripts_of_the_bundled_fonts_are_printed(script: str) -> None:
    assert unprintable_characters(SCRIPTS[script]) == []
    assert "\ufffd" not in printable_text(SCRIPTS[script])


@pytest.mark.parametrize(
    ("text", "unprintable"),
    [
        ("𠂉 㐀", ["𠂉", "㐀"]),
        ("ᠮᠣᠩ", ["ᠮ", "ᠣ", "ᠩ"]),
        ("a\x01b", ["\x01"]),
        ("\U000f0000", ["\U000f0000"]),
        ("葛\U000e0100", []),
    ],
)
def test_unprintable_characters_are_named(text: str, unprintable: list[str]) -> None:
    assert unprintable_characters(text) == unprintable


@pytest.fixture
def ready_case(app: AppContext, people: People, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A patient, and the case of this patient, whose images have verdicts."""
    use_classifier(monkeypatch)
    patient_id = make_patient(app, people)
    physician = people.actor(app, Role.PHYSICIAN)
    case_id, image_ids = make_case(app, people, patient_id)
    for image_id in image_ids:
        with app.database.writing() as session:
            review.give_verdict(session, app.settings, physician, image_id, "neutrophil", "note")
    return patient_id, case_id


def sign(app: AppContext, people: People, case_id: str, note: str, *, accepted: bool = False) -> None:
    physician = people.actor(app, Role.PHYSICIAN)
    with app.database.writing() as session:
        case = review.sign_case(session, app.settings, physician, case_id, note)
        review.run_signing_checks(session, app.keys, physician, case, accepted=accepted)


def test_a_signature_waits_until_the_text_is_changed_or_the_codes_are_accepted(
    app: AppContext, people: People, ready_case: tuple[str, str]
) -> None:
    _, case_id = ready_case
    with pytest.raises(NotPrintable, match="conclusion") as caught:
        sign(app, people, case_id, "Seen by 𠂉")
    assert caught.value.facts["acceptable"] is True
    listed: Any = caught.value.facts["unprintable"]
    assert [entry["where"] for entry in listed] == ["conclusion"]
    assert listed[0]["characters"] == [{"character": "𠂉", "code": "U+20089", "name": "cjk unified ideograph-20089"}]
    with app.database.reading() as session:
        assert session.get_one(Case, case_id).signed_at is None
    sign(app, people, case_id, "Seen by 𠂉", accepted=True)
    run_jobs(app)
    _, pdf = read_report(app, people.actor(app, Role.PHYSICIAN), case_id)
    text = words(pdf)
    assert "[U+20089]" in text
    assert "\ufffd" not in text
    record: Any = read_record(pdf)[0]
    assert "Seen by 𠂉" in str(record)


def test_each_name_of_the_history_is_listed_once(app: AppContext, people: People, ready_case: tuple[str, str]) -> None:
    _, case_id = ready_case
    with app.database.writing() as session:
        case = session.get_one(Case, case_id)
        for event in case_history(session, case):
            event.by = "㐀 Lee"
        for verdict in verdicts_of(session, case_id).values():
            verdict.by = "𠂉 Wu"
    with pytest.raises(NotPrintable) as caught:
        sign(app, people, case_id, "fine")
    listed: Any = caught.value.facts["unprintable"]
    named = [(entry["where"], [character["character"] for character in entry["characters"]]) for entry in listed]
    assert named == [("name of a reader", ["𠂉"]), ("name of a person in the history", ["㐀"])]


def test_control_characters_must_be_removed(app: AppContext, people: People, ready_case: tuple[str, str]) -> None:
    _, case_id = ready_case
    with pytest.raises(NotPrintable, match="Remove them"):
        sign(app, people, case_id, "a\x01b", accepted=True)


def test_names_in_many_scripts_are_in_the_report_and_its_record(
    app: AppContext, people: People, ready_case: tuple[str, str]
) -> None:
    patient_id, case_id = ready_case
    name = " ".join(SCRIPTS.values())
    technologist = people.actor(app, Role.TECHNOLOGIST)
    with app.database.writing() as session:
        records.change_patient(session, app.keys, technologist, patient_id, identity={"name": name})
    sign(app, people, case_id, name)
    run_jobs(app)
    _, pdf = read_report(app, people.actor(app, Role.PHYSICIAN), case_id)
    assert "\ufffd" not in words(pdf)
    assert "ጸሓይ" in words(pdf)
    assert name in str(read_record(pdf)[0])


def test_an_unprintable_name_of_a_patient_is_told(app: AppContext, people: People, ready_case: tuple[str, str]) -> None:
    patient_id, case_id = ready_case
    technologist = people.actor(app, Role.TECHNOLOGIST)
    with app.database.writing() as session:
        records.change_patient(session, app.keys, technologist, patient_id, identity={"name": "㐀 Lee"})
    with pytest.raises(NotPrintable, match="name of the patient"):
        sign(app, people, case_id, "fine")
