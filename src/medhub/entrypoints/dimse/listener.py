# SPDX-License-Identifier: Apache-2.0
"""The DICOM listener: opens the port, seals what nodes send into the intake journal, and answers what they ask.

What is in the journal is taken in by a process of its own (``intake_process``), so that cleaning files does not hold
up receiving them.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable
from typing import Any

from pynetdicom import AE
from pynetdicom.presentation import PresentationContext

from medhub import __version__
from medhub.entrypoints.dimse import c_find, c_move
from medhub.entrypoints.dimse.associations import AssociationRequest, NodeAssociation, Server
from medhub.entrypoints.dimse.command_sets import Command, file_head
from medhub.entrypoints.dimse.intake_process import IntakeProcess
from medhub.entrypoints.dimse.presentation_contexts import STORAGE_CLASSES
from medhub.entrypoints.dimse.status import (
    INVALID_INSTANCE,
    NO_SUCH_CLASS,
    NOT_AUTHORIZED,
    OUT_OF_RESOURCES,
    SUCCESS,
    status_of,
)
from medhub.errors import Unavailable
from medhub.foundation.app_context import AppContext
from medhub.foundation.logging import get_logger
from medhub.foundation.settings import Settings
from medhub.ingest.journal import Journal
from medhub.ingest.journal_reader import JournalEntry, to_record
from medhub.nodes import service as nodes

IMPLEMENTATION_UID = "2.25.226744310823604915376034212013867540911"
ASSOCIATE_S = 30.0
_PATIENCE_S = 45.0  # less than senders wait for an answer
_REST_S = 1.0

log = get_logger()


class Services:
    """What nodes may have done, and with what."""

    def __init__(self, app: AppContext, journal: Journal, took: Callable[[JournalEntry, Any], None]) -> None:
        settings = app.settings
        self._app, self._journal, self._took = app, journal, took
        self.ae_title, self.idle_s = settings.dicom_ae_title, settings.dicom_idle_s
        self.most_object_bytes = settings.upload_max_bytes

    def find_node(self, calling: str, called: str, origin: str) -> nodes.DicomNodeInfo:
        """The node that calls; raises ``NodeRefused`` where it is not known."""
        with self._app.database.reading() as session:
            return nodes.find_node(session, calling, called, origin)

    def store(
        self, calling: AssociationRequest, syntax: str, command: Command, data: bytearray, *, too_large: bool
    ) -> int:
        """Seal a received object into the journal; it is durable when success is answered."""
        if not calling.node.may_store:
            return NOT_AUTHORIZED
        if command.sop_class.decode() not in STORAGE_CLASSES:
            return NO_SUCH_CLASS
        if not command.sop_instance:
            return INVALID_INSTANCE
        if too_large:
            log.warning("dimse.too-large", node=calling.node.ae_title)
            return OUT_OF_RESOURCES
        sent = JournalEntry(calling.node.project_id, calling.node.ae_title, calling.origin)
        head = file_head(command.sop_class, command.sop_instance, syntax, IMPLEMENTATION_UID)
        try:
            place = self._journal.append(to_record(sent, [head, data]), _PATIENCE_S)
        except (Unavailable, OSError) as error:
            log.error("dimse.not-taken", error=type(error).__name__)
            return status_of(error)
        self._took(sent, place)
        return SUCCESS

    def find(self, association: NodeAssociation, request: Any, context: PresentationContext) -> None:
        """Answer C-FIND."""
        c_find.find(self._app, association, request, context)

    def move(self, association: NodeAssociation, request: Any, context: PresentationContext) -> None:
        """Answer C-MOVE."""
        c_move.move(self._app, association, request, context)

    def get(self, association: NodeAssociation, request: Any, context: PresentationContext) -> None:
        """Answer C-GET."""
        c_move.get(self._app, association, request, context)


def tls_of(settings: Settings) -> ssl.SSLContext | None:
    """How nodes speak TLS with the listener (PS3.15 section B.9, the BCP 195 profile); ``None`` where they do not.

    Raises
    ------
    Unavailable
        A file that is named cannot be used.
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
    """Everything that runs of the DICOM listener; ``start`` opens the port, ``stop`` ends it."""

    def __init__(self, app: AppContext) -> None:
        settings = app.settings
        tls = tls_of(settings)
        _keep_quiet()
        self._journal = Journal(settings.intake_folder, app.keys, most_waiting_bytes=settings.dicom_backlog_bytes)
        self._intake = IntakeProcess(settings, self._journal)
        ae = AE(settings.dicom_ae_title)
        ae.implementation_class_uid = IMPLEMENTATION_UID
        ae.implementation_version_name = f"MEDHUB_{__version__}"[:16]
        ae.maximum_associations = settings.dicom_associations
        ae.maximum_pdu_size = settings.dicom_pdu_bytes
        ae.acse_timeout, ae.dimse_timeout, ae.network_timeout = (
            ASSOCIATE_S,
            settings.dicom_idle_s,
            settings.dicom_idle_s,
        )
        services = Services(app, self._journal, self._intake.want)
        try:
            self._server = Server(ae, (settings.dicom_host, settings.dicom_port or 0), services, tls)
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
            threading.Thread(target=self._rest, name="journal", daemon=True),
        ]

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Take in what was left behind, and listen."""
        self._intake.start(self._journal.adopt())
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; what was received and not taken in yet waits for the next start."""
        self._stopped.set()
        self._server.shutdown()
        for association in self._server.active_associations:
            association.abort(block=False)
        self._intake.stop()
        self._journal.close()

    def _rest(self) -> None:
        while not self._stopped.wait(_REST_S):
            self._journal.rest()


def _keep_quiet() -> None:
    """Have pynetdicom write nothing: its messages quote what is received."""
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)


def run(app: AppContext, ready: Callable[[int], None], ended: threading.Event) -> None:
    """Listen until the event is set."""
    listener = Listener(app)
    listener.start()
    ready(listener.port)
    ended.wait()
    listener.stop()
