# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from collections import Counter
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow
import pydicom
import pytest
from PIL import Image as Picture
from pyarrow import parquet
from sqlalchemy import select, text, update

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.audit.models import AuditEntry
from medhub.errors import Invalid, NotAllowed, NotFound
from medhub.export import finding_picture, phi_check, service, tasks
from medhub.export.export_findings import list_findings
from medhub.export.lifecycle import ERASED_MESSAGE, export_path
from medhub.export.metadata_table import ExportRow, write_label_list
from medhub.export.models import Export, ExportFinding, ExportImage
from medhub.export.packing import CHANGED_MESSAGE
from medhub.export.selection import NothingToExport, Selection
from medhub.foundation import clock
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import Base
from medhub.foundation.isolation import Isolation
from medhub.ingest.profiles import choose_profile
from medhub.records import service as records
from medhub.records import studies
from medhub.records.erasure import erase_patient
from medhub.records.models import Image
from medhub.science.learning.label_listing import read_label_table
from medhub.training.datasets import make_from_zip
from medhub.training.models import DataSetRow
from tests.export.conftest import Known, on_sqlite
from tests.factories import kinds
from tests.factories.accounts import People
from tests.factories.cases import make_patient, run_jobs, upload
from tests.factories.colors import COLORS, packed
from tests.factories.exports import burn, clear_all, findings, lay_signed, order, plant, read

DESCRIBED = {"metadata.csv", "metadata.json", "metadata.parquet"}


def unpacked(app: AppContext, actor: Actor, export_id: str) -> dict[str, bytes]:
    with app.database.reading() as session:
        _, path = service.get_export_file(session, app.settings, actor, export_id)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def metadata(files: dict[str, bytes]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(files["metadata.csv"].decode())))


def blobs_of(app: AppContext, image_ids: list[str]) -> list[bytes]:
    with app.database.reading() as session:
        query = select(Image.blob).where(Image.id.in_(image_ids))
        return [app.blobs.get(digest) for digest in session.scalars(query)]


def test_a_project_leaves_as_dicom_under_neutral_names(
    app: AppContext, people: People, researcher: Actor, known: Known
) -> None:
    export_id = order(app, researcher, people.project_id)
    assert [(finding.location, finding.kind) for finding in findings(app, export_id)] == []
    export = read(app, export_id)
    assert (export.state, export.images, export.patients, export.scanned) == ("ready", 4, 2, 4)
    files = unpacked(app, researcher, export_id)
    pictures = sorted(data for name, data in files.items() if name.startswith("DICOM/"))
    assert pictures == sorted(blobs_of(app, [*known.images_of_siti, *known.images_of_other]))
    assert {name for name in files if not name.startswith("DICOM/")} == {
        "DICOMDIR",
        "metadata.csv",
        "metadata.json",
        "metadata.parquet",
    }
    assert all(len(part) <= 8 for name in files if name.startswith("DICOM/") for part in name.split("/"))
    rows = metadata(files)
    assert {row["file"] for row in rows} == {name for name in files if name.startswith("DICOM/")}
    assert sorted(row["label"] for row in rows) == ["blue", "gray", "green", "red"]
    assert json.loads(files["metadata.json"])["images"][0]["file"] == rows[0]["file"]
    path = export_path(app.settings, export_id)
    assert export.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert export.size_bytes == path.stat().st_size
    assert oct(path.parent.stat().st_mode & 0o077) == "0o0"


@on_sqlite
def test_the_directory_of_a_file_set_names_every_file(
    app: AppContext, people: People, researcher: Actor, known: Known
) -> None:
    files = unpacked(app, researcher, order(app, researcher, people.project_id))
    directory = pydicom.dcmread(io.BytesIO(files["DICOMDIR"]))
    directory_records = list(directory.DirectoryRecordSequence)
    assert [record.DirectoryRecordType for record in directory_records].count("PATIENT") == 2
    image_records = {
        "/".join(record.ReferencedFileID): record
        for record in directory_records
        if record.DirectoryRecordType == "IMAGE"
    }
    assert set(image_records) == {name for name in files if name.startswith("DICOM/")}
    for name, record in image_records.items():
        file = pydicom.dcmread(io.BytesIO(files[name]))
        assert record.ReferencedSOPInstanceUIDInFile == file.SOPInstanceUID


