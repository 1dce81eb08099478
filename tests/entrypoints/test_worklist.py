# SPDX-License-Identifier: Apache-2.0
"""Modality worklist and performed procedure steps, with DCMTK and pynetdicom as modalities."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import UID, generate_uid
from pynetdicom import AE
from pynetdicom.association import Association
from sqlalchemy import select

from medhub.accounts.actor import COMMAND_LINE
from medhub.accounts.models import Project
from medhub.audit.models import AuditEntry
from medhub.entrypoints.dimse.presentation_contexts import PERFORMED_STEP, WORKLIST
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import Isolation
from medhub.ingest.models import Arrival
from medhub.records import service as records
from medhub.records.models import Image, Patient
from medhub.worklist import service
from medhub.worklist.models import ScheduledStudy
from tests.entrypoints.test_dimse import add_nodes, node
from tests.factories.dicom_nodes import Listener, dcmtk, wait_for
from tests.factories.servers import small_ct, written

STEP = "ScheduledProcedureStepSequence"


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    data = tmp_path_factory.mktemp("worklist") / "data"
    add_nodes(data, node("CT_1", may_read_worklist=True, may_query=False), node("PACS"))
    started = Listener(data).start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def app(listener: Listener, isolation: Isolation) -> Iterator[AppContext]:
    with listener.app(isolation) as opened:
        yield opened


def schedule(app: AppContext, identity: dict[str, str] | None, **values: object) -> ScheduledStudy:
    defaults = {
        "modality": "CT", "station_ae": "", "start_date": "20260301", "start_time": "093000", "accession_number": "",
        "description": "CT thorax", "requesting_physician": "Weber^Anna",
    }  # fmt: skip
    with app.database.writing() as session:
        project_id = session.scalars(select(Project.id)).one()
        patient = records.add_patient(
            session, app.keys, COMMAND_LINE, project_id=project_id, sex="F", birth_year=1970, identity=identity
        )
        return service.schedule_study(session, app.keys, COMMAND_LINE, patient.id, {**defaults, **values})


@pytest.fixture(scope="module")
def scheduled(app: AppContext) -> dict[str, ScheduledStudy]:
    jane = {"name": "Müller^Jane", "hospital_number": "H-1", "birth_date": "1970-01-02"}
    return {
        "jane": schedule(app, jane, accession_number="ACC1", station_ae="CT_1"),
        "yamada": schedule(
            app,
            {"name": "Yamada^Tarou=山田^太郎=やまだ^たろう", "hospital_number": "H-2"},
            modality="MR",
            start_date="20260302",
        ),
        "brackets": schedule(
            app, {"name": "Doe[1]", "hospital_number": "H-3"}, start_date="20260303", station_ae="CT_9"
        ),
        "unknown": schedule(app, None, start_date="20260304", start_time="235959"),
    }


def findscu(listener: Listener, *keys: str) -> list[Dataset]:
    folder = listener.data.parent / "entries"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    options = [part for key in keys for part in ("-k", key)]
    process = dcmtk(
        "findscu",
        "-W",
        "-X",
        "-od",
        folder,
        *options,
        "-aet",
        "CT_1",
        "-aec",
        "MEDHUB",
        "127.0.0.1",
        str(listener.port),
    )
    assert process.returncode == 0, process.stderr
    return [dcmread(path, force=True) for path in sorted(folder.iterdir())]


@contextmanager
def associated(listener: Listener, calling: str = "CT_1") -> Iterator[Association]:
    ae = AE(calling)
    for sop_class in (WORKLIST, PERFORMED_STEP):
        ae.add_requested_context(sop_class)
    association = ae.associate("127.0.0.1", listener.port, ae_title="MEDHUB")
    yield association
    if association.is_established:
        association.release()


def query(
    listener: Listener, keys: dict[str, object], step: dict[str, object] | None = None
) -> tuple[int, list[Dataset]]:
    """The status of the final response, and the entries."""
    dataset = Dataset()
    for keyword, value in keys.items():
        setattr(dataset, keyword, value)
    if step is not None:
        item = Dataset()
        for keyword, value in step.items():
            setattr(item, keyword, value)
        dataset.ScheduledProcedureStepSequence = [item]
    with associated(listener) as association:
        *pending, (status, _) = association.send_c_find(dataset, WORKLIST)
    return status.Status, [entry for _, entry in pending if entry is not None]


def test_findscu_gets_the_identity_the_study_and_the_step(
    listener: Listener, app: AppContext, scheduled: dict[str, ScheduledStudy]
) -> None:
    (entry,) = findscu(
        listener, "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber=ACC1",
        "StudyInstanceUID",
        "RequestedProcedureDescription", "RequestedProcedureID", "AdmissionID",
        *(f"{STEP}[0].{key}" for key in (
            "Modality", "ScheduledStationAETitle", "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime",
            "ScheduledProcedureStepID", "ScheduledProcedureStepStatus",
        )),
    )  # fmt: skip
    study = scheduled["jane"]
    assert (entry.PatientName, entry.PatientID, entry.PatientBirthDate, entry.PatientSex) == (
        "Müller^Jane", "H-1", "19700102", "F",
    )  # fmt: skip
    assert (entry.StudyInstanceUID, entry.RequestedProcedureID) == (study.study_uid, study.step_id)
    assert (entry.RequestedProcedureDescription, entry.AdmissionID) == ("CT thorax", "")
    (step,) = entry.ScheduledProcedureStepSequence
    assert (step.Modality, step.ScheduledStationAETitle, step.ScheduledProcedureStepID) == ("CT", "CT_1", study.step_id)
    assert (step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime) == ("20260301", "093000")
    assert step.ScheduledProcedureStepStatus == "SCHEDULED"
    with app.database.reading() as session:
        reads = session.scalars(select(AuditEntry).where(AuditEntry.action == "identity.read")).all()
        assert {(entry.actor, entry.patient_id, entry.detail["to"]) for entry in reads} == {
            ("DICOM node CT_1", study.patient_id, "CT_1")
        }


@pytest.mark.parametrize(
    ("keys", "step", "expected"),
    [
        ({"PatientName": ""}, None, ["jane", "yamada", "brackets", "unknown"]),
        ({"PatientName": "*"}, {}, ["jane", "yamada", "brackets", "unknown"]),
        ({"PatientName": "MÜLLER*"}, None, ["jane"]),
        ({"PatientName": "müller^jane^^"}, None, ["jane"]),
        ({"PatientName": "*mada*"}, None, ["yamada"]),
        ({"PatientName": "*山田*"}, None, ["yamada"]),
        ({"PatientName": "Doe[1]"}, None, ["brackets"]),
        ({"PatientName": "Doe[1]*"}, None, ["brackets"]),
        ({"PatientID": "H-?"}, None, ["jane", "yamada", "brackets"]),
        ({"PatientID": "H-2"}, None, ["yamada"]),
        ({"PatientID": "h-2"}, None, []),
        ({"AccessionNumber": "ACC*"}, None, ["jane"]),
        ({"PatientName": ""}, {"Modality": "MR"}, ["yamada"]),
        ({"PatientName": ""}, {"Modality": ["MR", "CT"]}, ["jane", "yamada", "brackets", "unknown"]),
        ({"PatientName": ""}, {"ScheduledStationAETitle": "CT_1"}, ["jane", "yamada", "unknown"]),
        ({"PatientName": ""}, {"ScheduledProcedureStepStartDate": "20260302"}, ["yamada"]),
        ({"PatientName": ""}, {"ScheduledProcedureStepStartDate": "20260302-20260303"}, ["yamada", "brackets"]),
        ({"PatientName": ""}, {"ScheduledProcedureStepStartDate": "-20260301"}, ["jane"]),
        ({"PatientName": ""}, {"ScheduledProcedureStepStartDate": "20260304-"}, ["unknown"]),
        ({"PatientName": ""}, {"ScheduledProcedureStepStartTime": "0900-1000"}, ["jane", "yamada", "brackets"]),
        ({"PatientName": ""}, {"ScheduledProcedureStepStartTime": "235959"}, ["unknown"]),
        ({"PatientName": ""}, {"ScheduledProcedureStepStatus": "STARTED"}, []),
        ({"StudyInstanceUID": "9.9.9"}, None, []),
    ],
)
def test_a_worklist_is_matched_by_its_keys(
    listener: Listener,
    scheduled: dict[str, ScheduledStudy],
    keys: dict[str, object],
    step: dict[str, object] | None,
    expected: list[str],
) -> None:
    status, entries = query(listener, {"SpecificCharacterSet": "ISO_IR 192", **keys}, step)
    names = {study.study_uid: name for name, study in scheduled.items()}
    assert status == 0
    assert [names[entry.StudyInstanceUID] for entry in entries if entry.StudyInstanceUID in names] == expected


def test_a_patient_without_an_identity_comes_by_its_code(
    listener: Listener, app: AppContext, scheduled: dict[str, ScheduledStudy]
) -> None:
    with app.database.reading() as session:
        code = session.get_one(Patient, scheduled["unknown"].patient_id).code
    _, (entry,) = query(listener, {"PatientID": code, "PatientName": ""})
    assert (entry.PatientID, entry.PatientName) == (code, code)


@pytest.mark.parametrize(
    ("requested", "patient", "answered"),
    [
        (None, "H-1", "ISO_IR 192"),
        ("ISO_IR 100", "H-1", "ISO_IR 100"),
        ("ISO_IR 100", "H-2", "ISO_IR 192"),  # Latin-1 has no Japanese
        ("ISO_IR 144", "H-1", "ISO_IR 192"),  # nor Cyrillic an umlaut
        ("ISO_IR 192", "H-2", "ISO_IR 192"),
        (None, "H-3", None),
    ],
)
def test_an_entry_is_in_the_character_set_of_the_query_if_that_has_its_characters(
    listener: Listener, scheduled: dict[str, ScheduledStudy], requested: str | None, patient: str, answered: str | None
) -> None:
    keys: dict[str, object] = {"PatientID": patient, "PatientName": ""}
    if requested is not None:
        keys["SpecificCharacterSet"] = requested
    _, (entry,) = query(listener, keys)
    names = {"H-1": "Müller^Jane", "H-2": "Yamada^Tarou=山田^太郎=やまだ^たろう", "H-3": "Doe[1]"}
    assert entry.get("SpecificCharacterSet") == answered
    assert str(entry.PatientName) == names[patient]


@pytest.mark.filterwarnings("ignore:Invalid value for VR DA")  # by the client
def test_a_query_with_an_impossible_date_is_refused(listener: Listener, scheduled: dict[str, ScheduledStudy]) -> None:
    status, entries = query(listener, {"PatientName": ""}, {"ScheduledProcedureStepStartDate": "yesterday"})
    assert (status, entries) == (0xA900, [])


def test_a_node_without_the_permission_gets_no_worklist(
    listener: Listener, scheduled: dict[str, ScheduledStudy]
) -> None:
    with associated(listener, "PACS") as association:
        assert not association.is_established or association.accepted_contexts == []


# Performed procedure steps.


def step_of(study: ScheduledStudy | None, status: str = "IN PROGRESS") -> Dataset:
    dataset = Dataset()
    item = Dataset()
    item.StudyInstanceUID = study.study_uid if study is not None else generate_uid()
    item.AccessionNumber, item.ScheduledProcedureStepID = "", study.step_id if study is not None else ""
    dataset.ScheduledStepAttributesSequence = [item]
    dataset.PatientName, dataset.PatientID = "Müller^Jane", "H-1"
    dataset.PerformedProcedureStepID, dataset.PerformedStationAETitle = "PPS1", "CT_1"
    dataset.PerformedProcedureStepStartDate, dataset.PerformedProcedureStepStartTime = "20260301", "094000"
    dataset.PerformedProcedureStepStatus, dataset.Modality = status, "CT"
    return dataset


def create(listener: Listener, dataset: Dataset, uid: str) -> int:
    with associated(listener) as association:
        status, _ = association.send_n_create(dataset, PERFORMED_STEP, uid)
    return int(status.Status)


def change(listener: Listener, status: str, uid: str) -> Dataset:
    dataset = Dataset()
    if status:
        dataset.PerformedProcedureStepStatus = status
    dataset.PerformedProcedureStepEndDate = "20260301"
    with associated(listener) as association:
        answer, _ = association.send_n_set(dataset, PERFORMED_STEP, uid)
    return answer


def state_of(app: AppContext, study: ScheduledStudy) -> str:
    with app.database.reading() as session:
        return session.get_one(ScheduledStudy, study.id).state


@pytest.mark.parametrize(("end", "state"), [("COMPLETED", "completed"), ("DISCONTINUED", "discontinued")])
def test_a_modality_brings_a_scheduled_study_forward(listener: Listener, app: AppContext, end: str, state: str) -> None:
    study = schedule(app, {"name": f"Step^{end}", "hospital_number": f"H-{end}"}, start_date="20270101")
    uid, second = generate_uid(), generate_uid()
    dates: dict[str, Any] = {"ScheduledProcedureStepStartDate": "20270101", "ScheduledProcedureStepStatus": ""}
    assert create(listener, step_of(study), uid) == 0
    assert state_of(app, study) == "in-progress"
    (entry,) = query(listener, {"PatientID": f"H-{end}"}, dates)[1]
    assert entry.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus == "STARTED"
    assert create(listener, step_of(study), uid) == 0x0111
    assert create(listener, step_of(study), second) == 0
    assert change(listener, "", uid).Status == 0
    assert change(listener, end, uid).Status == 0
    assert state_of(app, study) == "in-progress"  # the second step is not at its end
    assert change(listener, end, second).Status == 0
    assert state_of(app, study) == state
    assert query(listener, {"PatientID": f"H-{end}"}, dates) == (0, [])
    ended = change(listener, "IN PROGRESS", uid)
    assert (ended.Status, ended.ErrorID) == (0x0110, 0xA710)
    assert state_of(app, study) == state


def test_steps_that_cannot_be_are_refused(
    listener: Listener, scheduled: dict[str, ScheduledStudy], app: AppContext
) -> None:
    study, uid = scheduled["jane"], generate_uid()
    assert create(listener, step_of(study, "COMPLETED"), uid) == 0x0106
    without = step_of(study)
    del without.PerformedProcedureStepStatus
    assert create(listener, without, uid) == 0x0120
    assert change(listener, "COMPLETED", uid).Status == 0x0112
    assert state_of(app, study) == "scheduled"
    assert create(listener, step_of(None), uid) == 0  # an examination that was not scheduled
    assert change(listener, "FINISHED", uid).Status == 0x0106
    assert change(listener, "COMPLETED", uid).Status == 0


def test_images_that_a_modality_labels_from_the_worklist_join_the_patient(
    listener: Listener, app: AppContext, scheduled: dict[str, ScheduledStudy], tmp_path: Path
) -> None:
    for number, (name, extra) in enumerate((("jane", {}), ("unknown", {}), ("jane", {"PatientName": "Smith^John"}))):
        _, (entry,) = query(
            listener, {"StudyInstanceUID": scheduled[name].study_uid, "PatientName": "", "PatientID": ""}
        )
        dataset = small_ct(number + 1)
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.PatientName, dataset.PatientID = entry.PatientName, entry.PatientID
        dataset.PatientBirthDate, dataset.PatientSex = "", ""
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = entry.StudyInstanceUID, f"1.2.{number}"
        dataset.SOPInstanceUID = f"1.2.{number}.1"
        dataset.file_meta.MediaStorageSOPInstanceUID = UID(dataset.SOPInstanceUID)
        for keyword, value in extra.items():
            setattr(dataset, keyword, value)
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(written(dataset))
        sent = dcmtk("storescu", "-aet", "CT_1", "-aec", "MEDHUB", "127.0.0.1", str(listener.port), path)
        assert sent.returncode == 0, sent.stderr

    def arrivals() -> list[Arrival]:
        with app.database.reading() as session:
            return list(session.scalars(select(Arrival).order_by(Arrival.created_at)))

    wait_for(lambda: len(arrivals()) == 3, "the import")
    assert [(arrival.outcome, arrival.code) for arrival in arrivals()] == [
        ("accepted", None), ("accepted", None), ("quarantined", "conflicting-patient"),
    ]  # fmt: skip
    with app.database.reading() as session:
        owners = set(session.scalars(select(Image.patient_id)))
    assert owners == {scheduled["jane"].patient_id, scheduled["unknown"].patient_id}
