# SPDX-License-Identifier: Apache-2.0
"""Client of remote DICOM nodes: C-ECHO to test a connection, C-STORE to send stored objects.

An object is sent in the transfer syntax in which it is stored, if the node accepts it. Otherwise an isolated process
transcodes it to implicit or explicit VR, little endian, or else to a lossless compressed one that the node
accepts, without changing pixel values.
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
from pynetdicom.dimse_primitives import C_STORE, N_EVENT_REPORT
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.transport import AddressInformation, AssociationSocket

from medhub.errors import Invalid, MedhubError, Unavailable
from medhub.foundation.app_context import AppContext
from medhub.foundation.settings import Settings
from medhub.nodes.service import DicomNodeInfo
from medhub.science.imaging.codecs.transcoding import transcode
from medhub.science.imaging.rendering.lossless_transcoding import LOSSLESS_SYNTAXES, transcode_lossless

# pynetdicom would log what is sent and queried.
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)
_config.LOG_HANDLER_LEVEL = "none"
_config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False

CONNECT_S = 10.0
ANSWER_S = 60.0
_MOST_CONTEXTS = 128
_VERIFICATION = "1.2.840.10008.1.1"
_PLAIN = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
SENDABLE_SYNTAXES = frozenset((*_PLAIN, *LOSSLESS_SYNTAXES))
"""Transfer syntaxes in which an object is sent however it is stored, if they can hold it."""
_WARNINGS = range(0xB000, 0xC000)


class NodeSilent(Unavailable):
    """A node does not answer, or rejects the association."""

    code = "node-silent"


class NothingAccepted(NodeSilent):
    """A node answers, but accepts none of the proposed contexts."""

    code = "nothing-accepted"


@dataclass(frozen=True)
class InstanceToSend:
    """A stored object that is sent to a node."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    blob: str


@dataclass
class SendProgress:
    """The objects that were sent so far."""

    sent: int = 0
    warned: int = 0  # stored by the node, with a warning
    failed: list[str] = field(default_factory=list)  # SOP instance UIDs

    def add(self, instance: InstanceToSend, status: int | None) -> None:
        """Count an object by the status of its response."""
        if status == 0 or status in _WARNINGS:
            self.sent += 1
            self.warned += status != 0
        else:
            self.failed.append(instance.sop_instance_uid)


