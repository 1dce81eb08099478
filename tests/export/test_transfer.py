# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.dimse_primitives import C_STORE
from sqlalchemy import select, update

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.errors import Conflict, NotFound
from medhub.export import service, tasks, transfer
from medhub.export.lifecycle import export_path
from medhub.export.models import Export, ExportSending
from medhub.export.selection import NothingToExport, Selection
from medhub.export.stow_client import ArchiveSilent, store_to_archive
from medhub.foundation.app_context import AppContext
from medhub.ingest.context import IngestSource
from medhub.ingest.ingest_file import ReceivedFile
from medhub.ingest.pipeline import ingest_files
from medhub.nodes import service as nodes
from medhub.nodes.models import DicomNode
from medhub.records.models import Image
from tests.factories.accounts import People
from tests.factories.cases import run_jobs
from tests.factories.cts import ct


@pytest.fixture
def researcher(app: AppContext, people: People) -> Actor:
    return people.actor(app, Role.RESEARCHER)


@pytest.fixture
def archived(app: AppContext, people: People) -> int:
    """Three CT of one study, and one of another."""
    source = IngestSource(people.project_id, "stow")
    files = [ct(SOPInstanceUID=f"1.2.3.{number}", KVP=str(80 + 20 * number)) for number in range(3)]
    files.append(ct(SOPInstanceUID="1.2.4.1", StudyInstanceUID="1.2.4", SeriesInstanceUID="1.2.4.0", Modality="PT"))
    received = [ReceivedFile.of(data) for data in files]
    ingest_files(app, people.actor(app, Role.TECHNOLOGIST), source, received)
    return len(files)


@pytest.fixture
def received() -> list[str]:
    return []


@pytest.fixture
def node(app: AppContext, people: People, received: list[str]) -> Iterator[str]:
    """A DICOM node that takes what it is sent, but one object."""

    def store(event: evt.Event) -> int:
        assert isinstance(event.request, C_STORE)
        received.append(str(event.request.AffectedSOPInstanceUID))
        return 0xA700 if len(received) == 2 else 0

    entity = AE("ELSEWHERE")
    entity.supported_contexts = AllStoragePresentationContexts
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    assert server is not None
    administrator = people.actor(app, Role.ADMINISTRATOR)
    address = {"ae_title": "ELSEWHERE", "called_ae": "MEDHUB", "host": "127.0.0.1", "port": server.server_address[1]}
    may = {"tls": False, "only_from_host": False, "may_store": False, "may_query": False}
    with app.database.writing() as session:
        nodes.add_node(session, administrator, people.project_id, {**address, **may})
    yield "ELSEWHERE"
    server.shutdown()


def build_export(app: AppContext, actor: Actor, project_id: str, selection: Selection) -> Export:
    with app.database.writing() as session:
        export_id = service.create_export(
            session, app, actor, project_id=project_id, selection=selection, form="dicom", picture=None
        ).id
    for _ in range(6):
        tasks.advance_export(app, export_id)
    with app.database.reading() as session:
        return session.get_one(Export, export_id)


def test_a_finished_export_is_sent_to_a_node_and_says_how_far_it_is(
    app: AppContext, people: People, researcher: Actor, archived: int, node: str, received: list[str]
) -> None:
    export = build_export(app, researcher, people.project_id, Selection("project"))
    assert export.state == "ready"
    with app.database.writing() as session:
        transfer.create_sending(session, researcher, export.id, node)
    run_jobs(app)
    with app.database.reading() as session:
        (sending,) = transfer.list_sendings(session, researcher, export.id)
        stored = set(session.scalars(select(Image.sop_instance_uid)))
    assert (sending.state, sending.total, sending.done, sending.refused) == ("sent", archived, archived, 1)
    assert sending.failure is not None
    assert "1 of 4" in sending.failure
    assert set(received) == stored


def test_only_what_was_looked_at_leaves(
    app: AppContext, people: People, researcher: Actor, archived: int, node: str, received: list[str]
) -> None:
    export = build_export(app, researcher, people.project_id, Selection("project"))
    with app.database.writing() as session:
        changed = session.scalars(select(Image.id).limit(1)).one()
        session.execute(update(Image).where(Image.id == changed).values(blob="0" * 64))
        transfer.create_sending(session, researcher, export.id, node)
    run_jobs(app)
    assert len(received) == archived - 1


def test_an_export_that_is_not_ready_or_a_node_that_nobody_knows_is_refused(
    app: AppContext, people: People, researcher: Actor, archived: int
) -> None:
    with app.database.writing() as session:
        waiting = service.create_export(
            session,
            app,
            researcher,
            project_id=people.project_id,
            selection=Selection("project"),
            form="dicom",
            picture=None,
        )
    with app.database.writing() as session, pytest.raises(Conflict, match="ready"):
        transfer.create_sending(session, researcher, waiting.id, "ELSEWHERE")
    ready = build_export(app, researcher, people.project_id, Selection("project"))
    with app.database.writing() as session, pytest.raises(NotFound, match="no DICOM node"):
        transfer.create_sending(session, researcher, ready.id, "ELSEWHERE")


def test_a_node_that_is_silent_is_told(
    app: AppContext, people: People, researcher: Actor, archived: int, node: str
) -> None:
    export = build_export(app, researcher, people.project_id, Selection("project"))
    with app.database.writing() as session:
        session.execute(update(DicomNode).values(port=1))
        sending_id = transfer.create_sending(session, researcher, export.id, node).id
    run_jobs(app)
    with app.database.reading() as session:
        sending = session.get_one(ExportSending, sending_id)
    assert sending.state == "failed"
    assert sending.failure is not None
    assert "does not answer" in sending.failure


def test_a_search_is_a_selection(app: AppContext, people: People, researcher: Actor, archived: int) -> None:
    export = build_export(app, researcher, people.project_id, Selection("search", search={"Modality": "CT"}))
    assert (export.images, export.search) == (3, {"Modality": "CT"})
    with pytest.raises(NothingToExport):
        build_export(app, researcher, people.project_id, Selection("search", search={"Modality": "MR"}))


class _Archive(BaseHTTPRequestHandler):
    """Another archive, which takes all but the first object of each request."""

    requests: list[tuple[str, str | None, int]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        boundary = self.headers["Content-Type"].partition("boundary=")[2]
        parts = body.split(f"--{boundary}".encode())[1:-1]
        type(self).requests.append((self.path, self.headers["Authorization"], len(parts)))
        at = parts[0].find(b"\x02\x00\x03\x00UI") + 8
        uid = parts[0][at : at + 64].split(b"\x02\x00")[0].rstrip(b"\0").decode()
        failed = {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [272]}}
        answer = json.dumps({"00081198": {"vr": "SQ", "Value": [failed]}}).encode()
        self.send_response(202)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def test_an_export_is_stored_in_another_archive_by_stow(
    app: AppContext, people: People, researcher: Actor, archived: int, tmp_path: Path
) -> None:
    export = build_export(app, researcher, people.project_id, Selection("project"))
    _Archive.requests = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Archive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/dicom-web/"
        rejected = store_to_archive(export_path(app.settings, export.id), url, "secret")
    finally:
        server.shutdown()
        server.server_close()
    assert _Archive.requests == [("/dicom-web/studies", "Bearer secret", archived)]
    assert len(rejected) == 1
    assert rejected[0].startswith("DICOM/")
    with pytest.raises(ArchiveSilent):
        store_to_archive(export_path(app.settings, export.id), url, None)
