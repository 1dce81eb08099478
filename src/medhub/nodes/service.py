# SPDX-License-Identifier: Apache-2.0
"""Use cases of DICOM nodes: which remote application entities may connect to a project, and their addresses."""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cachetools import TTLCache, cached
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Conflict, Invalid, NotAllowed, NotFound
from medhub.foundation import clock, ids, pagination
from medhub.foundation.settings import Settings
from medhub.nodes.models import DicomNode

# Of the default repertoire without backslash and control characters; a title has no space inside here (PS3.5, 6.2).
_TITLE = re.compile(r"[!-\[\]-~]{1,16}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:_-]{0,253}[A-Za-z0-9])?")

_RESOLVED_S = 10


class NodeRefused(NotAllowed):
    """The calling node is not registered; the fact ``reason`` is "calling", "called" or "host"."""

    code = "node-refused"


@dataclass(frozen=True)
class DicomNodeInfo:
    """A registered node, as an association needs it."""

    project_id: str
    ae_title: str
    called_ae: str
    host: str
    port: int
    tls: bool
    may_store: bool
    may_query: bool
    may_read_worklist: bool = False

    @classmethod
    def of(cls, node: DicomNode) -> DicomNodeInfo:
        """The node of a row."""
        return cls(
            node.project_id,
            node.ae_title,
            node.called_ae,
            node.host,
            node.port,
            node.tls,
            node.may_store,
            node.may_query,
            node.may_read_worklist,
        )


def find_node(session: Session, calling: str, called: str, origin: str) -> DicomNodeInfo:
    """The node with these AE titles and address; raises ``NodeRefused`` where it is not registered."""
    node = session.scalar(select(DicomNode).where(DicomNode.ae_title == calling, DicomNode.called_ae == called))
    if node is None:
        known = session.scalar(select(DicomNode.id).where(DicomNode.called_ae == called).limit(1))
        raise NodeRefused("No such DICOM node may call.", reason="calling" if known is not None else "called")
    if node.only_from_host and not _is_host(node.host, origin):
        raise NodeRefused("This DICOM node calls from elsewhere.", reason="host", project_id=node.project_id)
    return DicomNodeInfo.of(node)


def find_destination(session: Session, project_id: str, title: str) -> DicomNodeInfo:
    """The node of a project to which objects are sent; raises ``NotFound`` where none has an address."""
    node = session.scalar(
        select(DicomNode)
        .where(
            DicomNode.project_id == project_id, DicomNode.ae_title == title, DicomNode.port > 0, DicomNode.host != ""
        )
        .order_by(DicomNode.created_at)
        .limit(1)
    )
    if node is None:
        raise NotFound("The project knows no DICOM node of this title with an address. Add it, with host and port.")
    return DicomNodeInfo.of(node)


@cached(TTLCache(1024, _RESOLVED_S), lock=threading.Lock())
def _addresses_of(host: str) -> frozenset[str]:
    """The addresses of a host; asked again after some seconds, since each message of a node is checked."""
    return frozenset(str(info[4][0]) for info in socket.getaddrinfo(host, None))


def _is_host(host: str, origin: str) -> bool:
    """Whether an address belongs to a host."""
    try:
        addresses = _addresses_of(host)
        address = ipaddress.ip_address(origin)
        mapped = getattr(address, "ipv4_mapped", None)
        return {str(address), str(mapped)} & addresses != set()
    except (OSError, ValueError):
        return False


def list_nodes(
    session: Session, actor: Actor, *, project_id: str | None, offset: int, limit: int
) -> tuple[Sequence[DicomNode], int]:
    """A page of the nodes of the actor's projects."""
    query = select(DicomNode).where(DicomNode.project_id.in_(actor.projects("peer.read", project_id)))
    total = pagination.count_rows(session, query)
    return list(session.scalars(query.order_by(DicomNode.ae_title, DicomNode.id).offset(offset).limit(limit))), total


def all_nodes(session: Session) -> Sequence[DicomNode]:
    """The nodes of all projects, by title; for the command line."""
    return list(session.scalars(select(DicomNode).order_by(DicomNode.ae_title)))


