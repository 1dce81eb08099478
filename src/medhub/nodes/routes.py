# SPDX-License-Identifier: Apache-2.0
"""Routes of DICOM nodes: who may send and query, and where they are."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.errors import Invalid, Unavailable
from medhub.foundation.http import Id, Page, Paging
from medhub.nodes import dicom_client, service
from medhub.nodes.schemas import DicomNodeChange, DicomNodeCreate, DicomNodeOut, EchoOut, ListenerOut

peers = APIRouter(prefix="/api/peers", tags=["DICOM nodes"])


@peers.get("", summary="DICOM nodes")
def list_peers(
    call: Annotated[Call, allow("peer.read")], paging: Paging, project_id: Annotated[Id | None, Query()] = None
) -> Page[DicomNodeOut]:
    """The DICOM nodes that may send to projects of yours or query them, by title."""
    with call.reading() as session:
        found, total = service.list_nodes(
            session, call.actor, project_id=project_id, offset=paging.offset, limit=paging.page_size
        )
        return paging.of([DicomNodeOut.of(peer) for peer in found], total)


@peers.post("", status_code=201, summary="Add a DICOM node")
def add_peer(call: Annotated[Call, allow("peer.change")], given: DicomNodeCreate) -> DicomNodeOut:
    """Let a project know a DICOM node; from then on it may call."""
    project_id = call.actor.choose_project("peer.change", given.project_id)
    values = given.model_dump(exclude={"project_id"})
    values["called_ae"] = given.called_ae or call.app.settings.dicom_ae_title
    with call.writing() as session:
        return DicomNodeOut.of(service.add_node(session, call.actor, project_id, values))


@peers.get("/listener", summary="How DICOM nodes reach Medhub")
def read_listener(call: Annotated[Call, allow("peer.read")]) -> ListenerOut:
    """Title, address and port to be entered at a modality or PACS, as this server's settings have them."""
    settings = call.app.settings
    return ListenerOut(
        ae_title=settings.dicom_ae_title,
        host=settings.dicom_host,
        port=settings.dicom_port,
        tls=settings.dicom_tls_certificate is not None,
    )


@peers.get("/{id}", summary="A DICOM node")
def read_peer(call: Annotated[Call, allow("peer.read")], id: ItemId) -> DicomNodeOut:
    """One DICOM node."""
    with call.reading() as session:
        return DicomNodeOut.of(service.get_node(session, call.actor, id))


@peers.patch("/{id}", summary="Change a DICOM node")
def change_peer(call: Annotated[Call, allow("peer.change")], id: ItemId, change: DicomNodeChange) -> DicomNodeOut:
    """Change what is known of a DICOM node; it holds from its next association."""
    with call.writing() as session:
        return DicomNodeOut.of(service.change_node(session, call.actor, id, change.model_dump(exclude_none=True)))


@peers.delete("/{id}", status_code=204, summary="Remove a DICOM node")
def remove_peer(call: Annotated[Call, allow("peer.change")], id: ItemId) -> None:
    """Forget a DICOM node: it may not call any more. What it sent stays."""
    with call.writing() as session:
        service.remove_node(session, call.actor, id)


@peers.post("/{id}/echo", summary="Test the connection to a DICOM node")
def echo_peer(call: Annotated[Call, allow("peer.change")], id: ItemId) -> EchoOut:
    """Ask a DICOM node whether it answers (C-ECHO)."""
    with call.writing() as session:
        peer = service.get_node(session, call.actor, id, "peer.change")
        node = service.DicomNodeInfo.of(peer)
        call.actor.record(session, "peer.echo", "peer", peer.id, project_id=peer.project_id, ae_title=peer.ae_title)
    began = time.monotonic()
    reason = None
    try:
        dicom_client.echo(call.app.settings, node)
    except (Unavailable, Invalid) as silent:
        reason = silent.message
    return EchoOut(answers=reason is None, reason=reason, milliseconds=round((time.monotonic() - began) * 1000))
