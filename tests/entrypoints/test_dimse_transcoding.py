# SPDX-License-Identifier: Apache-2.0
"""C-MOVE and C-GET to nodes that do not accept the transfer syntax in which an object is stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    CTImageStorage,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom import AE, StoragePresentationContexts, build_context, build_role, evt
from sqlalchemy import select

from medhub.accounts.actor import COMMAND_LINE
from medhub.accounts.models import Project
from medhub.entrypoints.dimse.presentation_contexts import STUDY_ROOT
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import Isolation
from medhub.ingest.context import IngestSource
from medhub.ingest.ingest_file import ReceivedFile
from medhub.ingest.pipeline import ingest_files
from medhub.nodes.dicom_client import InstanceToSend, contexts_for
from medhub.records.models import Image, Study
from tests.entrypoints.test_dimse import add_nodes, node
from tests.factories.dicom_nodes import Listener, free_port
from tests.factories.servers import small_ct, written

COMPRESSED = (JPEGLSLossless, JPEG2000Lossless, RLELossless, JPEGLosslessSV1, HTJ2KLossless)


@pytest.fixture(scope="module")
def destination_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory, destination_port: int) -> Iterator[Listener]:
    data = tmp_path_factory.mktemp("transcoding") / "data"
    add_nodes(data, node("BOTH"), node("PICKY", host="127.0.0.1", port=destination_port))
    started = Listener(data).start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def app(listener: Listener, isolation: Isolation) -> Iterator[AppContext]:
    with listener.app(isolation) as opened:
        yield opened


def image_of_ct(number: int) -> Dataset:
    dataset = small_ct(number)
    dataset.Rows, dataset.Columns = 32, 48
    dataset.PixelData = (np.arange(32 * 48) * 3 % 4096).astype("<u2").tobytes()
    return dataset


@pytest.fixture(scope="module")
def studies(app: AppContext) -> dict[str, tuple[str, Dataset]]:
    """Studies by name: their UID and their only object as it is stored."""
    with app.database.reading() as session:
        project_id = session.scalars(select(Project.id)).one()
    report = dcmread(str(get_testdata_file("test-SR.dcm")))
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = BasicTextSRStorage
    sources = {"plain": image_of_ct(1), "JPEG-LS": image_of_ct(2), "report": report}
    sources["JPEG-LS"].compress(JPEGLSLossless, generate_instance_uid=False)
    stored: dict[str, tuple[str, Dataset]] = {}
    for number, (name, dataset) in enumerate(sources.items()):
        dataset.PatientID, dataset.PatientName = f"T{number}", f"TRANSCODED^{number}"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"1.2.61.{number}", f"1.2.61.{number}.1"
        (result,) = ingest_files(
            app, COMMAND_LINE, IngestSource(project_id, "command"), [ReceivedFile.of(written(dataset))]
        )
        assert result.outcome == "accepted", result
        with app.database.reading() as session:
            image = session.get_one(Image, result.image_id)
            uid = session.get_one(Study, image.study_id).study_uid
        stored[name] = uid, dcmread(app.blobs.path(image.blob))
    return stored


@contextmanager
def destination(port: int, contexts: Sequence[tuple[str, list[UID]]]) -> Iterator[list[Dataset]]:
    """A node that accepts some transfer syntaxes of some classes; gives what it received."""
    received: list[Dataset] = []
    ae = AE("PICKY")
    for sop_class, syntaxes in contexts:
        ae.add_supported_context(sop_class, syntaxes)

    def store(event: evt.Event) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        received.append(dataset)
        return 0

    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    assert server is not None
    try:
        yield received
    finally:
        server.shutdown()


def query_of(study_uid: str) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", study_uid
    return query


def move(listener: Listener, study_uid: str) -> Dataset:
    """The final response to a C-MOVE of a study."""
    ae = AE("BOTH")
    ae.add_requested_context(STUDY_ROOT[1])
    association = ae.associate("127.0.0.1", listener.port, ae_title="MEDHUB")
    assert association.is_established
    *_, (status, _) = association.send_c_move(query_of(study_uid), "PICKY", STUDY_ROOT[1])
    association.release()
    return status


def get(listener: Listener, study_uid: str, sop_class: str, syntaxes: Sequence[UID]) -> tuple[Dataset, list[Dataset]]:
    """The final response to a C-GET of a study, and the received objects."""
    received: list[Dataset] = []

    def store(event: evt.Event) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        received.append(dataset)
        return 0

    ae = AE("BOTH")
    ae.add_requested_context(STUDY_ROOT[2])
    ae.requested_contexts = [*ae.requested_contexts, build_context(sop_class, list(syntaxes))]
    association = ae.associate(
        "127.0.0.1",
        listener.port,
        ae_title="MEDHUB",
        ext_neg=[build_role(sop_class, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, store)],
    )
    assert association.is_established
    *_, (status, _) = association.send_c_get(query_of(study_uid), STUDY_ROOT[2])
    association.release()
    return status, received


def same_values(received: Dataset, stored: Dataset) -> bool:
    return np.array_equal(received.pixel_array, stored.pixel_array) and received.BitsStored == stored.BitsStored


@pytest.mark.parametrize("syntax", COMPRESSED)
@pytest.mark.parametrize("name", ["plain", "JPEG-LS"])
def test_an_image_moves_to_a_node_that_accepts_only_another_compressed_syntax(
    listener: Listener, studies: dict[str, tuple[str, Dataset]], destination_port: int, name: str, syntax: UID
) -> None:
    study_uid, stored = studies[name]
    with destination(destination_port, [(CTImageStorage, [syntax])]) as received:
        status = move(listener, study_uid)
    assert (status.Status, status.NumberOfCompletedSuboperations, status.NumberOfFailedSuboperations) == (0, 1, 0)
    (dataset,) = received
    assert dataset.file_meta.TransferSyntaxUID == syntax
    assert dataset.SOPInstanceUID == stored.SOPInstanceUID
    assert same_values(dataset, stored)


def test_a_stored_syntax_comes_before_a_plain_one_and_a_plain_one_before_another_compressed_one(
    listener: Listener, studies: dict[str, tuple[str, Dataset]], destination_port: int
) -> None:
    for name, syntaxes, expected in (
        ("JPEG-LS", [ExplicitVRLittleEndian, RLELossless, JPEGLSLossless], JPEGLSLossless),
        ("JPEG-LS", [RLELossless, ExplicitVRLittleEndian], ExplicitVRLittleEndian),
        ("plain", [JPEGLSLossless, ExplicitVRLittleEndian], ExplicitVRLittleEndian),
    ):
        study_uid, stored = studies[name]
        with destination(destination_port, [(CTImageStorage, syntaxes)]) as received:
            assert move(listener, study_uid).Status == 0
        assert [dataset.file_meta.TransferSyntaxUID for dataset in received] == [expected]
        assert same_values(received[0], stored)


def test_what_cannot_be_written_in_an_accepted_syntax_is_counted_as_failed(
    listener: Listener, studies: dict[str, tuple[str, Dataset]], destination_port: int
) -> None:
    for name, sop_class, syntax in (
        ("plain", CTImageStorage, JPEGBaseline8Bit),
        ("report", BasicTextSRStorage, JPEGLSLossless),
    ):
        with destination(destination_port, [(sop_class, [syntax])]) as received:
            status = move(listener, studies[name][0])
        assert (status.Status, status.NumberOfFailedSuboperations, received) == (0xA702, 1, [])


@pytest.mark.parametrize(
    ("name", "proposed", "expected"),
    [
        ("plain", [JPEGLSLossless], JPEGLSLossless),
        ("plain", [HTJ2KLossless], HTJ2KLossless),
        ("JPEG-LS", [RLELossless, JPEGLSLossless], RLELossless),
        # A lossy syntax is proposed first: no object that is stored otherwise could be sent in it.
        ("plain", [JPEGBaseline8Bit, ExplicitVRLittleEndian], ExplicitVRLittleEndian),
    ],
)
def test_an_image_comes_by_c_get_in_the_syntax_that_was_proposed(
    listener: Listener,
    studies: dict[str, tuple[str, Dataset]],
    name: str,
    proposed: list[UID],
    expected: UID,
) -> None:
    study_uid, stored = studies[name]
    status, received = get(listener, study_uid, CTImageStorage, proposed)
    assert (status.Status, status.NumberOfCompletedSuboperations) == (0, 1)
    assert [dataset.file_meta.TransferSyntaxUID for dataset in received] == [expected]
    assert same_values(received[0], stored)


def test_a_report_comes_by_c_get_in_a_plain_syntax_although_a_compressed_one_was_proposed_first(
    listener: Listener, studies: dict[str, tuple[str, Dataset]]
) -> None:
    study_uid, stored = studies["report"]
    proposed = [JPEG2000Lossless, ExplicitVRLittleEndian]
    status, received = get(listener, study_uid, BasicTextSRStorage, proposed)
    assert status.Status == 0
    assert [dataset.file_meta.TransferSyntaxUID for dataset in received] == [ExplicitVRLittleEndian]
    assert received[0].SOPInstanceUID == stored.SOPInstanceUID


def test_no_more_contexts_are_proposed_than_an_association_has() -> None:
    classes = [str(context.abstract_syntax) for context in StoragePresentationContexts][:100]
    contexts = contexts_for([InstanceToSend(sop_class, "1.2", ExplicitVRLittleEndian, "") for sop_class in classes])
    assert len(contexts) == 128
    assert {context.abstract_syntax for context in contexts} == set(classes)