@on_sqlite
def test_objects_of_every_kind_leave_with_the_last_look_having_read_them(
    app: AppContext, people: People, administrator: Actor, researcher: Actor
) -> None:
    with app.database.writing() as session:
        choose_profile(session, administrator, people.project_id, name="research-dates-shifted")
    patient_id = make_patient(app, people)
    objects = [make() for make, _ in kinds.KINDS.values()]
    answers = upload(app, people.actor(app, Role.TECHNOLOGIST), patient_id, *objects)
    assert {answer.outcome for answer in answers} == {"accepted"}
    export_id = order(app, researcher, people.project_id)
    unread = [finding for finding in findings(app, export_id) if "read" in finding.kind or "identity" in finding.kind]
    assert [(finding.location, finding.kind) for finding in unread] == []
    clear_all(app, researcher, export_id)
    files = unpacked(app, researcher, export_id)
    assert len([name for name in files if name.startswith("DICOM/")]) == len(objects)
    directory = pydicom.dcmread(io.BytesIO(files["DICOMDIR"]))
    types = {record.DirectoryRecordType for record in directory.DirectoryRecordSequence}
    assert {"SR DOCUMENT", "WAVEFORM", "IMAGE", "RT PLAN", "PRESENTATION"} <= types


def test_a_planted_name_keeps_an_export_from_leaving_until_a_person_clears_it(
    app: AppContext, people: People, researcher: Actor, administrator: Actor, known: Known
) -> None:
    plant(app, known.images_of_siti[0], PatientComments="seen with abdullah yesterday")
    export_id = order(app, researcher, people.project_id)
    assert read(app, export_id).state == "blocked"
    (finding,) = findings(app, export_id)
    assert (finding.kind, finding.location, finding.patient_id) == ("known identity", "(0010,4000)", known.siti)
    assert finding.sealed_excerpt is not None
    assert b"abdullah" not in finding.sealed_excerpt
    assert not export_path(app.settings, export_id).exists()
    with app.database.reading() as session, pytest.raises(service.ExportNotReady, match="a person must decide"):
        service.get_export_file(session, app.settings, researcher, export_id)
    with app.database.reading() as session:
        export = session.get_one(Export, export_id)
        (hidden,), _ = list_findings(session, app.keys, researcher, export, state=None, offset=0, limit=10)
        (visible,), _ = list_findings(session, app.keys, administrator, export, state=None, offset=0, limit=10)
    assert (hidden.excerpt, visible.excerpt) == (None, "abdullah")
    with app.database.writing() as session, pytest.raises(NotAllowed):
        service.clear_finding(session, researcher, export_id, finding.id, "It is nobody.")
    with app.database.writing() as session:
        service.clear_finding(session, administrator, export_id, finding.id, "A street of this name.")
    run_jobs(app)
    assert read(app, export_id).state == "ready"
    assert len(unpacked(app, researcher, export_id)) == 4 + 4
    (cleared,) = findings(app, export_id, "cleared")
    assert (cleared.note, cleared.decided_by) == ("A street of this name.", "The administrator")


def test_an_image_can_be_taken_out_instead(app: AppContext, people: People, researcher: Actor, known: Known) -> None:
    plant(app, known.images_of_siti[0], ImageComments="Siti binti Abdullah, H-100234")
    export_id = order(app, researcher, people.project_id)
    open_findings = findings(app, export_id)
    assert len(open_findings) >= 4
    with app.database.writing() as session:
        service.exclude_images(session, researcher, export_id, open_findings[0].id, None)
    run_jobs(app)
    export = read(app, export_id)
    assert (export.state, export.images) == ("ready", 3)
    files = unpacked(app, researcher, export_id)
    assert len([name for name in files if name.startswith("DICOM/")]) == 3
    assert not [name for name, data in files.items() if b"Siti" in data or b"100234" in data]
    assert {finding.state for finding in findings(app, export_id, "excluded")} == {"excluded"}


