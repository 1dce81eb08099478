# SPDX-License-Identifier: Apache-2.0
"""Associations that DICOM nodes open: admission, negotiation, and dispatch of their requests."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol, cast

from pynetdicom import AE, evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.transport import AddressInformation, AssociationSocket, RequestHandler, ThreadedAssociationServer

from medhub.entrypoints.dimse.command_sets import Command
from medhub.entrypoints.dimse.extended_negotiation import answer_negotiation
from medhub.entrypoints.dimse.presentation_contexts import (
    COMMITMENT,
    PLAIN_SYNTAXES,
    QUERY_CLASSES,
    STORAGE_CLASSES,
    TRANSFER_SYNTAXES,
    VERIFICATION,
    WORKLIST_CLASSES,
)
from medhub.entrypoints.dimse.status import NOT_AUTHORIZED, SUCCESS
from medhub.entrypoints.dimse.upper_layer import ReadDeadlines, UpperLayer
from medhub.entrypoints.dimse.waiting_connections import WaitingConnections
from medhub.foundation.byte_budget import ByteLease
from medhub.foundation.logging import get_logger
from medhub.nodes.dicom_client import SENDABLE_SYNTAXES
from medhub.nodes.service import DicomNodeInfo, NodeRefused
from medhub.science.imaging.dicom.object_kinds import class_name

_POLL_INTERVAL_S = 0.5

# Result, source, reason (PS3.8 table 9-21).
Refusal = tuple[int, int, int]
CALLING_UNKNOWN: Refusal = (1, 1, 3)
CALLED_UNKNOWN: Refusal = (1, 1, 7)
CONGESTED: Refusal = (2, 3, 1)
LIMIT_EXCEEDED: Refusal = (2, 3, 2)

log = get_logger()


@dataclass(frozen=True)
class AssociatedNode:
    """The node that opened an association, and its network address."""

    node: DicomNodeInfo
    origin: str


class RequestHandlers(Protocol):
    """The handlers of DIMSE requests; ``listener.DimseServices`` implements them."""

    ae_title: str
    read_deadlines: ReadDeadlines
    most_object_bytes: int
    most_associations: int
    most_unadmitted: int

    def lease(self) -> ByteLease:
        """The bytes that an association holds of those of the process."""

    def find_node(self, calling: str, called: str, origin: str) -> DicomNodeInfo:
        """The calling node; raises ``NodeRefused`` where it is unknown."""

    def recheck(self, peer: AssociatedNode) -> AssociatedNode | None:
        """The node of an open association as it is registered now; ``None`` if it may no longer call."""

    def store(self, peer: AssociatedNode, syntax: str, command: Command, data: bytearray, *, too_large: bool) -> int:
        """Store an object, and return the status of the response."""

    def find(self, association: NodeAssociation, request: Any, context: PresentationContext) -> None:
        """Answer C-FIND."""

    def move(self, association: NodeAssociation, request: Any, context: PresentationContext) -> None:
        """Answer C-MOVE."""

    def get(self, association: NodeAssociation, request: Any, context: PresentationContext) -> None:
        """Answer C-GET."""

    def create_step(self, association: NodeAssociation, event: Any) -> tuple[Any, None]:
        """Answer N-CREATE of a performed procedure step."""

    def change_step(self, association: NodeAssociation, event: Any) -> tuple[Any, None]:
        """Answer N-SET of a performed procedure step."""

    def request_commitment(self, association: NodeAssociation, event: Any) -> tuple[int, None]:
        """Answer N-ACTION of storage commitment."""


def _sending_rank(sop_class: str) -> Callable[[str], int]:
    """The order of transfer syntaxes for sending: of images any that can be written, of other objects a plain one."""
    writable = SENDABLE_SYNTAXES if "Image Storage" in class_name(sop_class) else PLAIN_SYNTAXES
    return lambda syntax: 0 if syntax in writable else 1


class _AdmissionControl(ACSE):
    """Checks whether the node may open an association, before anything else is negotiated."""

    def _negotiate_as_acceptor(self) -> None:
        refusal = cast(NodeAssociation, self.assoc).admit()
        if refusal is None:
            super()._negotiate_as_acceptor()
            return
        self.send_reject(*refusal)
        self.assoc.kill()


class NodeAssociation(Association):
    """An association that a node opened; its thread sleeps until there is work."""

    peer: AssociatedNode
    connection: socket.socket

    def __init__(self, ae: AE, services: RequestHandlers) -> None:
        super().__init__(ae, MODE_ACCEPTOR)
        self.services = services
        self.acse = _AdmissionControl(self)
        self.dul = UpperLayer(self, self, services.most_object_bytes, services.read_deadlines)
        # Both timers belong to the upper layer that was just replaced.
        self.acse_timeout, self.network_timeout = ae.acse_timeout, ae.network_timeout
        self._has_work = threading.Event()

    def wake(self) -> None:
        """Wake the thread of the association: there may be work."""
        self._has_work.set()

    def lease(self) -> ByteLease:
        """The bytes that the association holds of those of the process."""
        return self.services.lease()

    def admit(self) -> Refusal | None:
        """Check the node and set the presentation contexts that it may use; returns the reason of a rejection."""
        request = cast(A_ASSOCIATE, self.requestor.primitive)
        origin = str(cast(AddressInformation, self.requestor.address_info).address)
        try:
            node = self.services.find_node(request.calling_ae_title.strip(), request.called_ae_title.strip(), origin)
        except NodeRefused as refusal:
            log.warning("dimse.refused", reason=refusal.facts["reason"], origin=origin)
            return CALLED_UNKNOWN if refusal.facts["reason"] == "called" else CALLING_UNKNOWN
        except Exception as error:
            log.error("dimse.refused", error=type(error).__name__, origin=origin)
            return CONGESTED
        server = cast(AssociationServer, self._server)
        if not server.waiting.admit(self, self.services.most_associations):
            log.warning("dimse.refused", reason="limit", origin=origin)
            return LIMIT_EXCEEDED
        self.peer = AssociatedNode(node, origin)
        receiving = {str(uid) for uid, role in self.requestor.role_selection.items() if role.scp_role}
        proposed = request.presentation_context_definition_list
        self.acceptor.supported_contexts = self._supported_contexts(proposed, node, receiving)
        return None

    @staticmethod
    def _supported_contexts(
        proposed: list[PresentationContext], node: DicomNodeInfo, receiving: Collection[str]
    ) -> list[PresentationContext]:
        """The proposed contexts that the node may use, with the known transfer syntaxes in the proposed order.

        Of a class that the node receives by C-GET, a syntax in which Medhub can send every object comes first.
        """
        syntaxes_by_class: dict[str, list[str]] = {}
        for context in proposed:
            syntaxes = syntaxes_by_class.setdefault(str(context.abstract_syntax), [])
            syntaxes += [str(syntax) for syntax in context.transfer_syntax if str(syntax) not in syntaxes]
        supported = []
        for abstract, syntaxes in syntaxes_by_class.items():
            storage = abstract in STORAGE_CLASSES
            if storage:
                # A node that may only query still receives objects by C-GET.
                known = TRANSFER_SYNTAXES if node.may_store or node.may_query else frozenset()
            elif abstract in WORKLIST_CLASSES:
                known = PLAIN_SYNTAXES if node.may_read_worklist else frozenset()
            elif abstract == COMMITMENT:
                known = PLAIN_SYNTAXES if node.may_store else frozenset()
            elif abstract in QUERY_CLASSES:
                known = PLAIN_SYNTAXES if node.may_query else frozenset()
            else:
                known = PLAIN_SYNTAXES if abstract == VERIFICATION else frozenset()
            if allowed := [syntax for syntax in syntaxes if syntax in known]:
                if storage and abstract in receiving and node.may_query:
                    allowed.sort(key=_sending_rank(abstract))
                context = build_context(abstract, allowed)
                if storage and node.may_query:
                    # The node may send objects, and receive those of its C-GET.
                    context.scu_role, context.scp_role = node.may_store, True
                supported.append(context)
        return supported

    def is_admitted(self) -> bool:
        """Whether the node may still call; asked for each message, since it may be changed or removed meanwhile."""
        peer = self.services.recheck(self.peer)
        self.peer = peer or self.peer
        return peer is not None

    def store(self, context_id: int, command: Command, data: bytearray, *, too_large: bool) -> int:
        """Store an object that the node sent, and return the status of the response."""
        if not self.is_admitted():
            return NOT_AUTHORIZED
        syntax = str(self._accepted_cx[context_id].transfer_syntax[0])
        return self.services.store(self.peer, syntax, command, data, too_large=too_large)

    def _run_reactor(self) -> None:
        self._is_paused = False
        while not self._kill and not self._finish_if_ended():
            self._has_work.wait(_POLL_INTERVAL_S)
            self._has_work.clear()
            # A thread that sends objects over this association pauses this thread meanwhile.
            self._is_paused = True
            self._reactor_checkpoint.wait()
            self._is_paused = False
            context_id, message = self.dimse.get_msg(block=False)
            while message is not None and context_id is not None:
                self._serve_request(message, context_id)
                context_id, message = (None, None) if self._kill else self.dimse.get_msg(block=False)

    def _finish_if_ended(self) -> bool:
        """Whether the association has ended, by either side or by the idle timeout; it is then closed."""
        if self.is_established and self.acse.is_release_requested():
            self.acse.send_release(is_response=True)
            self.is_released, self.is_established = True, False
        elif self.acse.is_aborted():
            self.dul.receive_pdu(wait=False)
            self.is_aborted, self.is_established = True, False
        elif self.dul.idle_timer_expired():
            log.info("dimse.idle", origin=self.peer.origin)
            self.abort()
        elif self.dul.is_alive():
            return False
        self.kill()
        return True

    def _serve_request(self, msg: Any, context_id: int) -> None:
        handlers: dict[type, Callable[[NodeAssociation, Any, PresentationContext], None]] = {
            C_FIND: self.services.find,
            C_MOVE: self.services.move,
            C_GET: self.services.get,
        }
        handler = handlers.get(type(msg))
        if handler is None or not msg.is_valid_request:
            super()._serve_request(msg, context_id)
            return
        context = self._accepted_cx.get(context_id)
        if context is None or str(context.abstract_syntax) != str(msg.AffectedSOPClassUID):
            self.abort()
            return
        self.dimse.cancel_req = {}
        if not self.is_admitted():
            self._refuse(msg, context_id)
            return
        self._is_paused = True
        try:
            handler(self, msg, context)
        except Exception as error:
            log.error("dimse.failed", error=type(error).__name__, exc_info=True)
            self.abort()
        self._is_paused = False

    def _refuse(self, request: Any, context_id: int) -> None:
        response = type(request)()
        response.MessageIDBeingRespondedTo = request.MessageID
        response.AffectedSOPClassUID = request.AffectedSOPClassUID
        response.Status = NOT_AUTHORIZED
        self.dimse.send_msg(response, context_id)


class _Handler(RequestHandler):
    """Turns a connection into an association; runs in its own thread."""

    server: AssociationServer

    def handle(self) -> None:
        """Do the TLS handshake first, if configured; one that stalls delays no other connection."""
        self.request.settimeout(self.server.services.read_deadlines.associate_s)
        if self.server.tls is not None:
            plain = self.request
            self.request = self.server.tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
            self.server.waiting.replace(plain, self.request)
            self.request.do_handshake()
        super().handle()

    def _create_association(self) -> Association:
        association = NodeAssociation(self.ae, self.server.services)
        association._server = self.server
        association.name = f"AcceptorThread@{id(association):x}"
        association.connection = self.request
        association.set_socket(AssociationSocket(association, client_socket=self.request))
        acceptor = association.acceptor
        acceptor.maximum_length = self.ae.maximum_pdu_size
        acceptor.ae_title = self.server.ae_title
        acceptor.address_info = self.local
        acceptor.implementation_class_uid = self.ae.implementation_class_uid
        acceptor.implementation_version_name = self.ae.implementation_version_name
        association.requestor.address_info = self.remote
        services = self.server.services
        association.bind(evt.EVT_C_ECHO, lambda _event: SUCCESS if association.is_admitted() else NOT_AUTHORIZED)
        answers: dict[evt.InterventionEvent, Callable[[NodeAssociation, Any], tuple[Any, None]]] = {
            evt.EVT_N_CREATE: services.create_step,
            evt.EVT_N_SET: services.change_step,
            evt.EVT_N_ACTION: services.request_commitment,
        }
        for kind, answer in answers.items():
            association.bind(
                kind,
                lambda event, answer=answer: (
                    answer(association, event) if association.is_admitted() else (NOT_AUTHORIZED, None)
                ),
            )
        association.bind(evt.EVT_SOP_EXTENDED, lambda event: answer_negotiation(event.app_info))
        return association


class AssociationServer(ThreadedAssociationServer):
    """Accepts connections, each as an association."""

    request_queue_size = 128
    daemon_threads = True
    block_on_close = False

    def __init__(self, ae: AE, address: tuple[str, int], services: RequestHandlers, tls: ssl.SSLContext | None) -> None:
        self.services, self.tls = services, tls
        self.waiting: WaitingConnections[NodeAssociation] = WaitingConnections(services.most_unadmitted)
        super().__init__(ae, address, services.ae_title, [], None, None, _Handler)
        ae._servers.append(self)

    def _bind_defaults(self) -> None:
        """Bind no default handlers: those of pynetdicom log the names of patients."""

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection without Nagle's algorithm."""
        connection, address = cast(socket.socket, self.socket).accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Accept each connection; of too many that have not opened an association, the oldest is closed."""
        self.waiting.add(request, str(client_address[0]))
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log that a connection failed, without values of the peer."""
        log.warning("dimse.connection", error=type(sys.exc_info()[1]).__name__)
