# SPDX-License-Identifier: Apache-2.0
"""Storage commitment (PS3.4 annex J): which objects are safely in the archive, by the UIDs of their sender.

A node asks by N-ACTION. What it sent before is imported first; then the result goes out by N-EVENT-REPORT, over the
same association if it is still open, and otherwise over a new one to the registered address of the node.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Any

from pynetdicom import build_context, build_role
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_EVENT_REPORT

from medhub.accounts.permissions import Role
from medhub.entrypoints.dimse.associations import AssociatedNode, NodeAssociation
from medhub.entrypoints.dimse.presentation_contexts import COMMITMENT, COMMITMENT_INSTANCE, IMPLICIT, PLAIN_SYNTAXES
from medhub.entrypoints.dimse.status import (
    CLASS_CONFLICT,
    INVALID_ARGUMENT,
    NO_SUCH_ACTION,
    NO_SUCH_INSTANCE,
    NOT_AUTHORIZED,
    PROCESSING_FAILURE,
    RESOURCE_LIMITATION,
    SUCCESS,
)
from medhub.errors import MedhubError
from medhub.foundation.app_context import AppContext
from medhub.foundation.logging import get_logger
from medhub.ingest.journal_reader import SendingNode, node_actor
from medhub.ingest.storage_commitment import Custody, find_custody
from medhub.nodes import dicom_client
from medhub.science.imaging.dicom.commitment_messages import (
    CommitmentRequest,
    read_commitment_request,
    write_commitment_result,
)

_REQUEST_ACTION, _ALL_COMMITTED, _SOME_FAILED = 1, 1, 2
_MOST_PENDING = 32
_PATIENCE_S = 600.0
_ATTEMPTS, _PAUSE_S = 3, 10.0
_REASONS: dict[Custody, int] = {
    "quarantined": PROCESSING_FAILURE,
    "other-class": CLASS_CONFLICT,
    "unknown": NO_SUCH_INSTANCE,
}

log = get_logger()


class Commitments:
    """Requests for storage commitment that are being answered, each by a thread."""

    def __init__(self, app: AppContext, wait_until_ingested: Callable[[SendingNode, float], bool]) -> None:
        self._app, self._wait = app, wait_until_ingested
        self._free = threading.Semaphore(_MOST_PENDING)

    def request(self, association: NodeAssociation, event: Any) -> int:
        """Accept a request, and return the status of the response; the result follows."""
        request, peer = event.request, association.peer
        if not peer.node.may_store:
            return NOT_AUTHORIZED
        if str(request.RequestedSOPInstanceUID) != COMMITMENT_INSTANCE:
            return NO_SUCH_INSTANCE
        if request.ActionTypeID != _REQUEST_ACTION:
            return NO_SUCH_ACTION
        encoded = request.ActionInformation
        implicit = str(event.context.transfer_syntax) == IMPLICIT
        try:
            if encoded is None:
                return INVALID_ARGUMENT
            named = self._app.isolation.run(read_commitment_request, encoded.getvalue(), implicit_vr=implicit)
        except MedhubError:
            return INVALID_ARGUMENT
        if not self._free.acquire(blocking=False):
            return RESOURCE_LIMITATION
        context_id = int(event.context.context_id)
        arguments = (association, peer, context_id, named, implicit)
        threading.Thread(target=self._answer, args=arguments, name="commitment", daemon=True).start()
        return SUCCESS

    def _answer(
        self,
        association: NodeAssociation,
        peer: AssociatedNode,
        context_id: int,
        named: CommitmentRequest,
        implicit: bool,
    ) -> None:
        try:
            report = self._decide(peer, named)
            if association.is_established and _send(association, report(implicit), context_id):
                return
            self._send_by_new_association(peer, report)
        except Exception as error:
            log.error("dimse.commitment", error=type(error).__name__, exc_info=True)
        finally:
            self._free.release()

    def _decide(self, peer: AssociatedNode, named: CommitmentRequest) -> Callable[[bool], N_EVENT_REPORT]:
        """The result as a function of the encoding."""
        node = peer.node
        in_time = self._wait(SendingNode(node.project_id, node.ae_title, peer.origin), _PATIENCE_S)
        actor = node_actor(node.project_id, node.ae_title, peer.origin, Role.TECHNOLOGIST)
        with self._app.database.reading() as session:
            custody = find_custody(session, self._app.keys, node.project_id, named.references)
            stored = custody.count("stored")
            actor.record(
                session, "image.commit", "project", node.project_id, project_id=node.project_id,
                committed=stored, failed=len(custody) - stored,
            )  # fmt: skip
        reasons = {**_REASONS, "unknown": NO_SUCH_INSTANCE if in_time else RESOURCE_LIMITATION}
        pairs = list(zip(named.references, custody, strict=True))
        committed = [reference for reference, state in pairs if state == "stored"]
        failed = [(*reference, reasons[state]) for reference, state in pairs if state != "stored"]

        def report(implicit: bool) -> N_EVENT_REPORT:
            message = N_EVENT_REPORT()
            message.MessageID = 1
            message.AffectedSOPClassUID, message.AffectedSOPInstanceUID = COMMITMENT, COMMITMENT_INSTANCE
            message.EventTypeID = _SOME_FAILED if failed else _ALL_COMMITTED
            encoded = write_commitment_result(named.transaction_uid, committed, failed, implicit_vr=implicit)
            message.EventInformation = BytesIO(encoded)
            return message

        return report

    def _send_by_new_association(self, peer: AssociatedNode, report: Callable[[bool], N_EVENT_REPORT]) -> None:
        node = peer.node
        if not node.host or not node.port:
            log.warning("dimse.commitment-undelivered", node=node.ae_title, reason="no address")
            return
        contexts = [build_context(COMMITMENT, sorted(PLAIN_SYNTAXES))]
        role = build_role(COMMITMENT, scp_role=True)
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_PAUSE_S)
            with (
                suppress(MedhubError),
                dicom_client.open_association(
                    self._app.settings, node, contexts, calling=node.called_ae, roles=[role]
                ) as association,
            ):
                (context,) = association.accepted_contexts
                implicit = str(context.transfer_syntax[0]) == IMPLICIT
                if _send(association, report(implicit), int(context.context_id or 0)):
                    return
        log.warning("dimse.commitment-undelivered", node=node.ae_title, reason="no answer")


def _send(association: Association, message: N_EVENT_REPORT, context_id: int) -> bool:
    """Whether the node has received the result."""
    return dicom_client.send_request(association, message, context_id) == SUCCESS