@on_sqlite
def test_when_nothing_is_left_the_export_says_so(
    app: AppContext, people: People, researcher: Actor, known: Known
) -> None:
    plant(app, known.images_of_siti[0], ImageComments="abdullah")
    with app.database.reading() as session:
        study_id = session.get_one(Image, known.images_of_siti[0]).study_id
    plant(app, known.images_of_siti[1], ImageComments="abdullah")
    export_id = order(app, researcher, people.project_id, selection=Selection("studies", (study_id,)))
    with app.database.writing() as session:
        service.exclude_images(session, researcher, export_id, findings(app, export_id)[0].id, "Named.")
    run_jobs(app)
    export = read(app, export_id)
    assert export.state == "failed"
    assert export.failure is not None
    assert "No image is left" in export.failure


def test_the_same_value_is_decided_on_once(
    app: AppContext, people: People, researcher: Actor, administrator: Actor, known: Known
) -> None:
    for number, image_id in enumerate((*known.images_of_siti, *known.images_of_other)):
        plant(app, image_id, StudyDate="20260102" if number < 3 else "20260103")
    export_id = order(app, researcher, people.project_id)
    assert len(findings(app, export_id)) == 4
    with app.database.reading() as session:
        export = session.get_one(Export, export_id)
        groups, total = list_findings(session, app.keys, administrator, export, state="open", offset=0, limit=10)
    assert total == 2
    assert {(group.excerpt, group.images) for group in groups} == {("20260102", 3), ("20260103", 1)}
    first = next(group for group in groups if group.excerpt == "20260102")
    with app.database.writing() as session:
        service.clear_finding(session, administrator, export_id, first.finding.id, "The day of arrival.")
    assert len(findings(app, export_id)) == 1
    again = order(app, researcher, people.project_id)
    with app.database.writing() as session:
        finding_id = findings(app, again)[0].id
        service.clear_finding(session, administrator, again, finding_id, "The day of arrival.", scope="place")
    run_jobs(app)
    assert read(app, again).state == "ready"


@on_sqlite
def test_a_known_name_is_never_cleared_together_with_others(
    app: AppContext, people: People, researcher: Actor, administrator: Actor, known: Known
) -> None:
    plant(app, known.images_of_siti[0], ImageComments="abdullah")
    export_id = order(app, researcher, people.project_id)
    with app.database.writing() as session, pytest.raises(Invalid, match="each by itself"):
        service.clear_finding(session, administrator, export_id, findings(app, export_id)[0].id, "All.", scope="place")


@on_sqlite
def test_a_name_in_what_people_wrote_is_found_too_and_so_is_one_in_somebody_elses_file(
    app: AppContext, people: People, researcher: Actor, known: Known
) -> None:
    technologist = people.actor(app, Role.TECHNOLOGIST)
    with app.database.writing() as session:
        study_id = session.get_one(Image, known.images_of_siti[0]).study_id
        studies.change_study(session, technologist, study_id, description="Smear of Siti", fields=None)
    plant(app, known.images_of_other[0], ImageComments="compare to ABDULLAH")
    export_id = order(app, researcher, people.project_id, "metadata")
    assert {(finding.location, finding.kind) for finding in findings(app, export_id)} == {
        ("metadata, study_description", "known identity")
    }
    export_id = order(app, researcher, people.project_id)
    assert {(finding.location, finding.kind, finding.patient_id) for finding in findings(app, export_id)} == {
        ("metadata, study_description", "known identity", known.siti),
        ("text of the file", "known identity of another patient", known.other),
        ("(0020,4000)", "words that no dictionary has", known.other),
    }


