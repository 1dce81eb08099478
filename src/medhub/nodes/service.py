# SPDX-License-Identifier: Apache-2.0
"""DICOM nodes that a project knows: who may send and query, by which of our AE titles, and where they are reached."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Conflict, Invalid, NotAllowed, NotFound
from medhub.foundation import clock, ids, pagination
from medhub.nodes.models import DicomNode

# Of the default repertoire without backslash and control characters; a title has no space inside here (PS3.5, 6.2).
_TITLE = re.compile(r"[!-\[\]-~]{1,16}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:_-]{0,253}[A-Za-z0-9])?")


class NodeRefused(NotAllowed):
    """No node of this name may call; the fact ``reason`` is "calling", "called" or "host"."""

    code = "node-refused"


@dataclass(frozen=True)
class DicomNodeInfo:
    """A node that is known, as an association needs it."""

    project_id: str
    ae_title: str
    called_ae: str
    host: str
    port: int
    tls: bool
    may_store: bool
    may_query: bool

    @classmethod
    def of(cls, peer: DicomNode) -> DicomNodeInfo:
        """What a row says."""
        return cls(
            peer.project_id,
            peer.ae_title,
            peer.called_ae,
            peer.host,
            peer.port,
            peer.tls,
            peer.may_store,
            peer.may_query,
        )


def find_node(session: Session, calling: str, called: str, origin: str) -> DicomNodeInfo:
    """The node that calls by these titles from an address; raises ``NodeRefused`` where there is none."""
    peer = session.scalar(select(DicomNode).where(DicomNode.ae_title == calling, DicomNode.called_ae == called))
    if peer is None:
        known = session.scalar(select(DicomNode.id).where(DicomNode.called_ae == called).limit(1))
        raise NodeRefused("No such DICOM node may call.", reason="calling" if known is not None else "called")
    if peer.only_from_host and not _is_host(peer.host, origin):
        raise NodeRefused("This DICOM node calls from elsewhere.", reason="host")
    return DicomNodeInfo.of(peer)


def find_destination(session: Session, project_id: str, title: str) -> DicomNodeInfo:
    """The node of a project to which objects may be sent; ``NotFound`` where there is none, or nobody said where."""
    peer = session.scalar(
        select(DicomNode)
        .where(
            DicomNode.project_id == project_id, DicomNode.ae_title == title, DicomNode.port > 0, DicomNode.host != ""
        )
        .order_by(DicomNode.created_at)
        .limit(1)
    )
    if peer is None:
        raise NotFound("The project knows no DICOM node of this title with an address. Add it, with host and port.")
    return DicomNodeInfo.of(peer)


def _is_host(host: str, origin: str) -> bool:
    """Whether an address is one of a host's."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
        address = ipaddress.ip_address(origin)
        mapped = getattr(address, "ipv4_mapped", None)
        return {str(address), str(mapped)} & {str(one) for one in found} != set()
    except (OSError, ValueError):
        return False


def list_nodes(
    session: Session, actor: Actor, *, project_id: str | None, offset: int, limit: int
) -> tuple[Sequence[DicomNode], int]:
    """A page of the nodes of the actor's projects."""
    chosen = select(DicomNode).where(DicomNode.project_id.in_(actor.projects("peer.read", project_id)))
    total = pagination.count_rows(session, chosen)
    return list(session.scalars(chosen.order_by(DicomNode.ae_title, DicomNode.id).offset(offset).limit(limit))), total


def all_nodes(session: Session) -> Sequence[DicomNode]:
    """The nodes of all projects, by title; for the command line."""
    return list(session.scalars(select(DicomNode).order_by(DicomNode.ae_title)))


def get_node(session: Session, actor: Actor, peer_id: str, action: str = "peer.read") -> DicomNode:
    """A node of a project of the actor's."""
    peer = session.get(DicomNode, peer_id)
    if peer is None:
        raise NotFound("There is no such DICOM node, or it is not in a project of yours.")
    actor.require(action, peer.project_id, "DICOM node")
    return peer


def add_node(session: Session, actor: Actor, project_id: str, values: Mapping[str, Any]) -> DicomNode:
    """Let a project know a node."""
    actor.require("peer.change", project_id, "project")
    peer = DicomNode(
        id=ids.new_id(), project_id=project_id, created_at=clock.now(), created_by=actor.name[:120], **_checked(values)
    )
    _keep(session, peer)
    actor.record(session, "peer.create", "peer", peer.id, project_id=project_id, **_told(peer))
    return peer


def change_node(session: Session, actor: Actor, peer_id: str, values: Mapping[str, Any]) -> DicomNode:
    """Change what is known of a node."""
    peer = get_node(session, actor, peer_id, "peer.change")
    kept = {name: getattr(peer, name) for name in _FIELDS}
    checked = _checked({**kept, **values})
    changed = sorted(name for name in _FIELDS if checked[name] != kept[name])
    for name in changed:
        setattr(peer, name, checked[name])
    _keep(session, peer)
    actor.record(session, "peer.change", "peer", peer.id, project_id=peer.project_id, changed=changed, **_told(peer))
    return peer


def remove_node(session: Session, actor: Actor, peer_id: str) -> None:
    """Forget a node; what it sent stays."""
    peer = get_node(session, actor, peer_id, "peer.change")
    actor.record(session, "peer.delete", "peer", peer.id, project_id=peer.project_id, **_told(peer))
    session.delete(peer)
    session.flush()


_FIELDS = ("ae_title", "called_ae", "host", "port", "only_from_host", "tls", "may_store", "may_query")


def _told(peer: DicomNode) -> dict[str, Any]:
    return {name: getattr(peer, name) for name in ("ae_title", "called_ae", "may_store", "may_query")}


def _keep(session: Session, peer: DicomNode) -> None:
    try:
        with session.begin_nested():
            session.add(peer)
            session.flush()
    except IntegrityError:
        # Which project it belongs to is not said: it may be a foreign one.
        raise Conflict(
            "A node of this AE title calls by this title of ours already. Choose another title of ours, "
            "so that it is clear to which project its objects go.",
            field="ae_title",
        ) from None


def _checked(values: Mapping[str, Any]) -> dict[str, Any]:
    checked = {name: values[name] for name in _FIELDS}
    for name in ("ae_title", "called_ae"):
        if not _TITLE.fullmatch(checked[name]):
            raise Invalid("An AE title has 1 to 16 letters, digits and signs, and no space or backslash.", field=name)
    host, port = checked["host"], checked["port"]
    if host and not _HOST.fullmatch(host):
        raise Invalid("The host is a name or an address.", field="host")
    if not 0 <= port <= 65535 or bool(host) < bool(port):
        raise Invalid("A port is a number from 1 to 65535, together with a host.", field="port")
    if checked["only_from_host"] and not host:
        raise Invalid("Say the host that alone may call by this title.", field="host")
    return checked
