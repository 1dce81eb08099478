# SPDX-License-Identifier: Apache-2.0
"""Storage commitment: the sender is told truthfully what is in the archive, by the UIDs that it sent."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage, generate_uid
from pynetdicom import AE, build_context, evt
from sqlalchemy import select

from medhub.accounts.actor import COMMAND_LINE
from medhub.audit.models import AuditEntry
from medhub.entrypoints.dimse.presentation_contexts import COMMITMENT, COMMITMENT_INSTANCE
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import Isolation
from medhub.ingest.context import IngestSource
from medhub.ingest.ingest_file import ReceivedFile
from medhub.ingest.models import Arrival
from medhub.ingest.pipeline import ingest_files
from medhub.ingest.storage_commitment import find_custody
from medhub.records import studies
from medhub.records.models import Image
from tests.entrypoints.test_dimse import add_nodes, node
from tests.factories.accounts import make_people
from tests.factories.app_contexts import open_app_on
from tests.factories.dicom_nodes import Listener, free_port
from tests.factories.servers import small_ct, written

COMMITTED, FAILURES = 1, 2


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Listener]:
    data = tmp_path_factory.mktemp("commitment") / "data"
    add_nodes(
        data,
        node("SENDER", host="127.0.0.1", port=port),
        node("MUTE"),
        node("ASKER", may_store=False),
    )
    started = Listener(data).start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def app(listener: Listener, isolation: Isolation) -> Iterator[AppContext]:
    with listener.app(isolation) as opened:
        yield opened


class Modality:
    """A modality that sends objects and asks for commitment; results come over any association."""

    def __init__(self, listener: Listener, title: str = "SENDER") -> None:
        self.listener = listener
        self.results: queue.Queue[tuple[str, int | None, Dataset]] = queue.Queue()
        self.ae = AE(title)
        self.ae.add_requested_context(CTImageStorage)
        self.ae.add_requested_context(COMMITMENT)

    def _handlers(self, way: str) -> list[Any]:
        def report(event: evt.Event) -> tuple[int, None]:
            self.results.put((way, event.event_type, event.event_information))
            return 0, None

        return [(evt.EVT_N_EVENT_REPORT, report)]

    def listen(self, port: int) -> Any:
        """Accept results over associations that Medhub opens."""
        ae = AE("SENDER")
        ae.add_supported_context(COMMITMENT, scu_role=True, scp_role=True)
        return ae.start_server(("127.0.0.1", port), block=False, evt_handlers=self._handlers("new"))

    def send_and_ask(
        self, objects: list[Dataset], references: Sequence[tuple[str, str]], *, patience_s: float = 20.0, **request: Any
    ) -> int:
        """The status of the N-ACTION; the association stays open for the result for a while."""
        association = self.ae.associate(
            "127.0.0.1", self.listener.port, ae_title="MEDHUB", evt_handlers=self._handlers("same")
        )
        assert association.is_established
        for dataset in objects:
            assert association.send_c_store(dataset).Status == 0
        information = Dataset()
        if references:
            information.TransactionUID = request.get("transaction", generate_uid())
        information.ReferencedSOPSequence = [_reference(*reference) for reference in references]
        status, _ = association.send_n_action(
            information, request.get("action", 1), COMMITMENT, request.get("instance", COMMITMENT_INSTANCE)
        )
        ends = time.monotonic() + patience_s
        while self.results.empty() and time.monotonic() < ends and status.Status == 0:
            time.sleep(0.05)
        association.release()
        return int(status.Status)


def _reference(sop_class: str, uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    return item


def ct(number: int, patient: str = "4711") -> Dataset:
    return small_ct(number, study=f"1.2.70.{patient}", series=f"1.2.70.{patient}.1", patient=patient)


def uids_of(items: Any) -> list[str]:
    return [str(item.ReferencedSOPInstanceUID) for item in items]


def test_objects_that_were_just_sent_are_committed_over_the_same_association(
    listener: Listener, app: AppContext
) -> None:
    modality, objects = Modality(listener), [ct(number) for number in range(1, 6)]
    references = [(CTImageStorage, dataset.SOPInstanceUID) for dataset in objects]
    transaction = generate_uid()
    assert modality.send_and_ask(objects, references, transaction=transaction) == 0
    way, event_type, result = modality.results.get(timeout=1)
    assert (way, event_type, result.TransactionUID) == ("same", COMMITTED, transaction)
    assert uids_of(result.ReferencedSOPSequence) == [uid for _, uid in references]
    assert "FailedSOPSequence" not in result
    with app.database.reading() as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "image.commit")).one()
        assert (entry.actor, entry.detail["committed"], entry.detail["failed"]) == ("DICOM node SENDER", 5, 0)
        assert not any("1.2.70" in str(row.instance_hash) for row in session.scalars(select(Arrival)))


def test_what_is_not_in_the_archive_is_said_with_its_reason(listener: Listener, app: AppContext) -> None:
    modality = Modality(listener)
    accepted, again, other_person = ct(11), ct(11), ct(12)
    other_person.PatientName = "SOMEBODY^ELSE"
    references = [
        (CTImageStorage, accepted.SOPInstanceUID),
        (CTImageStorage, other_person.SOPInstanceUID),
        (CTImageStorage, "1.2.3.4.5.6"),
        (MRImageStorage, accepted.SOPInstanceUID),
    ]
    assert modality.send_and_ask([accepted, again, other_person], references) == 0
    _, event_type, result = modality.results.get(timeout=1)
    assert event_type == FAILURES
    assert uids_of(result.ReferencedSOPSequence) == [accepted.SOPInstanceUID]
    failures = [(str(item.ReferencedSOPInstanceUID), item.FailureReason) for item in result.FailedSOPSequence]
    assert failures == [
        (other_person.SOPInstanceUID, 0x0110),  # kept in quarantine, but not accepted
        ("1.2.3.4.5.6", 0x0112),
        (accepted.SOPInstanceUID, 0x0119),
    ]


def test_the_result_comes_over_a_new_association_when_the_first_one_is_closed(listener: Listener, port: int) -> None:
    modality, dataset = Modality(listener), ct(21)
    server = modality.listen(port)
    try:
        assert modality.send_and_ask([dataset], [(CTImageStorage, dataset.SOPInstanceUID)], patience_s=0) == 0
        way, event_type, result = modality.results.get(timeout=20)
    finally:
        server.shutdown()
    assert event_type == COMMITTED
    assert uids_of(result.ReferencedSOPSequence) == [dataset.SOPInstanceUID]
    assert way in {"new", "same"}  # the result may overtake the release


@pytest.mark.parametrize(
    ("request_values", "status"),
    [({"action": 2}, 0x0123), ({"instance": "1.2.3"}, 0x0112)],
)
def test_a_request_that_is_none_is_refused(listener: Listener, request_values: dict[str, Any], status: int) -> None:
    modality = Modality(listener)
    assert modality.send_and_ask([], [(CTImageStorage, "1.2.3")], **request_values) == status
    assert modality.results.empty()


def test_a_request_without_objects_is_refused(listener: Listener) -> None:
    assert Modality(listener).send_and_ask([], []) == 0x0115


def test_a_node_that_may_not_send_gets_no_commitment(listener: Listener) -> None:
    ae = AE("ASKER")
    ae.requested_contexts = [build_context(COMMITMENT)]
    association = ae.associate("127.0.0.1", listener.port, ae_title="MEDHUB")
    assert not association.is_established or association.accepted_contexts == []


@pytest.fixture(params=["sqlite", "postgresql"])
def stored_app(request: pytest.FixtureRequest, tmp_path: Path, isolation: Isolation) -> Iterator[AppContext]:
    with open_app_on(request, request.param, tmp_path, isolation, "commitment") as app:
        yield app


def test_custody_follows_what_happens_to_an_object(stored_app: AppContext) -> None:
    app = stored_app
    people = make_people(app)
    source, dataset = IngestSource(people.project_id, "dimse", "SENDER"), ct(31)
    reference = (str(CTImageStorage), str(dataset.SOPInstanceUID))

    def custody(project_id: str = people.project_id) -> str:
        with app.database.reading() as session:
            (state,) = find_custody(session, app.keys, project_id, [reference])
            return state

    def receive(dataset: Dataset) -> Any:
        (result,) = ingest_files(app, COMMAND_LINE, source, [ReceivedFile.of(written(dataset))])
        return result

    assert custody() == "unknown"
    result = receive(dataset)
    assert (result.outcome, custody(), custody(people.other_project_id)) == ("accepted", "stored", "unknown")
    assert (receive(dataset).outcome, custody()) == ("duplicate", "stored")
    changed = ct(31)
    changed.PatientName = "SOMEBODY^ELSE"
    assert (receive(changed).outcome, custody()) == ("quarantined", "quarantined")
    assert (receive(dataset).outcome, custody()) == ("duplicate", "stored")
    with app.database.writing() as session:
        studies.delete_image(session, COMMAND_LINE, session.get_one(Image, result.image_id).id)
    assert custody() in {"quarantined", "unknown"}


def test_many_references_are_found_in_one_request(stored_app: AppContext) -> None:
    people = make_people(stored_app)
    references = [(str(CTImageStorage), f"1.2.{number}") for number in range(1_500)]
    with stored_app.database.reading() as session:
        assert find_custody(session, stored_app.keys, people.project_id, references) == ["unknown"] * 1_500
