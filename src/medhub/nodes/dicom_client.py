# SPDX-License-Identifier: Apache-2.0
"""Calling other DICOM nodes: C-ECHO to see whether one answers, C-STORE to send it objects as they are stored.

An object leaves in the transfer syntax that it lies in where the node takes that one. Otherwise it is rewritten, in a
process apart, to one that every node takes (implicit VR, little endian); lossily compressed pixels stay what they are
in value.
"""

from __future__ import annotations

import logging
import socket
import ssl
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, cast

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.transport import AddressInformation, AssociationSocket

from medhub.errors import Invalid, MedhubError, Unavailable
from medhub.foundation.app_context import AppContext
from medhub.foundation.settings import Settings
from medhub.nodes.service import DicomNodeInfo
from medhub.science.imaging.codecs.transcoding import transcode

# pynetdicom would write what is sent and queried to the log.
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)
_config.LOG_HANDLER_LEVEL = "none"
_config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False

CONNECT_S = 10.0
ANSWER_S = 60.0
_MOST_CONTEXTS = 128
_VERIFICATION = "1.2.840.10008.1.1"
_WARNINGS = range(0xB000, 0xC000)


class NodeSilent(Unavailable):
    """A node does not answer, or refuses the association."""

    code = "node-silent"


@dataclass
class StoreAssociation:
    """What became of objects that were sent."""

    sent: int = 0
    warned: int = 0  # taken, with a warning
    failed: list[str] = field(default_factory=list)  # SOP instance UIDs


@dataclass(frozen=True)
class StoreResult:
    """A stored object, as it is sent."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    blob: str


def tls_to_nodes(settings: Settings) -> ssl.SSLContext:
    """How this installation speaks TLS to nodes: it checks their certificates, and shows its own if it has one."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=settings.dicom_tls_ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.dicom_tls_certificate is not None:
        context.load_cert_chain(settings.dicom_tls_certificate, settings.dicom_tls_key)
    return context


@contextmanager
def called(
    settings: Settings, node: DicomNodeInfo, contexts: Sequence[PresentationContext], *, calling: str | None = None
) -> Iterator[Association]:
    """An association with a node; raises ``NodeSilent`` where there is none."""
    if not node.host or not node.port:
        raise Invalid("Nobody has said where this node is reached. Give it a host and a port.", field="host")
    ae = _Caller(calling or settings.dicom_ae_title)
    ae.connection_timeout = ae.acse_timeout = CONNECT_S
    ae.dimse_timeout = ae.network_timeout = ANSWER_S
    try:
        association = ae.associate(
            node.host,
            node.port,
            list(contexts),
            ae_title=node.ae_title,
            tls_args=(tls_to_nodes(settings), node.host) if node.tls else None,
            max_pdu=0,
        )
    except (OSError, ValueError) as error:
        raise NodeSilent(_SILENT, how=type(error).__name__) from error
    if not association.is_established:
        raise NodeSilent(
            "The node refuses the association: it does not know our AE title, or not its own."
            if association.is_rejected
            else _SILENT
        )
    try:
        yield association
    except BaseException:
        association.abort()
        raise
    if association.is_established:
        association.release()


_SILENT = "The node does not answer. Check host, port, TLS and that it runs."