@on_sqlite
def test_a_name_in_the_pixels_is_found(app: AppContext, people: People, researcher: Actor, reads_pixels: None) -> None:
    patient_id, (image_id,) = lay_signed(app, people, {"red": "red"}, 300, identity=True)
    burn(app, image_id, "SITI ABDULLAH")
    export_id = order(app, researcher, people.project_id, "training", Selection("patients", (patient_id,)))
    assert {finding.kind for finding in findings(app, export_id)} == {"known identity"}
    assert all("pixels" in finding.location for finding in findings(app, export_id))


@on_sqlite
def test_the_picture_of_a_finding_is_covered_for_roles_that_may_not_read_identities(
    app: AppContext, people: People, researcher: Actor, administrator: Actor, reads_pixels: None
) -> None:
    patient_id, (image_id,) = lay_signed(app, people, {"red": "red"}, 300, identity=True)
    burn(app, image_id, "SITI ABDULLAH")
    export_id = order(app, researcher, people.project_id, "training", Selection("patients", (patient_id,)))
    brightest = {}
    for actor in (researcher, administrator):
        with app.database.writing() as session:
            export = service.get_export(session, actor, export_id)
            finding_id = findings(app, export_id)[0].id
            image, frame, covered = finding_picture.get_finding_image(session, actor, export, finding_id)
        picture = finding_picture.render_finding(app, image, frame, covered, 480)
        brightest[actor.name] = int(np.asarray(Picture.open(io.BytesIO(picture)).convert("L")).max())
    assert brightest[researcher.name] < 100
    assert brightest[administrator.name] > 200


@pytest.mark.parametrize(
    ("location", "region"),
    [
        ("pixels, frame 3, box 1,2,30,40", (3, 1, 2, 30, 40)),
        ("bytes of the file, pixels, picture 1, box 5,6,7,8", (0, 5, 6, 7, 8)),
        ("pixels, brightest of all frames, box 1,2,3,4", (0, 1, 2, 3, 4)),
        ("(0088,0200)[1]pixels, frame 1, box 1,2,3,4", (0, 0, 0, 1 << 20, 1 << 20)),
        ("(0010,4000)", None),
    ],
)
def test_the_area_that_a_location_names(location: str, region: tuple[int, ...] | None) -> None:
    assert finding_picture._region_of(location) == region


def test_reading_a_table_leaves_the_process_room_for_reading_pictures() -> None:
    table = io.BytesIO()
    parquet.write_table(pyarrow.table({"sex": ["F"]}), table)
    with Isolation(workers=1) as pool:
        before = _addresses(pool)
        assert pool.run(phi_check.scan_image, "metadata.parquet", table.getvalue(), {}, [])["findings"] == []
        assert _addresses(pool) - before < 512 * 1024**2


def _addresses(pool: Isolation) -> int:
    """Bytes of addresses of the one process of a pool, of which it may have two gigabytes."""
    pool.run(phi_check.scan_image, "metadata.csv", b"sex", {}, [])
    status = Path(f"/proc/{pool.process_ids[0]}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmSize:"))


def test_labels_stay_as_they_are_in_the_list_that_programs_read() -> None:
    labels = ["+", "++", "-", "=x", "@y", "\uff0b", "a;=b"]
    rows = [ExportRow({"file": "1.png", "label": label, "patient": "P", "split": "test"}) for label in labels]
    lines = read_label_table(write_label_list(rows), "labels.csv")
    assert [line.label for line in lines] == labels