def titles_from_anywhere(session: Session) -> Sequence[str]:
    """The AE titles of nodes that may call from any address."""
    return list(session.scalars(select(DicomNode.ae_title).where(~DicomNode.only_from_host)))


def get_node(session: Session, actor: Actor, node_id: str, action: str = "peer.read") -> DicomNode:
    """A node of a project of the actor's."""
    node = session.get(DicomNode, node_id)
    if node is None:
        raise NotFound("There is no such DICOM node, or it is not in a project of yours.")
    actor.require(action, node.project_id, "DICOM node")
    return node


def add_node(session: Session, actor: Actor, project_id: str, values: Mapping[str, Any]) -> DicomNode:
    """Register a node with a project."""
    actor.require("peer.change", project_id, "project")
    node = DicomNode(
        id=ids.new_id(),
        project_id=project_id,
        created_at=clock.now(),
        created_by=actor.name[:120],
        **_check_values(values),
    )
    _flush_node(session, node)
    actor.record(session, "peer.create", "peer", node.id, project_id=project_id, **_audit_facts(node))
    return node


def origin_rule(settings: Settings, host: str, only_from_host: bool | None) -> bool:
    """Whether a new node must call from its host: by default, unless it shows a certificate and has no host."""
    if only_from_host is not None:
        return only_from_host
    return bool(host) or not settings.dicom_tls_client_required


def change_node(session: Session, actor: Actor, node_id: str, values: Mapping[str, Any]) -> DicomNode:
    """Change a node."""
    node = get_node(session, actor, node_id, "peer.change")
    current = {name: getattr(node, name) for name in _FIELDS}
    checked = _check_values({**current, **values})
    changed = sorted(name for name in _FIELDS if checked[name] != current[name])
    for name in changed:
        setattr(node, name, checked[name])
    _flush_node(session, node)
    actor.record(
        session, "peer.change", "peer", node.id, project_id=node.project_id, changed=changed, **_audit_facts(node)
    )
    return node


def remove_node(session: Session, actor: Actor, node_id: str) -> None:
    """Remove a node; the images that it sent stay."""
    node = get_node(session, actor, node_id, "peer.change")
    actor.record(session, "peer.delete", "peer", node.id, project_id=node.project_id, **_audit_facts(node))
    session.delete(node)
    session.flush()


_RIGHTS = ("may_store", "may_query", "may_read_worklist")
_FIELDS = ("ae_title", "called_ae", "host", "port", "only_from_host", "tls", *_RIGHTS)


def _audit_facts(node: DicomNode) -> dict[str, Any]:
    return {name: getattr(node, name) for name in ("ae_title", "called_ae", *_RIGHTS)}


def _flush_node(session: Session, node: DicomNode) -> None:
    try:
        with session.begin_nested():
            session.add(node)
            session.flush()
    except IntegrityError:
        # The message does not name the project: the actor may have no access to it.
        raise Conflict(
            "A node of this AE title calls by this title of ours already. Choose another title of ours, "
            "so that it is clear to which project its objects go.",
            field="ae_title",
        ) from None


def _check_values(values: Mapping[str, Any]) -> dict[str, Any]:
    checked = {"may_read_worklist": False, **values}
    checked = {name: checked[name] for name in _FIELDS}
    for name in ("ae_title", "called_ae"):
        if not _TITLE.fullmatch(checked[name]):
            raise Invalid("An AE title has 1 to 16 letters, digits and signs, and no space or backslash.", field=name)
    host, port = checked["host"], checked["port"]
    if host and not _HOST.fullmatch(host):
        raise Invalid("The host is a name or an address.", field="host")
    if not 0 <= port <= 65535 or bool(host) < bool(port):
        raise Invalid("A port is a number from 1 to 65535, together with a host.", field="port")
    if checked["only_from_host"] and not host:
        raise Invalid(
            "Enter the host from which the node calls, or allow calls from any address explicitly.", field="host"
        )
    return checked