def client_tls(settings: Settings) -> ssl.SSLContext:
    """The TLS settings for remote nodes: their certificates are verified, our own is sent if there is one."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=settings.dicom_tls_ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.dicom_tls_certificate is not None:
        context.load_cert_chain(settings.dicom_tls_certificate, settings.dicom_tls_key)
    return context


@contextmanager
def open_association(
    settings: Settings,
    node: DicomNodeInfo,
    contexts: Sequence[PresentationContext],
    *,
    calling: str | None = None,
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
) -> Iterator[Association]:
    """Open an association with a node; raises ``NodeSilent`` where it fails."""
    if not node.host or not node.port:
        raise Invalid("This node has no address. Give it a host and a port.", field="host")
    ae = _ClientAE(calling or settings.dicom_ae_title)
    ae.connection_timeout = ae.acse_timeout = CONNECT_S
    ae.dimse_timeout = ae.network_timeout = ANSWER_S
    try:
        association = ae.associate(
            node.host,
            node.port,
            list(contexts),
            ae_title=node.ae_title,
            tls_args=(client_tls(settings), node.host) if node.tls else None,
            max_pdu=0,
            ext_neg=list(roles),
        )
    except (OSError, ValueError) as error:
        raise NodeSilent(_SILENT, how=type(error).__name__) from error
    if not association.is_established:
        if association.acceptor.primitive is not None and not association.is_rejected:
            raise NothingAccepted("The node accepts none of the offered classes in an offered transfer syntax.")
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
    """A connection without Nagle's algorithm, which is closed when it fails."""

    def _create_socket(self, address: AddressInformation) -> socket.socket:
        connection = super()._create_socket(address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _shutdown_socket(self) -> None:
        connection = self.socket
        super()._shutdown_socket()  # does nothing before the connection is established
        if connection is not None:
            connection.close()


class _ClientAE(AE):
    """The application entity of this installation as a client."""

    def _create_socket(
        self, assoc: Association, address: AddressInformation, tls_args: tuple[ssl.SSLContext, str] | None
    ) -> AssociationSocket:
        connection = _Connection(assoc, address=address)
        connection.tls_args = tls_args
        return connection


def echo(settings: Settings, node: DicomNodeInfo) -> None:
    """Test a node by C-ECHO; raises ``NodeSilent`` where it does not answer."""
    with open_association(settings, node, [build_context(_VERIFICATION)], calling=node.called_ae) as association:
        status = association.send_c_echo()
        if getattr(status, "Status", None) != 0:
            raise NodeSilent("The node takes the association, but does not answer C-ECHO with success.")


def contexts_for(instances: Sequence[InstanceToSend]) -> list[PresentationContext]:
    """The contexts to propose: each SOP class in the stored transfer syntaxes, in plain and in lossless ones."""
    pairs = dict.fromkeys((instance.sop_class_uid, instance.transfer_syntax_uid) for instance in instances)
    contexts = [build_context(sop_class, syntax) for sop_class, syntax in pairs]
    classes = dict.fromkeys(sop_class for sop_class, _ in pairs)
    contexts += [build_context(sop_class, list(_PLAIN)) for sop_class in classes]
    # Some nodes accept compressed images alone.
    contexts += [build_context(sop_class, list(LOSSLESS_SYNTAXES)) for sop_class in classes]
    return contexts[:_MOST_CONTEXTS]


def send(
    app: AppContext,
    node: DicomNodeInfo,
    instances: Sequence[InstanceToSend],
    *,
    originator: tuple[str, int] | None = None,
) -> Iterator[SendProgress]:
    """Send stored objects to a node over one association; yields the progress after each.

    Without objects there is nothing to negotiate, and no association is opened.
    """
    if not instances:
        return
    progress = SendProgress()
    try:
        with open_association(app.settings, node, contexts_for(instances)) as association:
            for message_id, instance in enumerate(instances):
                progress.add(instance, store(app, association, instance, message_id % 65535 + 1, originator))
                yield progress
    except NothingAccepted:
        for instance in instances:
            progress.add(instance, None)
            yield progress


def store(
    app: AppContext,
    association: Association,
    instance: InstanceToSend,
    message_id: int,
    originator: tuple[str, int] | None = None,
) -> int | None:
    """Send one object over an association; returns the status, or ``None`` where it cannot be sent."""
    context = _context_for(association, instance)
    if context is None or not association.is_established:
        return None
    try:
        data = app.blobs.get(instance.blob)
        syntax = str(context.transfer_syntax[0])
        if syntax == instance.transfer_syntax_uid:
            data = data_set_of(data)
        elif syntax in _PLAIN:
            data = app.isolation.run(transcode, data, syntax)
        else:
            data = data_set_of(app.isolation.run(transcode_lossless, data, syntax))
    except MedhubError:
        return None
    request = C_STORE()
    request.MessageID, request.Priority = message_id, 0
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = instance.sop_class_uid, instance.sop_instance_uid
    if originator is not None:
        request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID = originator
    request.DataSet = BytesIO(data)
    return send_request(association, request, cast(int, context.context_id))


def send_request(association: Association, request: C_STORE | N_EVENT_REPORT, context_id: int) -> int | None:
    """Send a request and wait for its response, while the thread of the association is paused; returns the status."""
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
    return status if isinstance(answer, type(request)) and isinstance(status, int) else None


def wait_for_pause(association: Any) -> None:
    """Wait a moment until the thread of an association is paused."""
    wake = getattr(association, "wake", None)
    if wake is not None:
        wake()
    association.join(0.0005)


def _context_for(association: Association, instance: InstanceToSend) -> PresentationContext | None:
    """The accepted context for an object: with its stored transfer syntax, a plain one, or a lossless one."""
    accepted = {
        str(context.transfer_syntax[0]): context
        for context in reversed(association.accepted_contexts)
        if context.abstract_syntax == instance.sop_class_uid and context.as_scu
    }
    preferred = (instance.transfer_syntax_uid, *_PLAIN, *LOSSLESS_SYNTAXES)
    return next((accepted[syntax] for syntax in preferred if syntax in accepted), None)


def data_set_of(stored: bytes) -> bytes:
    """The data set of a file that Medhub wrote, without preamble and file meta information (PS3.10 section 7.1)."""
    group, element, _, length, size = struct.unpack_from("<HH2sHI", stored, 132)
    if stored[128:132] != b"DICM" or (group, element, length) != (2, 0, 4):
        raise Invalid("This stored file does not begin as it should. Restore it from a backup.")
    return stored[144 + size :]


def uid_of(stored: bytes) -> str:
    """The SOP Instance UID of a file that Medhub wrote, from its file meta information."""
    offset = stored.find(b"\x02\x00\x03\x00UI", 132, 400)
    (length,) = struct.unpack_from("<H", stored, offset + 6)
    return stored[offset + 8 : offset + 8 + length].rstrip(b"\0 ").decode("ascii") if offset >= 0 else ""
