# SPDX-License-Identifier: Apache-2.0
"""Associations that nodes open with Medhub: who may, for what, and what is done with what they ask."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from pynetdicom import AE, evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.transport import AddressInformation, AssociationSocket, RequestHandler, ThreadedAssociationServer

from medhub.entrypoints.dimse.command_sets import Command
from medhub.entrypoints.dimse.presentation_contexts import (
    PLAIN_SYNTAXES,
    QUERY_CLASSES,
    STORAGE_CLASSES,
    TRANSFER_SYNTAXES,
    VERIFICATION,
)
from medhub.entrypoints.dimse.upper_layer import UpperLayer
from medhub.foundation.logging import get_logger
from medhub.nodes.service import DicomNodeInfo, NodeRefused

if TYPE_CHECKING:
    from medhub.entrypoints.dimse.listener import Services

_LOOK_S = 0.5

# Result, source, reason (PS3.8 table 9-21).
Refusal = tuple[int, int, int]
CALLING_UNKNOWN: Refusal = (1, 1, 3)
CALLED_UNKNOWN: Refusal = (1, 1, 7)
CONGESTED: Refusal = (2, 3, 1)

log = get_logger()


@dataclass(frozen=True)
class AssociationRequest:
    """Who opened an association."""

    node: DicomNodeInfo
    origin: str


class _Control(ACSE):
    """Says who may open an association before the rest is negotiated."""

    def _negotiate_as_acceptor(self) -> None:
        refusal = cast(NodeAssociation, self.assoc).judge()
        if refusal is None:
            super()._negotiate_as_acceptor()
            return
        self.send_reject(*refusal)
        self.assoc.kill()


class NodeAssociation(Association):
    """One association that a node opened; it sleeps until there is something to do."""

    calling: AssociationRequest

    def __init__(self, ae: AE, services: Services) -> None:
        super().__init__(ae, MODE_ACCEPTOR)
        self.services = services
        self.acse = _Control(self)
        self.dul = UpperLayer(self, services.most_object_bytes)
        # Both timers lie in the upper layer that has just been replaced.
        self.acse_timeout, self.network_timeout = ae.acse_timeout, ae.network_timeout
        self._noticed = threading.Event()

    def notice(self) -> None:
        """Have the association look whether there is something to do."""
        self._noticed.set()

    def judge(self) -> Refusal | None:
        """Say why the node may not open this association, if it may not; what it may ask for is settled here too."""
        asked = cast(A_ASSOCIATE, self.requestor.primitive)
        origin = str(cast(AddressInformation, self.requestor.address_info).address)
        try:
            node = self.services.find_node(asked.calling_ae_title.strip(), asked.called_ae_title.strip(), origin)
        except NodeRefused as refusal:
            log.warning("dimse.refused", reason=refusal.facts["reason"], origin=origin)
            return CALLED_UNKNOWN if refusal.facts["reason"] == "called" else CALLING_UNKNOWN
        except Exception as error:
            log.error("dimse.refused", error=type(error).__name__, origin=origin)
            return CONGESTED
        self.calling = AssociationRequest(node, origin)
        self.acceptor.supported_contexts = self._supported(asked.presentation_context_definition_list, node)
        return None

    @staticmethod
    def _supported(asked: list[PresentationContext], node: DicomNodeInfo) -> list[PresentationContext]:
        """Of what the node asks for, what it may: each transfer syntax that is known, those named first first."""
        found: dict[str, list[str]] = {}
        for context in asked:
            named = found.setdefault(str(context.abstract_syntax), [])
            named += [str(one) for one in context.transfer_syntax if str(one) not in named]
        supported = []
        for abstract, syntaxes in found.items():
            storage = abstract in STORAGE_CLASSES
            if storage:
                # Without the right to send, a node still takes by C-GET what it may query.
                known = TRANSFER_SYNTAXES if node.may_store or node.may_query else frozenset()
            elif abstract in QUERY_CLASSES:
                known = PLAIN_SYNTAXES if node.may_query else frozenset()
            else:
                known = PLAIN_SYNTAXES if abstract == VERIFICATION else frozenset()
            if allowed := [one for one in syntaxes if one in known]:
                context = build_context(abstract, allowed)
                if storage and node.may_query:
                    # What the node may be to us: one who sends, and one who takes what it gets.
                    context.scu_role, context.scp_role = node.may_store, True
                supported.append(context)
        return supported

    def store(self, context_id: int, command: Command, data: bytearray, *, too_large: bool) -> int:
        """Take an object that the node sent; gives the status of the answer."""
        syntax = str(self._accepted_cx[context_id].transfer_syntax[0])
        return self.services.store(self.calling, syntax, command, data, too_large=too_large)

    def _run_reactor(self) -> None:
        self._is_paused = False
        while not self._kill and not self._ended():
            self._noticed.wait(_LOOK_S)
            self._noticed.clear()
            # Whoever sends objects over this association has it pause meanwhile.
            self._is_paused = True
            self._reactor_checkpoint.wait()
            self._is_paused = False
            context_id, message = self.dimse.get_msg(block=False)
            while message is not None and context_id is not None:
                self._serve_request(message, context_id)
                context_id, message = (None, None) if self._kill else self.dimse.get_msg(block=False)

    def _ended(self) -> bool:
        """Whether the association has ended, by either side or by silence; what is left to do for it is done."""
        if self.is_established and self.acse.is_release_requested():
            self.acse.send_release(is_response=True)
            self.is_released, self.is_established = True, False
        elif self.acse.is_aborted():
            self.dul.receive_pdu(wait=False)
            self.is_aborted, self.is_established = True, False
        elif self.dul.idle_timer_expired():
            log.info("dimse.idle", origin=self.calling.origin)
            self.abort()
        elif self.dul.is_alive():
            return False
        self.kill()
        return True

    def _serve_request(self, msg: Any, context_id: int) -> None:
        service: dict[type, Callable[[NodeAssociation, Any, PresentationContext], None]] = {
            C_FIND: self.services.find,
            C_MOVE: self.services.move,
            C_GET: self.services.get,
        }
        act = service.get(type(msg))
        if act is None or not msg.is_valid_request:
            super()._serve_request(msg, context_id)
            return
        context = self._accepted_cx.get(context_id)
        if context is None or str(context.abstract_syntax) != str(msg.AffectedSOPClassUID):
            self.abort()
            return
        self.dimse.cancel_req = {}
        self._is_paused = True
        try:
            act(self, msg, context)
        except Exception as error:
            log.error("dimse.failed", error=type(error).__name__, exc_info=True)
            self.abort()
        self._is_paused = False


class _Handler(RequestHandler):
    """Sets a connection up as an association; runs in a thread of its own."""

    server: Server

    def handle(self) -> None:
        """Speak TLS first where it is wanted: a handshake that stalls holds up nobody else."""
        self.request.settimeout(self.server.services.idle_s)
        if self.server.tls is not None:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().handle()

    def _create_association(self) -> Association:
        association = NodeAssociation(self.ae, self.server.services)
        association._server = self.server
        association.name = f"AcceptorThread@{id(association):x}"
        association.set_socket(AssociationSocket(association, client_socket=self.request))
        acceptor = association.acceptor
        acceptor.maximum_length = self.ae.maximum_pdu_size
        acceptor.ae_title = self.server.ae_title
        acceptor.address_info = self.local
        acceptor.implementation_class_uid = self.ae.implementation_class_uid
        acceptor.implementation_version_name = self.ae.implementation_version_name
        association.requestor.address_info = self.remote
        association.bind(evt.EVT_C_ECHO, lambda _event: 0x0000)
        return association


class Server(ThreadedAssociationServer):
    """Listens, and gives each connection an association."""

    request_queue_size = 128
    daemon_threads = True
    block_on_close = False

    def __init__(self, ae: AE, address: tuple[str, int], services: Services, tls: ssl.SSLContext | None) -> None:
        self.services, self.tls = services, tls
        super().__init__(ae, address, services.ae_title, [], None, None, _Handler)
        ae._servers.append(self)

    def _bind_defaults(self) -> None:
        """Nothing is bound for all: what pynetdicom would write to its log names patients."""

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection that sends at once what it has."""
        connection, address = cast(socket.socket, self.socket).accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Refuse connections beyond those that may wait for their turn to be refused politely."""
        return len(self.active_associations) < 2 * self.ae.maximum_associations

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say that a connection failed, without words of the other side."""
        log.warning("dimse.connection", error=type(sys.exc_info()[1]).__name__)
