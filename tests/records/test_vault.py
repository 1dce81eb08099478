# SPDX-License-Identifier: Apache-2.0
"""What is sealed, what an erasure destroys, and what of it a backup still holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.audit.models import AuditEntry
from medhub.audit.service import verify_chain
from medhub.errors import NotAllowed, NotFound, Unavailable
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import Base
from medhub.foundation.keys import Keys, unseal
from medhub.records import patient_blobs, service, vault
from medhub.records.erasure import erase_patient
from medhub.records.identifier_index import ConfirmedDuplicate
from medhub.records.models import Identity, Patient
from medhub.records.vault import VaultKeyDestroyed
from medhub.reports.models import Report
from medhub.reports.service import read_report
from medhub.review import service as review
from tests.factories.accounts import People
from tests.factories.cases import make_case, make_patient, run_jobs, upload, use_classifier
from tests.records.conftest import Registering

NAME = "Siti Nurhaliza"
TWINS = ConfirmedDuplicate("two records on purpose")
IDENTITY = {"name": NAME, "hospital_number": "H-884422", "phone": "+60127788990"}


def everything_stored(app: AppContext) -> bytes:
    """Every byte of the database: SQLite's files with their journals, or all rows of PostgreSQL as text."""
    if app.database.is_sqlite:
        return b"".join(path.read_bytes() for path in sorted(app.settings.data.glob("medhub.sqlite*")))
    with app.database.reading() as session:
        rows = [
            row
            for table in Base.metadata.sorted_tables
            for row in session.scalars(text(f"SELECT t::text FROM {table.name} AS t"))  # noqa: S608 - names of our own
        ]
    return "\n".join(rows).encode()


def row_of(app: AppContext, patient_id: str) -> Identity:
    with app.database.reading() as session:
        return session.get_one(Identity, patient_id)


def test_an_identity_is_sealed_at_rest(app: AppContext, register: Registering) -> None:
    patient = register(identity=IDENTITY)
    stored = everything_stored(app)
    assert patient.id.encode() in stored
    for value in (*IDENTITY.values(), *NAME.split(), "nurhaliza", "884422"):
        assert value.encode() not in stored
        assert value.encode().hex().encode() not in stored
    assert vault.read_identity(app.keys, row_of(app, patient.id)) == IDENTITY


def test_each_patient_has_a_key_of_its_own(app: AppContext, register: Registering) -> None:
    first, other = (row_of(app, register(identity=IDENTITY, duplicate=TWINS).id) for _ in range(2))
    assert first.sealed_identity != other.sealed_identity
    for row in (first, other):
        assert len(unseal(app.keys.derive("vault"), row.sealed_key, row.patient_id)) == 32
    assert vault._key(app.keys, first) != vault._key(app.keys, other)


def test_an_identity_moved_to_another_patient_does_not_open(app: AppContext, register: Registering) -> None:
    first, other = (row_of(app, register(identity=IDENTITY, duplicate=TWINS).id) for _ in range(2))
    moved = Identity(patient_id=other.patient_id, sealed_key=other.sealed_key, sealed_identity=first.sealed_identity)
    stolen = Identity(patient_id=other.patient_id, sealed_key=first.sealed_key, sealed_identity=first.sealed_identity)
    for row in (moved, stolen):
        with pytest.raises(Unavailable):
            vault.read_identity(app.keys, row)


def test_another_master_key_opens_nothing(app: AppContext, register: Registering) -> None:
    row = row_of(app, register(identity=IDENTITY).id)
    with pytest.raises(Unavailable, match="master key"):
        vault.read_identity(Keys(b"\x09" * 32), row)


def test_an_empty_identity_clears_the_old_one_and_its_marks(
    app: AppContext, technologist: Actor, register: Registering
) -> None:
    patient = register(identity=IDENTITY)
    with app.database.writing() as session:
        service.change_patient(session, app.keys, technologist, patient.id, identity={})
    assert row_of(app, patient.id).sealed_identity is None
    with app.database.reading() as session:
        assert session.execute(text("SELECT count(*) FROM vault_terms")).scalar() == 0