@on_sqlite
def test_a_data_set_for_training_holds_pictures_labels_and_parts_by_patient(
    app: AppContext, people: People, researcher: Actor, known: Known
) -> None:
    export_id = order(app, researcher, people.project_id, "training", Selection("verdicts", (), COLORS))
    export = read(app, export_id)
    assert (export.state, export.images, export.left_out) == ("ready", 3, {"not counted": 1})
    files = unpacked(app, researcher, export_id)
    rows = list(csv.DictReader(io.StringIO(files["labels.csv"].decode())))
    assert list(rows[0]) == ["path", "label", "group", "split"]
    assert sorted(row["label"] for row in rows) == ["blue", "green", "red"]
    assert len({row["group"] for row in rows}) == 2
    assert all(
        len({row["split"] for row in rows if row["group"] == group}) == 1 for group in {r["group"] for r in rows}
    )
    for row in rows:
        with Picture.open(io.BytesIO(files[row["path"]])) as picture:
            assert (picture.format, picture.size, picture.info) == ("PNG", (48, 48), {})
    again = make_from_zip(app, researcher, project_id=people.project_id, name="again", data=packed(files))
    with app.database.reading() as session:
        entries = session.scalars(select(DataSetRow).where(DataSetRow.dataset_id == again)).all()
    assert Counter((entry.label, entry.part) for entry in entries) == Counter((r["label"], r["split"]) for r in rows)
    jpeg = order(app, researcher, people.project_id, "training", picture="jpeg")
    assert sorted(name for name in unpacked(app, researcher, jpeg) if name.endswith(".jpg")) == [
        f"images/IMG_000{number}.jpg" for number in (1, 2, 3)
    ]


@on_sqlite
def test_metadata_alone_has_no_file_of_any_image(
    app: AppContext, people: People, researcher: Actor, known: Known
) -> None:
    export_id = order(app, researcher, people.project_id, "metadata")
    files = unpacked(app, researcher, export_id)
    assert set(files) == DESCRIBED
    assert [row["sex"] for row in metadata(files)] == ["F"] * 4
    table = parquet.read_table(io.BytesIO(files["metadata.parquet"]))
    assert [str(table.schema.field(name).type) for name in ("sex", "birth_year", "frames")] == [
        "string", "int64", "int64",
    ]  # fmt: skip
    assert [
        {name: "" if value is None else str(value) for name, value in row.items()} for row in table.to_pylist()
    ] == [{name: value.removeprefix("'") for name, value in row.items()} for row in metadata(files)]
    # It is searched for names by its bytes, so each value must stand in it as it is.
    assert all(row["patient"].encode() in files["metadata.parquet"] for row in metadata(files))


@on_sqlite
def test_people_who_hide_behind_nobody_are_counted(
    app: AppContext, people: People, researcher: Actor, administrator: Actor, known: Known
) -> None:
    equal = read(app, order(app, researcher, people.project_id, "metadata"))
    assert equal.anonymity is not None
    assert (equal.anonymity["k"], equal.anonymity["alone"], equal.anonymity["columns"]) == (2, 0, ["sex", "birth_year"])
    with app.database.writing() as session:
        records.change_patient(session, app.keys, administrator, known.other, birth_year=1931)
    different = read(app, order(app, researcher, people.project_id, "metadata"))
    assert different.anonymity is not None
    assert (different.anonymity["k"], different.anonymity["alone"]) == (1, 2)


# Erasure, expiry, destruction.


def test_erasing_a_patient_destroys_the_exports_that_hold_the_patient(
    app: AppContext, people: People, researcher: Actor, administrator: Actor, known: Known
) -> None:
    plant(app, known.images_of_siti[0], ImageComments="abdullah")
    ready = order(app, researcher, people.project_id, "metadata")
    blocked = order(app, researcher, people.project_id)
    without = order(app, researcher, people.project_id, selection=Selection("patients", (known.other,)))
    waiting = order(app, researcher, people.project_id, run=False)
    assert [read(app, export_id).state for export_id in (ready, blocked, without)] == ["ready", "blocked", "ready"]
    with app.database.writing() as session:
        erase_patient(session, app, administrator, known.siti)
    with app.database.reading() as session, pytest.raises(service.ExportNotReady, match="has since been erased"):
        service.get_export_file(session, app.settings, researcher, ready)  # before the job has run
    run_jobs(app)
    for export_id in (ready, blocked, waiting):
        export = read(app, export_id)
        assert (export.state, export.failure) == ("erased", ERASED_MESSAGE)
        assert not list(app.settings.exports_folder.glob(f"{export_id}*"))
    assert read(app, without).state == "ready"
    with app.database.reading() as session:
        assert session.scalars(select(ExportImage).where(ExportImage.patient_id == known.siti)).all() == []
        assert session.scalars(select(ExportFinding).where(ExportFinding.patient_id == known.siti)).all() == []
        acts = session.scalars(select(AuditEntry).where(AuditEntry.action == "export.erased")).all()
    assert {act.object_id for act in acts} == {ready, blocked, waiting}


