# SPDX-License-Identifier: Apache-2.0
"""The DICOM listener: opens the port, seals received objects into the intake journal, and answers queries.

A separate process (``intake_process``) ingests the objects, so that cleaning files does not delay receiving them.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from pynetdicom import AE
from pynetdicom.presentation import PresentationContext

from medhub import __version__
from medhub.entrypoints.dimse import c_find, c_move, worklist
from medhub.entrypoints.dimse.associations import AssociatedNode, AssociationServer, NodeAssociation
from medhub.entrypoints.dimse.command_sets import Command, file_head
from medhub.entrypoints.dimse.commitment import Commitments
from medhub.entrypoints.dimse.intake_process import IntakeProcess
from medhub.entrypoints.dimse.presentation_contexts import STORAGE_CLASSES, WORKLIST
from medhub.entrypoints.dimse.refused_nodes import RefusalRecorder
from medhub.entrypoints.dimse.status import (
    INVALID_INSTANCE,
    NO_SUCH_CLASS,
    NOT_AUTHORIZED,
    OUT_OF_RESOURCES,
    SUCCESS,
    status_of,
)
from medhub.entrypoints.dimse.upper_layer import ReadDeadlines
from medhub.errors import Unavailable
from medhub.foundation.app_context import AppContext
from medhub.foundation.byte_budget import ByteLease
from medhub.foundation.logging import get_logger
from medhub.foundation.settings import Settings
from medhub.ingest.journal import Journal, JournalPosition
from medhub.ingest.journal_reader import SendingNode, encode_record
from medhub.nodes import service as nodes

IMPLEMENTATION_UID = "2.25.226744310823604915376034212013867540911"
_LARGE_BYTES = 16 * 1024**2
_NO_LIMIT = 1_000_000
_PATIENCE_S = 45.0  # shorter than the response timeout of senders
_IDLE_CHECK_S = 1.0

log = get_logger()


class DimseServices:
    """The handlers of DIMSE requests of known nodes."""

    def __init__(
        self,
        app: AppContext,
        journal: Journal,
        enqueue: Callable[[SendingNode, JournalPosition], None],
        wait_until_ingested: Callable[[SendingNode, float], bool],
    ) -> None:
        settings = app.settings
        self._app, self._journal, self._enqueue = app, journal, enqueue
        self._refusals = RefusalRecorder(app)
        self._commitments = Commitments(app, wait_until_ingested)
        self._large_objects = threading.Lock()
        self.ae_title, self.most_object_bytes = settings.dicom_ae_title, settings.upload_max_bytes
        self.most_associations = settings.dicom_associations
        self.most_unadmitted = settings.dicom_unadmitted_per_address
        self.read_deadlines = ReadDeadlines(
            settings.dicom_associate_s, settings.dicom_idle_s, settings.request_min_bytes_per_s
        )

    def lease(self) -> ByteLease:
        """The bytes that an association holds of those of the process."""
        return self._app.received.lease()

    def find_node(self, calling: str, called: str, origin: str) -> nodes.DicomNodeInfo:
        """The calling node; raises ``NodeRefused`` where it is unknown."""
        try:
            with self._app.database.reading() as session:
                return nodes.find_node(session, calling, called, origin)
        except nodes.NodeRefused as refusal:
            project_id = refusal.facts.get("project_id")
            self._refusals.add(origin, str(refusal.facts["reason"]), str(project_id) if project_id else None)
            raise

    def recheck(self, peer: AssociatedNode) -> AssociatedNode | None:
        """The node of an open association as it is registered now; ``None`` if it may no longer call."""
        try:
            node = self.find_node(peer.node.ae_title, peer.node.called_ae, peer.origin)
        except nodes.NodeRefused as refusal:
            log.warning("dimse.refused", reason=refusal.facts["reason"], origin=peer.origin, message=True)
            return None
        except Exception as error:
            # The journal takes objects while the database is away, as from a node that was admitted.
            log.error("dimse.not-rechecked", error=type(error).__name__)
            return peer
        if node.project_id != peer.node.project_id:
            self._refusals.add(peer.origin, "project", peer.node.project_id)
            return None
        return AssociatedNode(node, peer.origin)

    def store(self, peer: AssociatedNode, syntax: str, command: Command, data: bytearray, *, too_large: bool) -> int:
        """Seal a received object into the journal; it is durable when the answer is success."""
        if not peer.node.may_store:
            return NOT_AUTHORIZED
        if command.sop_class.decode() not in STORAGE_CLASSES:
            return NO_SUCH_CLASS
        if not command.sop_instance:
            return INVALID_INSTANCE
        if too_large:
            log.warning("dimse.too-large", node=peer.node.ae_title)
            return OUT_OF_RESOURCES
        sender = SendingNode(peer.node.project_id, peer.node.ae_title, peer.origin)
        head = file_head(command.sop_class, command.sop_instance, syntax, IMPLEMENTATION_UID)
        try:
            # Sealing copies an object twice; of large ones, one at a time.
            with self._large_objects if len(data) > _LARGE_BYTES else nullcontext():
                position = self._journal.append(encode_record(sender, [head, data]), _PATIENCE_S)
        except (Unavailable, OSError) as error:
            log.error("dimse.not-taken", error=type(error).__name__)
            return status_of(error)
        self._enqueue(sender, position)
        return SUCCESS

    def find(self, association: NodeAssociation, request: Any, context: PresentationContext) -> None:
        """Answer C-FIND, of stored objects or of the modality worklist."""
        if str(context.abstract_syntax) == WORKLIST:
            worklist.find_worklist(self._app, association, request, context)
            return
        c_find.find(self._app, association, request, context)

    def move(self, association: NodeAssociation, request: Any, context: PresentationContext) -> None:
        """Answer C-MOVE."""
        c_move.move(self._app, association, request, context)

    def get(self, association: NodeAssociation, request: Any, context: PresentationContext) -> None:
        """Answer C-GET."""
        c_move.get(self._app, association, request, context)

    def create_step(self, association: NodeAssociation, event: Any) -> tuple[Any, None]:
        """Answer N-CREATE of a performed procedure step."""
        return worklist.create_step(self._app, association.peer, event)

    def change_step(self, association: NodeAssociation, event: Any) -> tuple[Any, None]:
        """Answer N-SET of a performed procedure step."""
        return worklist.change_step(self._app, association.peer, event)

    def request_commitment(self, association: NodeAssociation, event: Any) -> tuple[int, None]:
        """Answer N-ACTION of storage commitment; the result follows when the objects before it are imported."""
        return self._commitments.request(association, event), None


def listener_tls(settings: Settings) -> ssl.SSLContext | None:
    """The TLS settings of the listener (PS3.15 section B.9, the BCP 195 profile); ``None`` without a certificate.

    Raises
    ------
    Unavailable
        A configured file cannot be used.
    """
    if settings.dicom_tls_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.dicom_tls_certificate, settings.dicom_tls_key)
        if settings.dicom_tls_ca is not None:
            context.load_verify_locations(settings.dicom_tls_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
    except (OSError, ssl.SSLError) as error:
        raise Unavailable(
            "The files of MEDHUB_DICOM_TLS_CERTIFICATE, _KEY and _CA do not open as certificate, key and authorities. "
            "Check that they are PEM files and belong together."
        ) from error
    if settings.dicom_tls_client_required:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class Listener:
    """The running DICOM listener: server, journal and ingesting process."""

    def __init__(self, app: AppContext) -> None:
        settings = app.settings
        tls = listener_tls(settings)
        with app.database.reading() as session:
            for title in nodes.titles_from_anywhere(session):
                log.warning("dimse.node_from_any_address", node=title)
        silence_pynetdicom()
        self._journal = Journal(settings.intake_folder, app.keys, most_pending_bytes=settings.dicom_backlog_bytes)
        self._intake = IntakeProcess(settings, self._journal)
        ae = AE(settings.dicom_ae_title)
        ae.implementation_class_uid = IMPLEMENTATION_UID
        ae.implementation_version_name = f"MEDHUB_{__version__}"[:16]
        ae.maximum_associations = _NO_LIMIT  # pynetdicom counts those that are not admitted too
        ae.maximum_pdu_size = settings.dicom_pdu_bytes
        ae.acse_timeout, ae.dimse_timeout, ae.network_timeout = (
            settings.dicom_associate_s,
            settings.dicom_idle_s,
            settings.dicom_idle_s,
        )
        services = DimseServices(app, self._journal, self._intake.enqueue, self._intake.wait_until_ingested)
        try:
            self._server = AssociationServer(ae, (settings.dicom_host, settings.dicom_port or 0), services, tls)
        except OSError as error:
            raise Unavailable(
                f"Nothing can listen on {settings.dicom_host}:{settings.dicom_port}: "
                f"{error.strerror or type(error).__name__}. Another program may be there; set MEDHUB_DICOM_PORT."
            ) from error
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name="dimse", daemon=True
            ),
            threading.Thread(target=self._close_idle_segments, name="journal", daemon=True),
        ]

    @property
    def port(self) -> int:
        """The TCP port on which it listens."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Ingest the records of earlier processes, and listen."""
        self._intake.start(self._journal.adopt())
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop; records that are not ingested yet wait for the next start."""
        self._stopped.set()
        self._server.shutdown()
        for association in self._server.active_associations:
            association.abort(block=False)
        self._intake.stop()
        self._journal.close()

    def _close_idle_segments(self) -> None:
        while not self._stopped.wait(_IDLE_CHECK_S):
            self._journal.close_idle_segment()


def silence_pynetdicom() -> None:
    """Disable the log of pynetdicom: its messages quote received values."""
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)


def run(app: AppContext, ready: Callable[[int], None], ended: threading.Event) -> None:
    """Listen until the event is set."""
    listener = Listener(app)
    listener.start()
    ready(listener.port)
    ended.wait()
    listener.stop()
