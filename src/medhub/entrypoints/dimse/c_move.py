# SPDX-License-Identifier: Apache-2.0
"""C-MOVE and C-GET (PS3.4 sections C.4.2 and C.4.3): stored objects leave to a node, by C-STORE as its user.

They go by C-MOVE to a node that the project knows with its address, never to one that a request describes.
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
from medhub.entrypoints.dimse.c_find import asked
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
from medhub.nodes.dicom_client import NodeSilent, StoreAssociation, StoreResult
from medhub.nodes.service import DicomNodeInfo, find_destination
from medhub.records.dicom_search import search_images
from medhub.records.search_levels import UNIQUE_KEYS
from medhub.science.imaging.dicom.query_identifiers import write_identifier

MOST_OBJECTS = 65_535  # more cannot be counted in an answer
_TELL_S = 0.5

log = get_logger()
Request = C_MOVE | C_GET


def move(app: AppContext, association: NodeAssociation, request: C_MOVE, context: PresentationContext) -> None:
    """Send what a node asks for to a node that it names."""
    telling = _Telling(association, request, context)
    try:
        node = association.calling.node
        title = str(request.MoveDestination or "").strip()
        with app.database.reading() as session:
            destination = find_destination(session, node.project_id, title)
        objects = _chosen(app, association, request, context, destination)
        telling.tell(
            len(objects),
            dicom_client.send(app, destination, objects, originator=(node.ae_title, request.MessageID or 1)),
        )
    except (NotFound, NodeSilent) as error:
        log.warning("dimse.move", error=error.code)
        telling.answer(DESTINATION_UNKNOWN)
    except MedhubError as error:
        log.warning("dimse.move", error=error.code)
        telling.answer(status_of(error))


def get(app: AppContext, association: NodeAssociation, request: C_GET, context: PresentationContext) -> None:
    """Send what a node asks for over the association by which it asks."""
    telling = _Telling(association, request, context)
    try:
        objects = _chosen(app, association, request, context, association.calling.node)
    except MedhubError as error:
        log.warning("dimse.get", error=error.code)
        telling.answer(status_of(error))
        return

    def each() -> Iterator[StoreAssociation]:
        told = StoreAssociation()
        for number, one in enumerate(objects):
            dicom_client.note(told, one, dicom_client.store(app, association, one, number % 65535 + 1))
            yield told

    telling.tell(len(objects), each())


def _chosen(
    app: AppContext,
    association: NodeAssociation,
    request: Request,
    context: PresentationContext,
    destination: DicomNodeInfo,
) -> Sequence[StoreResult]:
    """The objects that a request names by the unique keys of its level; that they leave is recorded."""
    level, identifier, _ = asked(app, request.Identifier, context)
    wanted = {key: identifier.keys[key] for key in UNIQUE_KEYS.values() if identifier.keys.get(key)}
    if UNIQUE_KEYS[level] not in wanted or any(sign in value for value in wanted.values() for sign in "*?"):
        raise Invalid("The request does not name what is to be sent.")
    node = association.calling.node
    actor = node_actor(node.project_id, node.ae_title, association.calling.origin, Role.VIEWER)
    with app.database.reading() as session:
        images = search_images(session, [node.project_id], wanted, limit=MOST_OBJECTS + 1)
        if len(images) > MOST_OBJECTS:
            raise Invalid(f"At most {MOST_OBJECTS} objects are sent for one request.")
        for (study_id, patient_id), count in Counter((one.study_id, one.patient_id) for one in images).items():
            actor.record(
                session, "study.send", "study", study_id, project_id=node.project_id, patient_id=patient_id,
                objects=count, to=destination.ae_title, by="C-MOVE" if isinstance(request, C_MOVE) else "C-GET",
            )  # fmt: skip
        return [
            StoreResult(one.sop_class_uid, one.sop_instance_uid, one.transfer_syntax_uid, one.blob) for one in images
        ]


class _Telling:
    """Answers to one request: how many are sent, how many are left."""

    def __init__(self, association: NodeAssociation, request: Request, context: PresentationContext) -> None:
        self._association, self._request, self._context = association, request, context
        self._implicit = str(context.transfer_syntax[0]) == IMPLICIT

    def tell(self, count: int, sending: Iterator[StoreAssociation]) -> None:
        """Tell how far the sending is, now and then, and at its end."""
        told, at = StoreAssociation(), time.monotonic()
        for number, told in enumerate(sending, start=1):
            if not self._association.is_established:
                return
            if self._request.MessageID in self._association.dimse.cancel_req:
                self.answer(CANCEL, told, count)
                return
            if time.monotonic() - at > _TELL_S and number < count:
                at = time.monotonic()
                self.answer(PENDING, told, count)
        if not told.failed and not told.warned:
            status = SUCCESS
        else:
            status = NO_SUB_OPERATIONS if len(told.failed) == count else SUB_OPERATIONS_WARNING
        self.answer(status, told, count)

    def answer(self, status: int, told: StoreAssociation | None = None, count: int = 0) -> None:
        """Send one response."""
        told = told or StoreAssociation()
        response = type(self._request)()
        response.MessageIDBeingRespondedTo = self._request.MessageID
        response.AffectedSOPClassUID = self._request.AffectedSOPClassUID
        response.Status = status
        response.NumberOfCompletedSuboperations = told.sent - told.warned
        response.NumberOfWarningSuboperations = told.warned
        response.NumberOfFailedSuboperations = len(told.failed)
        if status in (PENDING, CANCEL):
            response.NumberOfRemainingSuboperations = count - told.sent - len(told.failed)
        if told.failed and status != PENDING:
            failed = {"FailedSOPInstanceUIDList": told.failed}
            response.Identifier = BytesIO(write_identifier(failed, implicit_vr=self._implicit))
        self._association.dimse.send_msg(response, self._context.context_id or 0)