@given(st.text(max_size=40))
def test_folding_forgets_case_and_settles_at_once(name: str) -> None:
    folded = vault.fold(name)
    assert vault.fold(folded) == folded
    assert folded == " ".join(folded.split())


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ("Zoë", "ZOE"),
        ("Zoe\u0308", "Zoë"),
        ("O'Brien", "o brien"),
        ("ＳＩＴＩ", "siti"),
        ("Straße", "STRASSE"),
        ("முருகன்", "முருகன்"),
        ("Ｌee\u3000Ming", "lee ming"),
    ],
)
def test_spellings_of_one_name_are_the_same(first: str, other: str) -> None:
    assert vault.fold(first) == vault.fold(other)


def test_names_that_differ_by_more_than_accents_stay_different() -> None:
    assert len({vault.fold(name) for name in ("முருகன்", "முருகா", "陈", "陳", "عمر", "عمرو", "Siti", "Sita")}) == 8


@pytest.fixture
def complete_patient(app: AppContext, people: People, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A patient with identity, images, quarantined bytes, a signed case and a report; and the case."""
    use_classifier(monkeypatch)
    patient_id = make_patient(app, people)
    physician, technologist = people.actor(app, Role.PHYSICIAN), people.actor(app, Role.TECHNOLOGIST)
    case_id, image_ids = make_case(app, people, patient_id)
    upload(app, technologist, patient_id, b"Dear doctor, Siti binti Abdullah")
    for image_id in image_ids:
        with app.database.writing() as session:
            review.give_verdict(session, app.settings, physician, image_id, "neutrophil", "She is a teacher")
    with app.database.writing() as session:
        review.sign_case(session, app.settings, physician, case_id, None)
    run_jobs(app)
    return patient_id, case_id


def erase(app: AppContext, people: People, patient_id: str) -> tuple[str, int]:
    administrator = people.actor(app, Role.ADMINISTRATOR)
    with app.database.writing() as session:
        erasure = erase_patient(session, app, administrator, patient_id)
        return erasure.patient_code, erasure.contents["images"]


def test_erasing_destroys_key_rows_blobs_and_reports(
    app: AppContext, people: People, complete_patient: tuple[str, str]
) -> None:
    patient_id, case_id = complete_patient
    stays = make_patient(app, people)
    physician = people.actor(app, Role.PHYSICIAN)
    read_report(app, physician, case_id)
    assert len(list(app.blobs.digests())) == 8
    with app.database.reading() as session:
        code = session.get_one(Patient, patient_id).code
    assert erase(app, people, patient_id) == (code, 2)
    with pytest.raises(NotFound):
        read_report(app, physician, case_id)
    run_jobs(app)
    assert list(app.blobs.digests()) == []
    counts: dict[str, int] = {}
    with app.database.reading() as session:
        for table in Base.metadata.sorted_tables:
            rows = session.execute(select(table)).all()
            for row in rows:
                if table.name != "audit_entries":
                    assert patient_id not in str(row), table.name
            counts[table.name] = len(rows)
    assert {name for name, count in counts.items() if count} == {
        "audit_entries", "jobs", "projects", "users", "memberships", "sign_ins", "patients", "vault", "vault_terms",
        "erasures", "manifest_lines", "patient_identifiers",
    }  # fmt: skip
    assert counts["patients"] == counts["vault"] == 1
    assert row_of(app, stays).sealed_identity is not None


def test_the_audit_keeps_that_a_patient_was_erased_and_not_who(
    app: AppContext, people: People, complete_patient: tuple[str, str]
) -> None:
    patient_id, _ = complete_patient
    code, _ = erase(app, people, patient_id)
    with app.database.reading() as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "patient.erase")).one()
        assert verify_chain(session).broken_at is None
        values = [
            [str(getattr(e, c.key)) for c in AuditEntry.__table__.columns] for e in session.scalars(select(AuditEntry))
        ]
    assert (entry.object_id, entry.actor, entry.detail["images"]) == (patient_id, "The administrator", 2)
    for secret in ("Siti", "Abdullah", "H-100234", "1980-03-14", "teacher", code):
        assert secret not in str(values)


def test_what_was_sealed_for_an_erased_patient_opens_with_nothing_that_is_left(
    app: AppContext, people: People, complete_patient: tuple[str, str]
) -> None:
    """The promise: reports and quarantined bytes in a backup of the blobs are worth nothing once the key is gone."""
    patient_id, case_id = complete_patient
    with app.database.reading() as session:
        report = session.get_one(Report, case_id)
    backup = app.blobs.get(report.identified_blob)
    identity = row_of(app, patient_id).sealed_identity
    assert identity is not None
    erase(app, people, patient_id)
    with pytest.raises(VaultKeyDestroyed), app.database.reading() as session:
        vault.unseal_for(session, app.keys, patient_id, backup, f"report {case_id} identified")
    other = row_of(app, make_patient(app, people))
    left = [app.keys.derive("vault"), app.keys.derive(f"uids {people.project_id}"), vault._key(app.keys, other)]
    for key in left:
        for sealed, bound_to in ((backup, f"report {case_id} identified"), (identity, f"identity {patient_id}")):
            with pytest.raises(Unavailable):
                unseal(key, sealed, bound_to)


def test_a_backup_of_the_whole_row_opens_with_the_master_key_until_it_is_destroyed_too(
    app: AppContext, people: People, complete_patient: tuple[str, str]
) -> None:
    """Not promised: a backup of the database from before an erasure holds the sealed key beside what it sealed."""
    patient_id, _ = complete_patient
    backup = row_of(app, patient_id)
    erase(app, people, patient_id)
    opened = vault.read_identity(app.keys, backup)
    assert opened is not None
    assert opened["name"] == "Siti binti Abdullah"
    with pytest.raises(Unavailable):  # without the master key even that opens nothing
        vault.read_identity(Keys(b"\x01" * 32), backup)


def test_the_sealed_key_does_not_linger_in_the_files_of_the_database(
    app: AppContext, people: People, complete_patient: tuple[str, str]
) -> None:
    if not app.database.is_sqlite:
        return  # PostgreSQL keeps dead rows until it is vacuumed; that is the operator's to set
    patient_id, _ = complete_patient
    row = row_of(app, patient_id)
    assert row.sealed_identity is not None
    assert row.sealed_key in everything_stored(app)
    erase(app, people, patient_id)
    stored = everything_stored(app)
    assert row.sealed_key not in stored
    assert row.sealed_identity not in stored
    assert b"teacher" not in stored


def test_only_an_administrator_erases(app: AppContext, people: People, register: Registering) -> None:
    patient = register(identity=IDENTITY)
    for role in Role:
        if role is Role.ADMINISTRATOR:
            continue
        actor = people.actor(app, role)
        with pytest.raises(NotAllowed), app.database.writing() as session:
            erase_patient(session, app, actor, patient.id)
    outsider = people.outsider(app)
    with pytest.raises(NotFound), app.database.writing() as session:
        erase_patient(session, app, outsider, patient.id)


def test_images_that_two_patients_share_stay_for_the_other(
    app: AppContext, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thumbnails of equal pictures are one blob; it goes with its last patient."""
    first, other = make_patient(app, people), make_patient(app, people)
    with app.database.writing() as session:
        digest = patient_blobs.store_blob(session, app, b"the same picture", patient_id=first)
        patient_blobs.store_blob(session, app, b"the same picture", patient_id=other)
    erase(app, people, first)
    run_jobs(app)
    assert app.blobs.has(digest)
    erase(app, people, other)
    run_jobs(app)
    assert not app.blobs.has(digest)


def test_nothing_is_written_outside_the_data_folder(app: AppContext, register: Registering, tmp_path: Path) -> None:
    register(identity=IDENTITY)
    outside: list[Any] = [p for p in tmp_path.rglob("*") if p.is_file() and app.settings.data not in p.parents]
    assert outside == []