@on_sqlite
def test_an_export_from_which_a_patient_was_taken_out_outlives_the_patient(
    app: AppContext, people: People, researcher: Actor, administrator: Actor, known: Known
) -> None:
    for image_id in known.images_of_siti:
        plant(app, image_id, ImageComments="abdullah")
    export_id = order(app, researcher, people.project_id)
    with app.database.writing() as session:
        service.exclude_images(session, researcher, export_id, findings(app, export_id)[0].id, None)
    run_jobs(app)
    with app.database.writing() as session:
        erase_patient(session, app, administrator, known.siti)
    run_jobs(app)
    assert read(app, export_id).state == "ready"
    assert len(unpacked(app, researcher, export_id)) == 2 + 4
    with app.database.reading() as session:
        assert session.scalars(select(ExportImage).where(ExportImage.patient_id == known.siti)).all() == []


@on_sqlite
def test_an_export_is_destroyed_when_its_time_is_over(
    app: AppContext, people: People, researcher: Actor, known: Known
) -> None:
    export_id = order(app, researcher, people.project_id, "metadata")
    stray = app.settings.exports_folder / f"{'0' * 32}.zip.part"
    stray.write_bytes(b"of a process that died")
    assert tasks.destroy_expired_exports(app) == 0
    assert not stray.exists()
    with app.database.writing() as session:
        session.execute(update(Export).values(expires_at=clock.now() - timedelta(seconds=1)))
    with app.database.reading() as session, pytest.raises(service.ExportNotReady, match="it has expired"):
        service.get_export_file(session, app.settings, researcher, export_id)
    assert tasks.destroy_expired_exports(app) == 1
    assert read(app, export_id).state == "expired"
    assert not export_path(app.settings, export_id).exists()


@on_sqlite
def test_an_export_can_be_destroyed_before_its_time(
    app: AppContext, people: People, researcher: Actor, known: Known
) -> None:
    export_id = order(app, researcher, people.project_id, "metadata")
    with app.database.writing() as session:
        service.destroy_export(session, app, researcher, export_id)
    assert not export_path(app.settings, export_id).exists()
    with app.database.writing() as session, pytest.raises(service.ExportNotReady, match="ended already"):
        service.destroy_export(session, app, researcher, export_id)


# Being built.


@on_sqlite
def test_an_export_goes_on_where_a_killed_process_left_it(
    app: AppContext, people: People, researcher: Actor, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "BATCH_S", -1.0)  # one image at a time
    export_id = order(app, researcher, people.project_id, run=False)
    counts = []
    for _ in range(3):
        tasks.advance_export(app, export_id)
        counts.append(read(app, export_id).scanned)
    assert counts == [1, 2, 3]
    tasks.advance_export(app, export_id)
    assert read(app, export_id).state == "packing"
    tasks.advance_export(app, export_id)
    part = export_path(app.settings, export_id).with_suffix(".zip.part")
    with zipfile.ZipFile(part) as archive:
        assert len(archive.namelist()) == 1
    part.write_bytes(part.read_bytes()[:-30])  # killed while it wrote
    for _ in range(4):
        tasks.advance_export(app, export_id)
    assert read(app, export_id).state == "ready"
    assert len(unpacked(app, researcher, export_id)) == 4 + 4


@on_sqlite
def test_an_image_that_changed_after_it_was_looked_at_does_not_leave(
    app: AppContext, people: People, researcher: Actor, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "BATCH_S", -1.0)
    export_id = order(app, researcher, people.project_id, run=False)
    for _ in range(4):
        tasks.advance_export(app, export_id)
    assert read(app, export_id).state == "packing"
    plant(app, known.images_of_siti[0], ImageComments="abdullah")
    run_jobs(app)
    export = read(app, export_id)
    assert (export.state, export.failure) == ("failed", CHANGED_MESSAGE)