class _Connection(AssociationSocket):
    """A connection that sends at once what it has, and that is closed when it fails."""

    def _create_socket(self, address: AddressInformation) -> socket.socket:
        connection = super()._create_socket(address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _shutdown_socket(self) -> None:
        connection = self.socket
        super()._shutdown_socket()  # gives up where nothing is connected yet
        if connection is not None:
            connection.close()


class _Caller(AE):
    """What this installation calls others with."""

    def _create_socket(
        self, assoc: Association, address: AddressInformation, tls_args: tuple[ssl.SSLContext, str] | None
    ) -> AssociationSocket:
        connection = _Connection(assoc, address=address)
        connection.tls_args = tls_args
        return connection


def echo(settings: Settings, node: DicomNodeInfo) -> None:
    """Ask a node whether it answers; raises ``NodeSilent`` where it does not."""
    with called(settings, node, [build_context(_VERIFICATION)], calling=node.called_ae) as association:
        status = association.send_c_echo()
        if getattr(status, "Status", None) != 0:
            raise NodeSilent("The node takes the association, but does not answer C-ECHO with success.")


def contexts_for(objects: Sequence[StoreResult]) -> list[PresentationContext]:
    """What is proposed to send objects: each class in the syntaxes that they lie in, and in those of everybody."""
    wanted = dict.fromkeys((one.sop_class_uid, one.transfer_syntax_uid) for one in objects)
    contexts = [build_context(sop_class, syntax) for sop_class, syntax in wanted]
    classes = dict.fromkeys(sop_class for sop_class, _ in wanted)
    contexts += [build_context(one, [ExplicitVRLittleEndian, ImplicitVRLittleEndian]) for one in classes]
    return contexts[:_MOST_CONTEXTS]


def send(
    app: AppContext, node: DicomNodeInfo, objects: Sequence[StoreResult], *, originator: tuple[str, int] | None = None
) -> Iterator[StoreAssociation]:
    """Send stored objects to a node over one association; gives what has become of them after each."""
    told = StoreAssociation()
    with called(app.settings, node, contexts_for(objects)) as association:
        for message_id, one in enumerate(objects):
            note(told, one, store(app, association, one, message_id % 65535 + 1, originator))
            yield told


def note(told: StoreAssociation, one: StoreResult, status: int | None) -> None:
    """Count what became of one object, by the status that its receiver answered."""
    if status == 0 or status in _WARNINGS:
        told.sent += 1
        told.warned += status != 0
    else:
        told.failed.append(one.sop_instance_uid)


def store(
    app: AppContext,
    association: Association,
    one: StoreResult,
    message_id: int,
    originator: tuple[str, int] | None = None,
) -> int | None:
    """Send one object over an association; gives the status, or ``None`` where it cannot be sent."""
    context = _context_for(association, one)
    if context is None or not association.is_established:
        return None
    try:
        data = app.blobs.get(one.blob)
        syntax = str(context.transfer_syntax[0])
        data = data_set_of(data) if syntax == one.transfer_syntax_uid else app.isolation.run(transcode, data, syntax)
    except MedhubError:
        return None
    request = C_STORE()
    request.MessageID, request.Priority = message_id, 0
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = one.sop_class_uid, one.sop_instance_uid
    if originator is not None:
        request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID = originator
    request.DataSet = BytesIO(data)
    return _ask(association, request, cast(int, context.context_id))


def _ask(association: Association, request: C_STORE, context_id: int) -> int | None:
    """Send a request and wait for its answer; the association's own thread keeps still meanwhile."""
    association._reactor_checkpoint.clear()
    try:
        while not association._is_paused and association.is_alive():
            wait_for_pause(association)
        association.dimse.send_msg(request, context_id)
        _, answer = association.dimse.get_msg(block=True)
    finally:
        association._reactor_checkpoint.set()
    status = getattr(answer, "Status", None)
    if answer is None:
        association.abort()
    return status if isinstance(answer, C_STORE) and isinstance(status, int) else None


def wait_for_pause(association: Any) -> None:
    """Wait a moment for an association's own thread."""
    notice = getattr(association, "notice", None)
    if notice is not None:
        notice()
    association.join(0.0005)


def _context_for(association: Association, one: StoreResult) -> PresentationContext | None:
    """By which accepted context an object is sent: in its own syntax where that was taken."""
    taken = [
        context
        for context in association.accepted_contexts
        if context.abstract_syntax == one.sop_class_uid and context.as_scu
    ]
    own = [context for context in taken if context.transfer_syntax[0] == one.transfer_syntax_uid]
    plain = [
        context for context in taken if context.transfer_syntax[0] in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    ]
    return next(iter(own + plain), None)


def data_set_of(stored: bytes) -> bytes:
    """What lies behind preamble and file meta information of a file that Medhub wrote (PS3.10 section 7.1)."""
    group, element, _, length, size = struct.unpack_from("<HH2sHI", stored, 132)
    if stored[128:132] != b"DICM" or (group, element, length) != (2, 0, 4):
        raise Invalid("This stored file does not begin as it should. Restore it from a backup.")
    return stored[144 + size :]


def uid_of(stored: bytes) -> str:
    """The SOP Instance UID of a file that Medhub wrote, from its file meta information."""
    at = stored.find(b"\x02\x00\x03\x00UI", 132, 400)
    (length,) = struct.unpack_from("<H", stored, at + 6)
    return stored[at + 8 : at + 8 + length].rstrip(b"\0 ").decode("ascii") if at >= 0 else ""
