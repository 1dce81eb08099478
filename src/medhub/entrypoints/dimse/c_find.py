# SPDX-License-Identifier: Apache-2.0
"""C-FIND (PS3.4 section C.4.1): patients, studies, series and images that match the keys of a node."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

from pydicom.uid import UID
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.presentation import PresentationContext

from medhub.accounts.permissions import Role
from medhub.entrypoints.dimse.associations import NodeAssociation
from medhub.entrypoints.dimse.extended_negotiation import query_options
from medhub.entrypoints.dimse.presentation_contexts import IMPLICIT, STUDY_ROOT
from medhub.entrypoints.dimse.status import CANCEL, PENDING, SUCCESS, status_of
from medhub.errors import Invalid, MedhubError
from medhub.foundation.app_context import AppContext
from medhub.foundation.logging import get_logger
from medhub.ingest.ingest_settings import settings_of
from medhub.ingest.journal_reader import node_actor
from medhub.records import dicom_search
from medhub.records.search_levels import Level
from medhub.science.imaging.dicom.query_identifiers import Identifier, read_identifier, write_identifier

PAGE = 200
_LEVELS: Mapping[str, Level] = {
    "PATIENT": "patient",
    "STUDY": "study",
    "SERIES": "series",
    "IMAGE": "image",
}
log = get_logger()


def parse_query(
    app: AppContext, encoded: BytesIO | None, context: PresentationContext
) -> tuple[Level, Identifier, bool]:
    """Parse a query in an isolated process: its level, its identifier, and whether it has implicit VR.

    Raises ``Invalid`` where it is no valid query of its information model.
    """
    implicit = str(context.transfer_syntax[0]) == IMPLICIT
    if encoded is None:
        raise Invalid("The query has no identifier.")
    try:
        identifier = app.isolation.run(read_identifier, encoded.getvalue(), implicit_vr=implicit)
    except ValueError as error:
        raise Invalid("The query cannot be read.") from error
    level = _LEVELS.get(identifier.level)
    if level is None or (level == "patient" and str(context.abstract_syntax) in STUDY_ROOT):
        raise Invalid("The query has no level of its model.")
    return level, identifier, implicit


def find_response(
    association: NodeAssociation,
    request: C_FIND,
    context: PresentationContext,
    status: int,
    identifier: bytes | None = None,
) -> None:
    """Send one response to a C-FIND request."""
    response = C_FIND()
    response.MessageIDBeingRespondedTo = request.MessageID
    response.AffectedSOPClassUID = request.AffectedSOPClassUID
    response.Status = status
    if identifier is not None:
        response.Identifier = BytesIO(identifier)
    association.dimse.send_msg(response, context.context_id or 0)


def find(app: AppContext, association: NodeAssociation, request: C_FIND, context: PresentationContext) -> None:
    """Answer a C-FIND request, one response a match."""
    node = association.peer.node
    actor = node_actor(node.project_id, node.ae_title, association.peer.origin, Role.VIEWER)
    options = query_options(association.requestor.sop_class_extended.get(UID(str(context.abstract_syntax)), b""))
    try:
        level, identifier, implicit = parse_query(app, request.Identifier, context)
        offset, more = 0, True
        while more:
            with app.database.reading() as session:
                attributes = settings_of(session, node.project_id).attributes
                results = dicom_search.search(
                    session,
                    [node.project_id],
                    level,
                    identifier.keys,
                    extra_keywords=attributes,
                    limit=PAGE,
                    offset=offset,
                    fuzzy=options.fuzzy,
                    combine_date_time=options.combine_date_time,
                )
                if not offset:
                    actor.record(
                        session, f"{level}.list", level, None, project_id=node.project_id, by="C-FIND",
                        keys=sorted(identifier.keys),
                    )  # fmt: skip
            for match in results.matches:
                if request.MessageID in association.dimse.cancel_req:
                    find_response(association, request, context, CANCEL)
                    return
                if not association.is_established:
                    return
                values = {"QueryRetrieveLevel": [identifier.level], "RetrieveAETitle": [node.called_ae], **match}
                identifier_of_match = write_identifier(values, implicit_vr=implicit)
                find_response(association, request, context, PENDING, identifier_of_match)
            offset, more = offset + PAGE, results.more
    except MedhubError as error:
        log.warning("dimse.find", error=error.code)
        find_response(association, request, context, status_of(error))
        return
    find_response(association, request, context, SUCCESS)
