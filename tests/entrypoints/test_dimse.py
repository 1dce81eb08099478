# SPDX-License-Identifier: Apache-2.0
"""DICOM's network services, with DCMTK as real clients and an Orthanc as a real peer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pynetdicom import AE
from sqlalchemy import func, select

from medhub.accounts import service as accounts
from medhub.accounts.actor import COMMAND_LINE
from medhub.audit.models import AuditEntry
from medhub.audit.service import verify_chain
from medhub.entrypoints import cli_dimse
from medhub.entrypoints.bootstrap import build
from medhub.entrypoints.dimse.presentation_contexts import STORAGE_CLASSES, VERIFICATION
from medhub.entrypoints.dimse.refused_nodes import MOST_ADDRESSES, RefusalRecorder
from medhub.entrypoints.dimse.status import NOT_AUTHORIZED
from medhub.export.transfer import send_objects, stored_objects
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import Isolation
from medhub.foundation.settings import Settings
from medhub.ingest.models import Arrival
from medhub.nodes import dicom_client
from medhub.nodes import service as nodes
from medhub.nodes.models import DicomNode
from medhub.records.models import Image, Patient, Study
from tests.factories.cts import ct
from tests.factories.dicom_nodes import Listener, Orthanc, dcmtk, free_port, wait_for

# Images in many transfer syntaxes, and objects without pixels.
PICTURES = [
    "CT_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "liver_1frame.dcm", "ExplVR_BigEnd.dcm", "image_dfl.dcm",
    "SC_rgb_small_odd_jpeg.dcm", "JPEGLSNearLossless_16.dcm",
]  # fmt: skip
OTHERS = ["rtplan.dcm", "rtdose_1frame.dcm", "waveform_ecg.dcm", "reportsi.dcm", "test-SR.dcm"]

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"


def node(title: str, **values: object) -> dict[str, object]:
    """The attributes of a DICOM node, with defaults for those that a test does not set."""
    defaults = {"called_ae": "MEDHUB", "host": "", "port": 0, "only_from_host": False, "tls": False}
    return {"ae_title": title, **defaults, "may_store": True, "may_query": True, **values}


def add_nodes(data: Path, *descriptions: dict[str, object]) -> str:
    """Create an installation with a project and its DICOM nodes; returns the id of the project."""
    app = build(Settings(data=data))
    try:
        with app.database.writing() as session:
            project_id = accounts.add_project(session, "Radiology").id
            for description in descriptions:
                nodes.add_node(session, COMMAND_LINE, project_id, description)
        return project_id
    finally:
        app.close()


def count(app: AppContext, table: type = Image) -> int:
    with app.database.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def outcomes(app: AppContext) -> list[str]:
    with app.database.reading() as session:
        return sorted(session.scalars(select(Arrival.outcome)))


@pytest.fixture(scope="module")
def orthanc_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    """A listener with nodes that may send, query, or do both, and one that must call from another address."""
    data = tmp_path_factory.mktemp("dimse") / "data"
    add_nodes(
        data,
        node("BOTH"),
        node("SENDER", may_query=False),
        node("ASKER", may_store=False),
        node("ELSEWHERE", host="192.0.2.7", port=104, only_from_host=True),
        node("OFF", host="127.0.0.1", port=1),
    )
    started = Listener(data).start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def app(listener: Listener, isolation: Isolation) -> Iterator[AppContext]:
    with listener.app(isolation) as opened:
        yield opened


def to(listener: Listener, calling: str = "BOTH", called: str = "MEDHUB") -> tuple[str, ...]:
    return ("-aet", calling, "-aec", called, "127.0.0.1", str(listener.port))


def find(listener: Listener, *keys: str, model: str = "-S", calling: str = "BOTH") -> list[Dataset]:
    """The matches that findscu returns."""
    folder = listener.data.parent / "found"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    options = [part for key in keys for part in ("-k", key)]
    process = dcmtk("findscu", model, "-X", "-od", folder, *options, *to(listener, calling))
    assert process.returncode == 0, process.stderr
    return [dcmread(path, force=True) for path in sorted(folder.iterdir())]


# Access of DICOM nodes.


def test_a_node_that_is_known_is_answered(listener: Listener) -> None:
    assert dcmtk("echoscu", *to(listener)).returncode == 0


@pytest.mark.parametrize(
    ("calling", "called", "reason"),
    [
        ("NOBODY", "MEDHUB", "Calling AE Title Not Recognized"),
        ("BOTH", "ANY-SCP", "Called AE Title Not Recognized"),
        ("ELSEWHERE", "MEDHUB", "Calling AE Title Not Recognized"),
    ],
    ids=["calling", "called", "address"],
)
def test_a_node_that_is_not_known_is_refused(listener: Listener, calling: str, called: str, reason: str) -> None:
    process = dcmtk("echoscu", *to(listener, calling, called))
    assert process.returncode != 0
    assert reason in process.stderr


def test_a_removed_or_changed_node_is_refused_at_its_next_message(tmp_path: Path, isolation: Isolation) -> None:
    data = tmp_path / "data"
    add_nodes(data, node("LEAVING"))
    started = Listener(data).start()
    try:
        with started.app(isolation) as app:
            check_each_message(started.port, app)
    finally:
        started.stop()


def check_each_message(port: int, app: AppContext) -> None:
    instance, query = dcmread(BytesIO(ct())), Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", "1.2.3"
    ae = AE("LEAVING")
    ae.add_requested_context(instance.SOPClassUID, instance.file_meta.TransferSyntaxUID)
    for sop_class in (VERIFICATION, STUDY_ROOT_FIND):
        ae.add_requested_context(sop_class)
    association = ae.associate("127.0.0.1", port, ae_title="MEDHUB")

    def statuses() -> list[int]:
        answers = association.send_c_find(query, STUDY_ROOT_FIND)
        *_, find_status = [status.Status for status, _ in answers]
        return [association.send_c_echo().Status, find_status, association.send_c_store(instance).Status]

    with app.database.reading() as session:
        node_id = session.scalars(select(DicomNode.id)).one()

    def change(**values: object) -> None:
        with app.database.writing() as session:
            nodes.change_node(session, COMMAND_LINE, node_id, values)

    assert statuses() == [0, 0, 0]
    change(host="192.0.2.7", port=104, only_from_host=True)
    assert statuses() == [NOT_AUTHORIZED] * 3
    change(only_from_host=False, may_store=False)
    assert statuses() == [0, 0, NOT_AUTHORIZED]
    with app.database.writing() as session:
        nodes.remove_node(session, COMMAND_LINE, node_id)
    assert statuses() == [NOT_AUTHORIZED] * 3
    association.release()
    with app.database.reading() as session:
        refused = session.scalars(select(AuditEntry).where(AuditEntry.action == "peer.connect")).all()
    # The first is recorded at once, the others are counted for the next entry.
    assert [(entry.outcome, entry.origin, entry.detail["count"]) for entry in refused] == [("refused", "127.0.0.1", 1)]


@pytest.mark.parametrize("addresses", [1, 400])
def test_a_flood_of_refusals_is_counted(tmp_path: Path, addresses: int) -> None:
    app = build(Settings(data=tmp_path / "data"))
    try:
        refusals = RefusalRecorder(app, interval_s=3600)
        for number in range(1000):
            refusals.add(f"192.0.2.{number % addresses}", "calling")
        written = refusals.origins()
        for origin in written:
            refusals.write_counted(origin)
        with app.database.reading() as session:
            refused = session.scalars(select(AuditEntry).where(AuditEntry.action == "peer.connect")).all()
        assert len(refused) <= 2 * (MOST_ADDRESSES + 1)
        assert sum(entry.detail["count"] for entry in refused) == 1000
    finally:
        app.close()


def test_a_node_does_only_what_it_may(listener: Listener, tmp_path: Path) -> None:
    (tmp_path / "1.dcm").write_bytes(ct())
    storescu = dcmtk("storescu", *to(listener, "ASKER"), tmp_path / "1.dcm")
    assert storescu.returncode != 0
    findscu = dcmtk("findscu", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID", *to(listener, "SENDER"))
    assert "No Acceptable Presentation Contexts" in findscu.stderr


# Receiving and answering.


@pytest.fixture(scope="module")
def kinds(listener: Listener, app: AppContext) -> int:
    """Send objects of many SOP classes and transfer syntaxes; returns how many were acknowledged."""
    paths = [get_testdata_file(name, download=False) for name in PICTURES + OTHERS]
    names = [str(path) for path in paths if path is not None]
    assert len(names) == len(PICTURES + OTHERS)
    # dcmsend proposes each class in the syntax in which the file lies, and leaves it so.
    process = dcmtk("dcmsend", "-v", "--decompress-never", *to(listener, "SENDER"), *names)
    assert process.returncode == 0, process.stderr
    assert f"with status SUCCESS  : {len(names)}" in process.stdout + process.stderr
    wait_for(lambda: len(outcomes(app)) >= len(names), "the objects of many kinds")
    return len(names)


def test_objects_of_every_kind_are_taken_and_none_is_lost(kinds: int, app: AppContext, listener: Listener) -> None:
    assert len(outcomes(app)) == kinds
    with app.database.reading() as session:
        arrivals = list(session.scalars(select(Arrival)))
        transfer_syntaxes = set(session.scalars(select(Image.transfer_syntax_uid)))
        images = {image.id: image.sop_class_uid for image in session.scalars(select(Image))}
    assert {(arrival.route, arrival.peer) for arrival in arrivals} == {("dimse", "SENDER")}
    refused = [(arrival.code, arrival.reason) for arrival in arrivals if arrival.outcome != "accepted"]
    assert len(images) >= len(PICTURES), refused
    assert len(images) + len(refused) == kinds
    assert all(code and reason for code, reason in refused)
    assert {"1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.91"} <= transfer_syntaxes
    wait_for(lambda: not list(listener.data.glob("intake/*/*.journal")), "an empty journal")


@pytest.mark.parametrize(
    "sop_class",
    [
        "1.2.840.10008.5.1.4.1.1.3",
        "1.2.840.10008.5.1.4.1.1.5",
        "1.2.840.10008.5.1.4.1.1.6",
        "1.2.840.10008.5.1.4.1.1.12.3",
        "1.2.840.10008.5.1.4.1.1.77.1",
        "1.2.840.10008.5.1.1.29",
    ],
)
def test_objects_of_retired_classes_are_taken(listener: Listener, app: AppContext, sop_class: str) -> None:
    number = sop_class.replace(".", "")[-6:]
    uids = {"StudyInstanceUID": f"1.2.{number}", "SeriesInstanceUID": f"1.2.{number}.1"}
    image = ct(
        SOPClassUID=sop_class,
        SOPInstanceUID=f"1.2.{number}.1.1",
        Modality="OT",
        PatientID=f"R-{number}",
        PatientName=f"OLD^{number}",
        **uids,
    )
    path = listener.data.parent / f"{number}.dcm"
    path.write_bytes(image)
    before = count(app, Arrival)
    sent = dcmtk("storescu", "-R", *to(listener), path)
    assert sent.returncode == 0, sent.stderr
    wait_for(lambda: count(app, Arrival) == before + 1, "the arrival")


def test_the_storage_classes_are_those_of_the_standard_with_the_retired_ones() -> None:
    retired = (
        *("3", "5", "6", "8", "9", "9.1", "10", "11", "12.3", "77.1", "77.2", "88.1", "88.2", "88.3", "88.4", "129"),
    )
    assert {f"1.2.840.10008.5.1.4.1.1.{number}" for number in retired} <= STORAGE_CLASSES
    others = {"1.2.840.10008.5.1.1.27", "1.2.840.10008.5.1.1.29", "1.2.840.10008.5.1.1.30", "1.2.840.10008.5.1.4.34.1"}
    assert others <= STORAGE_CLASSES
    # Query, commitment, worklist, print, and the directory of a medium.
    for number in ("1.20.1", "1.20.2", "1.3.10", "5.1.4.1.2.3.1", "5.1.1.26", "5.1.4.32.1", "3.1.2.1.1"):
        assert f"1.2.840.10008.{number}" not in STORAGE_CLASSES


def test_patients_studies_series_and_images_are_found_in_both_models(listener: Listener, kinds: int) -> None:
    studies = find(listener, "QueryRetrieveLevel=STUDY", "StudyInstanceUID", "ModalitiesInStudy=CT", "PatientName")
    assert studies
    assert all("CT" in study.ModalitiesInStudy for study in studies)
    assert {study.RetrieveAETitle for study in studies} == {"MEDHUB"}
    study_uid = studies[0].StudyInstanceUID
    patient_key = f"PatientID={studies[0].PatientName}"
    (patient,) = find(listener, "QueryRetrieveLevel=PATIENT", patient_key, "NumberOfPatientRelatedStudies", model="-P")
    assert (patient.PatientID, patient.NumberOfPatientRelatedStudies) == (studies[0].PatientName, 1)
    (series,) = find(
        listener, "QueryRetrieveLevel=SERIES", f"StudyInstanceUID={study_uid}", "SeriesInstanceUID", "Modality"
    )
    series_key = f"SeriesInstanceUID={series.SeriesInstanceUID}"
    (image,) = find(
        listener, "QueryRetrieveLevel=IMAGE", series_key, "SOPInstanceUID", "Rows", "RequestAttributesSequence"
    )
    assert image.Rows == 128
    assert find(listener, "QueryRetrieveLevel=STUDY", "PatientID=nobody at all") == []


@pytest.mark.parametrize(
    "keys",
    [["PatientID"], ["QueryRetrieveLevel=PATIENT", "PatientID"], ["QueryRetrieveLevel=STUDY", "StudyDate=yesterday"]],
    ids=["no-level", "level-of-the-other-model", "no-date"],
)
def test_a_query_that_is_none_is_refused(listener: Listener, keys: list[str]) -> None:
    options = [part for key in keys for part in ("-k", key)]
    process = dcmtk("findscu", "-v", "-S", *options, *to(listener))
    assert "Received Final Find Response" in process.stderr + process.stdout
    assert "Success" not in (process.stderr + process.stdout).split("Received Final Find Response")[1].splitlines()[0]


def test_what_is_asked_for_comes_by_c_get_as_it_is_stored(
    listener: Listener, kinds: int, app: AppContext, tmp_path: Path
) -> None:
    with app.database.reading() as session:
        image = session.scalars(select(Image).where(Image.transfer_syntax_uid == "1.2.840.10008.1.2.5")).first()
        assert image is not None
        study = session.get_one(Study, image.study_id)
    key = f"StudyInstanceUID={study.study_uid}"
    # In the stored transfer syntax where the caller accepts it, otherwise decoded.
    for option, syntax in (("+xr", "1.2.840.10008.1.2.5"), ("+xi", "1.2.840.10008.1.2")):
        folder = tmp_path / option
        folder.mkdir()
        process = dcmtk(
            "getscu", "-S", option, "-od", folder, "-k", "QueryRetrieveLevel=STUDY", "-k", key, *to(listener)
        )
        assert process.returncode == 0, process.stderr
        (path,) = folder.iterdir()
        retrieved = dcmread(path)
        assert retrieved.SOPInstanceUID == image.sop_instance_uid
        if option == "+xr":
            assert retrieved.file_meta.TransferSyntaxUID == syntax
        stored = dcmread(app.blobs.path(image.blob))
        assert (retrieved.pixel_array == stored.pixel_array).all()
    with app.database.reading() as session:
        entries = session.scalars(select(AuditEntry).where(AuditEntry.action == "study.send")).all()
        assert {(entry.actor, entry.object_id, entry.detail["to"]) for entry in entries} == {
            ("DICOM node BOTH", study.id, "BOTH")
        }
        assert verify_chain(session).broken_at is None


def test_nothing_is_sent_that_was_not_named(listener: Listener, kinds: int, tmp_path: Path) -> None:
    for keys in (["PatientID=*"], ["PatientID="], ["PatientID=no such patient"]):
        options = [part for key in ["QueryRetrieveLevel=PATIENT", *keys] for part in ("-k", key)]
        dcmtk("getscu", "-P", "-od", tmp_path, *options, *to(listener))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        ("-S", ["QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.3.4.5"]),
        ("-S", ["QueryRetrieveLevel=SERIES", "StudyInstanceUID=1.2.3.4.5", "SeriesInstanceUID=1.2.3.4.6"]),
        ("-S", ["QueryRetrieveLevel=IMAGE", "SOPInstanceUID=1.2.3.4.7"]),
        ("-P", ["QueryRetrieveLevel=PATIENT", "PatientID=nobody"]),
    ],
)
def test_a_retrieval_that_matches_nothing_succeeds_with_no_objects(
    listener: Listener, model: str, keys: list[str], tmp_path: Path
) -> None:
    wanted = [part for key in keys for part in ("-k", key)]
    moved = dcmtk("movescu", "-d", model, "--move", "OFF", *wanted, *to(listener))
    fetched = dcmtk("getscu", "-d", model, "-od", tmp_path, *wanted, *to(listener))
    for ended in (moved, fetched):
        text = ended.stdout + ended.stderr
        assert ended.returncode == 0, text
        assert "Abort" not in text
        assert "0x0000: Success" in text
    assert list(tmp_path.iterdir()) == []


def test_nothing_moves_to_a_node_that_the_project_does_not_know(listener: Listener, kinds: int) -> None:
    keys = ("-k", "QueryRetrieveLevel=PATIENT", "-k", "PatientID=P-000000")
    process = dcmtk("movescu", "-v", "-P", "-aem", "NOWHERE", *keys, *to(listener))
    assert "MoveDestinationUnknown" in process.stderr + process.stdout


# Orthanc as sender and as receiver.


@pytest.fixture(scope="module")
def orthanc(listener: Listener, app: AppContext, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    folder = tmp_path_factory.mktemp("orthanc") / "peer"
    started = Orthanc(folder, {"medhub": ("MEDHUB", listener.port), "tester": ("TESTER", free_port())})
    with app.database.writing() as session:
        project = session.scalars(select(Patient.project_id)).first() or accounts.find_project(session, "Radiology").id
        nodes.add_node(session, COMMAND_LINE, project, node("ORTHANC", host="127.0.0.1", port=started.port))
    yield started
    started.stop()


def test_orthanc_sends_finds_and_fetches(listener: Listener, app: AppContext, kinds: int, orthanc: Orthanc) -> None:
    new_instance = ct(
        PatientID="ORTHANC-1", StudyInstanceUID="1.2.3.77", SOPInstanceUID="1.2.3.77.1", PatientName="ROE"
    )
    orthanc_id = orthanc.post("/instances", new_instance)["ID"]
    images_before = count(app)
    assert orthanc.post("/modalities/medhub/echo", {}) == {}
    assert orthanc.post("/modalities/medhub/store", [orthanc_id])["FailedInstancesCount"] == 0
    wait_for(lambda: count(app) == images_before + 1, "what Orthanc sent")
    with app.database.reading() as session:
        arrival = session.scalars(select(Arrival).order_by(Arrival.created_at.desc())).first()
        assert arrival is not None
        image = session.get_one(Image, arrival.image_id)
        study_uid = session.get_one(Study, image.study_id).study_uid
    assert arrival.peer == "ORTHANC"
    query = orthanc.post("/modalities/medhub/query", {"Level": "Study", "Query": {"StudyInstanceUID": study_uid}})
    assert len(orthanc.get(f"/queries/{query['ID']}/answers")) == 1
    orthanc.post(f"/queries/{query['ID']}/retrieve", {"TargetAet": "ORTHANC", "Synchronous": True})
    instances = orthanc.post(
        "/tools/find", {"Level": "Instance", "Query": {"StudyInstanceUID": study_uid}, "Expand": True}
    )
    assert [instance["MainDicomTags"]["SOPInstanceUID"] for instance in instances] == [image.sop_instance_uid]


def test_medhub_sends_to_orthanc_which_sends_back_when_asked(
    listener: Listener, app: AppContext, kinds: int, orthanc: Orthanc
) -> None:
    with app.database.reading() as session:
        project_id = session.scalars(select(Patient.project_id)).first()
        codes = list(session.scalars(select(Patient.code)))
        assert project_id is not None
        destination = nodes.find_destination(session, project_id, "ORTHANC")
        objects = stored_objects(session, COMMAND_LINE, project_id, patients=codes, studies=[], to="ORTHANC")
    progress: list[int] = []
    transfer = send_objects(app, destination, objects, progress.append)
    assert (transfer.sent, transfer.failed, progress[-1]) == (len(objects), [], len(objects))
    instances = orthanc.post("/tools/find", {"Level": "Instance", "Query": {}, "Expand": True})
    uids = {instance["MainDicomTags"]["SOPInstanceUID"] for instance in instances}
    assert {instance.sop_instance_uid for instance in objects} <= uids
    # Orthanc moves a series to Medhub on request, as a PACS does for a workstation: the same objects come back.
    first = objects[0]
    (orthanc_series_id,) = {
        instance["ParentSeries"]
        for instance in instances
        if instance["MainDicomTags"]["SOPInstanceUID"] == first.sop_instance_uid
    }
    series_uid = orthanc.get(f"/series/{orthanc_series_id}")["MainDicomTags"]["SeriesInstanceUID"]
    arrivals_before = len(outcomes(app))
    keys = ("-k", "QueryRetrieveLevel=SERIES", "-k", f"SeriesInstanceUID={series_uid}")
    study_uid = orthanc.get(f"/series/{orthanc_series_id}/study")["MainDicomTags"]["StudyInstanceUID"]
    process = dcmtk(
        "movescu", "-S", "-aem", "MEDHUB", *keys, "-k", f"StudyInstanceUID={study_uid}",
        "-aet", "TESTER", "-aec", "ORTHANC", "127.0.0.1", str(orthanc.port),
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    wait_for(lambda: len(outcomes(app)) > arrivals_before, "what Orthanc was asked to send")


def test_a_patient_is_sent_by_the_command_line(
    listener: Listener, app: AppContext, orthanc: Orthanc, kinds: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with app.database.reading() as session:
        code = session.scalars(select(Patient.code).order_by(Patient.created_at)).first()
        (image,) = session.scalars(
            select(Image).join(Patient, Patient.id == Image.patient_id).where(Patient.code == code)
        )
    cli_dimse.send(project="Radiology", to="ORTHANC", patient=[str(code)], data=listener.data, as_json=True)
    assert capfd.readouterr().out.strip() == '{"sent": 1, "warned": 0, "failed": 0}'
    instances = orthanc.post("/tools/find", {"Level": "Instance", "Query": {"SOPInstanceUID": image.sop_instance_uid}})
    assert len(instances) == 1


def test_a_node_that_is_not_there_is_said_in_a_sentence(app: AppContext) -> None:
    unreachable = nodes.DicomNodeInfo("p", "GONE", "MEDHUB", "127.0.0.1", free_port(), False, True, True)
    with pytest.raises(dicom_client.NodeSilent, match="does not answer"):
        dicom_client.echo(app.settings, unreachable)


# TLS.


def certificate(folder: Path, name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None):  # type: ignore[no-untyped-def]
    """A certificate and its key as PEM files, signed by an issuer or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    )
    signed = builder.sign(issuer[1] if issuer else key, hashes.SHA256())
    (folder / f"{name}.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return signed, key


def test_with_a_certificate_tls_alone_is_spoken_and_nodes_show_theirs(tmp_path: Path, isolation: Isolation) -> None:
    authority = certificate(tmp_path, "authority")
    for name in ("medhub", "node"):
        certificate(tmp_path, name, authority)
    certificate(tmp_path, "stranger")
    add_nodes(tmp_path / "data", node("BOTH"))
    files = {
        "dicom_tls_certificate": str(tmp_path / "medhub.crt"),
        "dicom_tls_key": str(tmp_path / "medhub.key"),
        "dicom_tls_ca": str(tmp_path / "authority.crt"),
    }
    listener = Listener(tmp_path / "data", **files, dicom_tls_client_required="true").start()
    try:
        (tmp_path / "1.dcm").write_bytes(ct())

        def send(name: str) -> int:
            tls = ("+tls", tmp_path / f"{name}.key", tmp_path / f"{name}.crt", "+cf", tmp_path / "authority.crt")
            return dcmtk("storescu", *tls, *to(listener), tmp_path / "1.dcm").returncode

        assert send("node") == 0
        assert send("stranger") != 0
        assert dcmtk("echoscu", *to(listener)).returncode != 0
        assert dcmtk("echoscu", "-ic", "+tla", *to(listener)).returncode != 0  # no certificate of its own
        with listener.app(isolation) as app:
            wait_for(lambda: count(app) == 1, "what came by TLS")
            # As the caller, Medhub checks the certificate of the other node and presents its own.
            settings = app.settings.model_copy(update={name: Path(path) for name, path in files.items()})
            medhub = nodes.DicomNodeInfo("p", "MEDHUB", "BOTH", "localhost", listener.port, True, True, True)
            dicom_client.echo(settings, medhub)
            other_authority = settings.model_copy(update={"dicom_tls_ca": tmp_path / "stranger.crt"})
            with pytest.raises(dicom_client.NodeSilent):
                dicom_client.echo(other_authority, medhub)
    finally:
        listener.stop()