@on_sqlite
def test_what_cannot_be_read_waits_for_a_person(
    app: AppContext, people: People, researcher: Actor, known: Known
) -> None:
    with app.database.writing() as session:
        session.get_one(Image, known.images_of_siti[0]).blob = "0" * 64
    export_id = order(app, researcher, people.project_id, "training")
    (finding,) = findings(app, export_id)
    assert (finding.location, finding.kind) == ("the file", "cannot be read whole")


def test_no_identity_is_written_while_an_export_is_looked_through(
    app: AppContext, people: People, researcher: Actor, known: Known
) -> None:
    plant(app, known.images_of_other[0], ImageComments="abdullah")
    order(app, researcher, people.project_id)
    with app.database.reading() as session:
        names = [table.name for table in Base.metadata.sorted_tables]
        rows = [row for name in names for row in session.execute(text(f'SELECT * FROM "{name}"'))]  # noqa: S608
    stored = str(rows).lower()
    for word in ("binti", "abdullah", "100234", "1980-03-14", b"abdullah".hex()):
        assert word not in stored
    assert not list(app.settings.exports_folder.glob("*"))


# Who may, and what is known of it.


@on_sqlite
def test_who_may_order_and_see_an_export(app: AppContext, people: People, researcher: Actor, known: Known) -> None:
    for role in (Role.PHYSICIAN, Role.TECHNOLOGIST, Role.VIEWER):
        with pytest.raises(NotAllowed):
            order(app, people.actor(app, role), people.project_id)
    with pytest.raises(NotFound):
        order(app, people.outsider(app), people.project_id)
    export_id = order(app, researcher, people.project_id, "metadata")
    with app.database.reading() as session, pytest.raises(NotFound):
        service.get_export_file(session, app.settings, people.outsider(app), export_id)


def test_single_series_and_images_leave_too(app: AppContext, people: People, researcher: Actor, known: Known) -> None:
    with app.database.reading() as session:
        series_id = session.get_one(Image, known.images_of_siti[0]).series_id
    export_id = order(app, researcher, people.project_id, "metadata", Selection("series", (series_id,)))
    assert (read(app, export_id).images, read(app, export_id).patients) == (2, 1)
    image_ids = (known.images_of_siti[1], known.images_of_other[0])
    export_id = order(app, researcher, people.project_id, "metadata", Selection("images", image_ids))
    assert (read(app, export_id).images, read(app, export_id).patients) == (2, 2)


@on_sqlite
def test_an_order_says_what_it_selects(app: AppContext, people: People, researcher: Actor, known: Known) -> None:
    for wrong in (
        Selection("studies"),
        Selection("images"),
        Selection("verdicts"),
        Selection("project", (known.siti,)),
    ):
        with pytest.raises(Invalid):
            order(app, researcher, people.project_id, selection=wrong)
    with pytest.raises(NothingToExport):
        order(app, researcher, people.project_id, selection=Selection("studies", ("0" * 32,)))
    with app.database.writing() as session, pytest.raises(Invalid):
        service.create_export(
            session, app, researcher, project_id=people.project_id, selection=Selection("project"), form="training"
        )


def test_each_step_of_an_export_is_recorded(
    app: AppContext, people: People, researcher: Actor, administrator: Actor, known: Known
) -> None:
    plant(app, known.images_of_siti[0], ImageComments="abdullah")
    export_id = order(app, researcher, people.project_id)
    clear_all(app, administrator, export_id)
    unpacked(app, researcher, export_id)
    with app.database.reading() as session:
        query = select(AuditEntry).where(AuditEntry.object_id == export_id).order_by(AuditEntry.seq)
        entries = list(session.scalars(query))
    assert [entry.action for entry in entries] == [
        "export.create", "export.look", "export.block", "export.clear", "export.ready", "export.download",
    ]  # fmt: skip
    assert "abdullah" not in str([entry.detail for entry in entries])
