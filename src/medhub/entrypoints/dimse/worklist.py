# SPDX-License-Identifier: Apache-2.0
"""Modality worklist (C-FIND) and performed procedure steps (N-CREATE, N-SET) for nodes that may read the worklist."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from pydicom import Dataset
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.presentation import PresentationContext

from medhub.accounts.permissions import Role
from medhub.entrypoints.dimse.associations import AssociatedNode, NodeAssociation
from medhub.entrypoints.dimse.c_find import find_response
from medhub.entrypoints.dimse.presentation_contexts import IMPLICIT
from medhub.entrypoints.dimse.status import (
    ATTRIBUTE_MISSING,
    CANCEL,
    DUPLICATE_INSTANCE,
    INVALID_INSTANCE,
    INVALID_VALUE,
    NO_SUCH_INSTANCE,
    NOT_AUTHORIZED,
    PENDING,
    PROCESSING_FAILURE,
    SUCCESS,
    status_of,
)
from medhub.errors import Invalid, MedhubError
from medhub.foundation.app_context import AppContext
from medhub.foundation.logging import get_logger
from medhub.ingest.journal_reader import node_actor
from medhub.science.imaging.dicom.worklist_identifiers import (
    STEP_SEQUENCE,
    PerformedStepAttributes,
    WorklistQuery,
    read_performed_step,
    read_worklist_query,
    write_worklist_entry,
)
from medhub.worklist import performed_steps
from medhub.worklist.entries import WorklistEntry, find_entries
from medhub.worklist.performed_steps import NoSuchStep, StepEnded, StepExists, StepState

_MAY_NO_LONGER_BE_UPDATED = 0xA710  # an error id (PS3.4, F.7.2.2.2)

log = get_logger()


def find_worklist(app: AppContext, association: NodeAssociation, request: C_FIND, context: PresentationContext) -> None:
    """Answer a query of the modality worklist, one response an entry; each names a patient and is audited."""
    node = association.peer.node
    actor = node_actor(node.project_id, node.ae_title, association.peer.origin, Role.TECHNOLOGIST)
    implicit = str(context.transfer_syntax[0]) == IMPLICIT
    try:
        query = _parse_query(app, request.Identifier, implicit=implicit)
        with app.database.reading() as session:
            entries = list(
                find_entries(
                    session,
                    app.keys,
                    node.project_id,
                    calling=node.ae_title,
                    matching=query.keys,
                    step_matching=query.step_keys or {},
                )
            )
            actor.record(
                session, "worklist.list", "worklist", None, project_id=node.project_id, by="C-FIND",
                found=len(entries), keys=sorted({*query.keys, *(query.step_keys or {})}),
            )  # fmt: skip
            for entry in entries:
                actor.record(
                    session, "identity.read", "patient", entry.patient_id, project_id=node.project_id,
                    patient_id=entry.patient_id, by="worklist", to=node.ae_title,
                )  # fmt: skip
        for entry in entries:
            if request.MessageID in association.dimse.cancel_req:
                find_response(association, request, context, CANCEL)
                return
            if not association.is_established:
                return
            find_response(association, request, context, PENDING, _encode(entry, query, implicit=implicit))
    except MedhubError as error:
        log.warning("dimse.worklist", error=error.code)
        find_response(association, request, context, status_of(error))
        return
    find_response(association, request, context, SUCCESS)


def _parse_query(app: AppContext, encoded: BytesIO | None, *, implicit: bool) -> WorklistQuery:
    if encoded is None:
        raise Invalid("The query has no identifier.")
    try:
        return app.isolation.run(read_worklist_query, encoded.getvalue(), implicit_vr=implicit)
    except ValueError as error:
        raise Invalid("The query cannot be read.") from error


def _encode(entry: WorklistEntry, query: WorklistQuery, *, implicit: bool) -> bytes:
    """An entry with the attributes that the query names, and the study UID; an empty step item names all of a step."""
    values = {keyword: _values(entry.values, keyword) for keyword in (*query.keys, "StudyInstanceUID")}
    step = None
    if query.step_keys is not None:
        step = {keyword: _values(entry.step, keyword) for keyword in query.step_keys or entry.step}
    values.pop(STEP_SEQUENCE, None)
    return write_worklist_entry(values, step, query.character_sets, implicit_vr=implicit)


def _values(values: Any, keyword: str) -> list[str]:
    text = values.get(keyword, "")
    return [text] if text else []


def create_step(app: AppContext, peer: AssociatedNode, event: Any) -> tuple[Any, None]:
    """Answer an N-CREATE of a performed procedure step."""
    request = event.request
    uid = str(request.AffectedSOPInstanceUID or "")
    if not uid:
        return INVALID_INSTANCE, None
    return _perform(app, peer, event, uid, request.AttributeList, is_new=True), None


def change_step(app: AppContext, peer: AssociatedNode, event: Any) -> tuple[Any, None]:
    """Answer an N-SET of a performed procedure step."""
    request = event.request
    return _perform(app, peer, event, str(request.RequestedSOPInstanceUID), request.ModificationList), None


def _perform(
    app: AppContext, peer: AssociatedNode, event: Any, uid: str, encoded: BytesIO | None, *, is_new: bool = False
) -> Any:
    node = peer.node
    if not node.may_read_worklist:
        return NOT_AUTHORIZED
    implicit = str(event.context.transfer_syntax) == IMPLICIT
    actor = node_actor(node.project_id, node.ae_title, peer.origin, Role.TECHNOLOGIST)
    try:
        attributes = PerformedStepAttributes()
        if encoded is not None:
            attributes = app.isolation.run(read_performed_step, encoded.getvalue(), implicit_vr=implicit)
        if is_new and not attributes.status:
            return ATTRIBUTE_MISSING
        change = performed_steps.create_step if is_new else performed_steps.change_step
        with app.database.writing() as session:
            change(session, app.keys, actor, node.project_id, uid, attributes)
    except StepExists:
        return DUPLICATE_INSTANCE
    except NoSuchStep:
        return NO_SUCH_INSTANCE
    except StepState:
        return INVALID_VALUE
    except StepEnded:
        status = Dataset()
        status.Status, status.ErrorID = PROCESSING_FAILURE, _MAY_NO_LONGER_BE_UPDATED
        return status
    except MedhubError as error:
        log.warning("dimse.step", error=error.code)
        return PROCESSING_FAILURE
    return SUCCESS
