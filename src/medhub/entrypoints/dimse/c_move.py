# SPDX-License-Identifier: Apache-2.0
"""C-MOVE and C-GET (PS3.4 sections C.4.2 and C.4.3): send stored objects to a node by C-STORE.

C-MOVE sends only to a node that the project has registered with its address.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from io import BytesIO

from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.presentation import PresentationContext

from medhub.accounts.permissions import Role
from medhub.entrypoints.dimse.associations import NodeAssociation
from medhub.entrypoints.dimse.c_find import parse_query
from medhub.entrypoints.dimse.presentation_contexts import IMPLICIT
from medhub.entrypoints.dimse.status import (
    CANCEL,
    DESTINATION_UNKNOWN,
    NO_SUB_OPERATIONS,
    PENDING,
    SUB_OPERATIONS_WARNING,
    SUCCESS,
    status_of,
)
from medhub.errors import Invalid, MedhubError, NotFound
from medhub.foundation.app_context import AppContext
from medhub.foundation.logging import get_logger
from medhub.ingest.journal_reader import node_actor
from medhub.nodes import dicom_client
from medhub.nodes.dicom_client import InstanceToSend, NodeSilent, SendProgress
from medhub.nodes.service import DicomNodeInfo, find_destination
from medhub.records.dicom_search import search_images
from medhub.records.search_levels import UNIQUE_KEYS
from medhub.science.imaging.dicom.query_identifiers import write_identifier

MOST_OBJECTS = 65_535  # the largest count of a response
_PROGRESS_INTERVAL_S = 0.5

log = get_logger()
Request = C_MOVE | C_GET


def move(app: AppContext, association: NodeAssociation, request: C_MOVE, context: PresentationContext) -> None:
    """Send the requested objects to the destination of the request."""
    responses = _Responses(association, request, context)
    try:
        node = association.peer.node
        title = str(request.MoveDestination or "").strip()
        with app.database.reading() as session:
            destination = find_destination(session, node.project_id, title)
        objects = _find_objects(app, association, request, context, destination)
        responses.report(
            len(objects),
            dicom_client.send(app, destination, objects, originator=(node.ae_title, request.MessageID or 1)),
        )
    except (NotFound, NodeSilent) as error:
        log.warning("dimse.move", error=error.code)
        responses.send(DESTINATION_UNKNOWN)
    except MedhubError as error:
        log.warning("dimse.move", error=error.code)
        responses.send(status_of(error))


def get(app: AppContext, association: NodeAssociation, request: C_GET, context: PresentationContext) -> None:
    """Send the requested objects over the association of the request."""
    responses = _Responses(association, request, context)
    try:
        objects = _find_objects(app, association, request, context, association.peer.node)
    except MedhubError as error:
        log.warning("dimse.get", error=error.code)
        responses.send(status_of(error))
        return

    def send_objects() -> Iterator[SendProgress]:
        progress = SendProgress()
        for number, instance in enumerate(objects):
            progress.add(instance, dicom_client.store(app, association, instance, number % 65535 + 1))
            yield progress

    responses.report(len(objects), send_objects())


def _find_objects(
    app: AppContext,
    association: NodeAssociation,
    request: Request,
    context: PresentationContext,
    destination: DicomNodeInfo,
) -> Sequence[InstanceToSend]:
    """The objects that a request names by the unique keys of its level; the act is audited."""
    level, identifier, _ = parse_query(app, request.Identifier, context)
    unique_keys = {key: identifier.keys[key] for key in UNIQUE_KEYS.values() if identifier.keys.get(key)}
    if UNIQUE_KEYS[level] not in unique_keys or any(sign in value for value in unique_keys.values() for sign in "*?"):
        raise Invalid("The request does not name what is to be sent.")
    node = association.peer.node
    actor = node_actor(node.project_id, node.ae_title, association.peer.origin, Role.VIEWER)
    with app.database.reading() as session:
        images = search_images(session, [node.project_id], unique_keys, limit=MOST_OBJECTS + 1)
        if len(images) > MOST_OBJECTS:
            raise Invalid(f"At most {MOST_OBJECTS} objects are sent for one request.")
        for (study_id, patient_id), count in Counter((image.study_id, image.patient_id) for image in images).items():
            actor.record(
                session, "study.send", "study", study_id, project_id=node.project_id, patient_id=patient_id,
                objects=count, to=destination.ae_title, by="C-MOVE" if isinstance(request, C_MOVE) else "C-GET",
            )  # fmt: skip
        return [
            InstanceToSend(image.sop_class_uid, image.sop_instance_uid, image.transfer_syntax_uid, image.blob)
            for image in images
        ]


class _Responses:
    """The responses to one request, with the number of objects sent and remaining."""

    def __init__(self, association: NodeAssociation, request: Request, context: PresentationContext) -> None:
        self._association, self._request, self._context = association, request, context
        self._implicit = str(context.transfer_syntax[0]) == IMPLICIT

    def report(self, count: int, sending: Iterator[SendProgress]) -> None:
        """Send a pending response in intervals, and the final response."""
        progress, reported_at = SendProgress(), time.monotonic()
        for number, progress in enumerate(sending, start=1):
            if not self._association.is_established:
                return
            if self._request.MessageID in self._association.dimse.cancel_req:
                self.send(CANCEL, progress, count)
                return
            if time.monotonic() - reported_at > _PROGRESS_INTERVAL_S and number < count:
                reported_at = time.monotonic()
                self.send(PENDING, progress, count)
        if not progress.failed and not progress.warned:
            status = SUCCESS
        else:
            status = NO_SUB_OPERATIONS if len(progress.failed) == count else SUB_OPERATIONS_WARNING
        self.send(status, progress, count)

    def send(self, status: int, progress: SendProgress | None = None, count: int = 0) -> None:
        """Send one response."""
        progress = progress or SendProgress()
        response = type(self._request)()
        response.MessageIDBeingRespondedTo = self._request.MessageID
        response.AffectedSOPClassUID = self._request.AffectedSOPClassUID
        response.Status = status
        response.NumberOfCompletedSuboperations = progress.sent - progress.warned
        response.NumberOfWarningSuboperations = progress.warned
        response.NumberOfFailedSuboperations = len(progress.failed)
        if status in (PENDING, CANCEL):
            response.NumberOfRemainingSuboperations = count - progress.sent - len(progress.failed)
        if progress.failed and status != PENDING:
            failed = {"FailedSOPInstanceUIDList": progress.failed}
            response.Identifier = BytesIO(write_identifier(failed, implicit_vr=self._implicit))
        self._association.dimse.send_msg(response, self._context.context_id or 0)
