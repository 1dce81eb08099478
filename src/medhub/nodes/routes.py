# SPDX-License-Identifier: Apache-2.0
"""Routes of DICOM nodes: their addresses and permissions.

They are served at ``/api/dicom-nodes``, and for older clients at ``/api/peers`` as well.
"""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.errors import Invalid, Unavailable
from medhub.foundation.http import Id, Page, Paging
from medhub.foundation.work_pools import runs_in
from medhub.nodes import dicom_client, service
from medhub.nodes.schemas import DicomNodeChange, DicomNodeCreate, DicomNodeOut, EchoOut, ListenerOut

routes = APIRouter(tags=["DICOM nodes"])


@routes.get("", summary="DICOM nodes")
def list_nodes(
    call: Annotated[Call, allow("peer.read")], paging: Paging, project_id: Annotated[Id | None, Query()] = None
) -> Page[DicomNodeOut]:
    """The DICOM nodes of your projects, by AE title."""
    with call.reading() as session:
        nodes, total = service.list_nodes(
            session, call.actor, project_id=project_id, offset=paging.offset, limit=paging.page_size
        )
        return paging.of([DicomNodeOut.of(node) for node in nodes], total)


@routes.post("", status_code=201, summary="Add a DICOM node")
def add_node(call: Annotated[Call, allow("peer.change")], body: DicomNodeCreate) -> DicomNodeOut:
    """Register a DICOM node with a project; it may connect from now on."""
    project_id = call.actor.choose_project("peer.change", body.project_id)
    values = body.model_dump(exclude={"project_id"})
    values["called_ae"] = body.called_ae or call.app.settings.dicom_ae_title
    values["only_from_host"] = service.origin_rule(call.app.settings, body.host, body.only_from_host)
    with call.writing() as session:
        return DicomNodeOut.of(service.add_node(session, call.actor, project_id, values))


@routes.get("/listener", summary="Settings of the DICOM listener")
def read_listener(call: Annotated[Call, allow("peer.read")]) -> ListenerOut:
    """AE title, address and port to enter at a modality or PACS."""
    settings = call.app.settings
    return ListenerOut(
        ae_title=settings.dicom_ae_title,
        host=settings.dicom_host,
        port=settings.dicom_port,
        tls=settings.dicom_tls_certificate is not None,
    )


@routes.get("/{id}", summary="A DICOM node")
def read_node(call: Annotated[Call, allow("peer.read")], id: ItemId) -> DicomNodeOut:
    """One DICOM node."""
    with call.reading() as session:
        return DicomNodeOut.of(service.get_node(session, call.actor, id))


@routes.patch("/{id}", summary="Change a DICOM node")
def change_node(call: Annotated[Call, allow("peer.change")], id: ItemId, change: DicomNodeChange) -> DicomNodeOut:
    """Change a DICOM node, from its next association on."""
    with call.writing() as session:
        return DicomNodeOut.of(service.change_node(session, call.actor, id, change.model_dump(exclude_none=True)))


@routes.delete("/{id}", status_code=204, summary="Remove a DICOM node")
def remove_node(call: Annotated[Call, allow("peer.change")], id: ItemId) -> None:
    """Remove a DICOM node: it may not connect any more. The images that it sent stay."""
    with call.writing() as session:
        service.remove_node(session, call.actor, id)


@routes.post("/{id}/echo", summary="Test the connection to a DICOM node")
@runs_in("outside")
def echo_node(call: Annotated[Call, allow("peer.change")], id: ItemId) -> EchoOut:
    """Test the connection to a DICOM node by C-ECHO."""
    with call.writing() as session:
        row = service.get_node(session, call.actor, id, "peer.change")
        node = service.DicomNodeInfo.of(row)
        call.actor.record(session, "peer.echo", "peer", row.id, project_id=row.project_id, ae_title=row.ae_title)
    started = time.monotonic()
    reason = None
    try:
        dicom_client.echo(call.app.settings, node)
    except (Unavailable, Invalid) as error:
        reason = error.message
    return EchoOut(answers=reason is None, reason=reason, milliseconds=round((time.monotonic() - started) * 1000))


dicom_nodes = APIRouter(prefix="/api")
dicom_nodes.include_router(routes, prefix="/dicom-nodes")
dicom_nodes.include_router(routes, prefix="/peers", include_in_schema=False)
