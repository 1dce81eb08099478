# SPDX-License-Identifier: Apache-2.0
"""Sending stored objects to a DICOM node by C-STORE, and recording that an export goes to another archive."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import MedhubError
from medhub.export.formats import get_format
from medhub.export.models import Export, ExportImage, ExportSending
from medhub.export.service import ExportNotReady, get_export
from medhub.foundation import clock, ids, jobs
from medhub.foundation.app_context import AppContext
from medhub.nodes import dicom_client
from medhub.nodes.dicom_client import InstanceToSend, SendProgress
from medhub.nodes.service import DicomNodeInfo, find_destination
from medhub.records.models import Image, Patient, Study

__all__ = ["InstanceToSend", "SendProgress", "send_objects", "stored_objects"]

_PROGRESS_INTERVAL_S = 1.0


def stored_objects(
    session: Session, actor: Actor, project_id: str, *, patients: Sequence[str], studies: Sequence[str], to: str
) -> list[InstanceToSend]:
    """The objects of a project's patients (by code) and studies (by UID), to be sent; the audit log records each."""
    images = list(
        session.scalars(
            select(Image)
            .join(Study, Study.id == Image.study_id)
            .join(Patient, Patient.id == Image.patient_id)
            .where(Image.project_id == project_id, or_(Patient.code.in_(patients), Study.study_uid.in_(studies)))
            .order_by(Image.study_id, Image.series_id, Image.number)
        )
    )
    for (study_id, patient_id), count in Counter((image.study_id, image.patient_id) for image in images).items():
        actor.record(
            session,
            "study.send",
            "study",
            study_id,
            project_id=project_id,
            patient_id=patient_id,
            objects=count,
            to=to,
            by="C-STORE",
        )
    return [_describe_object(image) for image in images]


def _describe_object(image: Image) -> InstanceToSend:
    return InstanceToSend(image.sop_class_uid, image.sop_instance_uid, image.transfer_syntax_uid, image.blob)


def send_objects(
    app: AppContext,
    node: DicomNodeInfo,
    objects: Sequence[InstanceToSend],
    on_progress: Callable[[int], None] = lambda _done: None,
) -> SendProgress:
    """Send objects to a node over one association; ``on_progress`` gets the number of objects that are done.

    Objects whose class or transfer syntax the node does not accept count as failed. Raises ``NodeSilent`` if there is
    no association.
    """
    association = SendProgress()
    states = dicom_client.send(app, node, objects)
    for number, association in enumerate(states, start=1):  # noqa: B007  # the last state is the result
        on_progress(number)
    return association


def create_sending(session: Session, actor: Actor, export_id: str, ae_title: str) -> ExportSending:
    """Have a finished export sent to a node of its project by a job; only files that passed the PHI scan are sent."""
    export = get_export(session, actor, export_id, "export.create")
    if export.state != "ready" or not get_format(export.form).has_dicom_headers:
        raise ExportNotReady("Only an export of DICOM files that is ready can be sent.")
    node = find_destination(session, export.project_id, ae_title)
    sending = ExportSending(
        id=ids.new_id(),
        export_id=export.id,
        node=node.ae_title,
        state="waiting",
        total=len(_load_objects(session, export.id)),
        created_at=clock.now(),
        created_by=actor.name[:200],
    )
    session.add(sending)
    session.flush()
    jobs.enqueue(session, "send-export", {"sending_id": sending.id})
    actor.record(
        session,
        "export.send",
        "export",
        export.id,
        project_id=export.project_id,
        to=node.ae_title,
        objects=sending.total,
    )
    return sending


def list_sendings(session: Session, actor: Actor, export_id: str) -> list[ExportSending]:
    """The transmissions of an export, newest first."""
    export = get_export(session, actor, export_id)
    query = select(ExportSending).where(ExportSending.export_id == export.id)
    return list(session.scalars(query.order_by(ExportSending.created_at.desc(), ExportSending.id)))


def _load_objects(session: Session, export_id: str) -> list[InstanceToSend]:
    """The objects of an export that are unchanged since their PHI scan."""
    rows = session.execute(
        select(Image, ExportImage.content)
        .join(ExportImage, ExportImage.image_id == Image.id)
        .where(ExportImage.export_id == export_id, ExportImage.excluded.is_(False))
        .order_by(ExportImage.number)
    )
    return [_describe_object(image) for image, content in rows if image.blob == content]


def send_export(app: AppContext, sending_id: str) -> None:
    """Send the objects of an export and store the progress; a repeated job sends every object again."""
    with app.database.reading() as session:
        sending = session.get(ExportSending, sending_id)
        export = session.get(Export, sending.export_id) if sending is not None else None
        if sending is None or export is None or sending.state in {"sent", "failed"}:
            return
        if export.state != "ready":
            reason = "The export no longer exists. Order it again."
            _update_sending(app, sending_id, state="failed", failure=reason)
            return
        try:
            node = find_destination(session, export.project_id, sending.node)
        except MedhubError as error:
            _update_sending(app, sending_id, state="failed", failure=error.message)
            return
        objects = _load_objects(session, export.id)
    last_update = time.monotonic()

    def store_progress(done: int) -> None:
        nonlocal last_update
        if time.monotonic() - last_update > _PROGRESS_INTERVAL_S:
            last_update = time.monotonic()
            _update_sending(app, sending_id, state="sending", done=done)

    try:
        association = send_objects(app, node, objects, store_progress)
    except MedhubError as error:
        _update_sending(app, sending_id, state="failed", failure=error.message)
        return
    refused = len(association.failed)
    failure = f"The node rejected {refused} of {len(objects)} objects." if refused else None
    state = "failed" if refused == len(objects) else "sent"
    _update_sending(app, sending_id, state=state, done=len(objects), refused=refused, failure=failure)


def _update_sending(app: AppContext, sending_id: str, **values: Any) -> None:
    with app.database.writing() as session:
        sending = session.get(ExportSending, sending_id)
        if sending is not None:
            for name, value in values.items():
                setattr(sending, name, value)
            if sending.state in {"sent", "failed"}:
                sending.finished_at = clock.now()


def record_stow(session: Session, actor: Actor, export_id: str, url: str) -> None:
    """Record that an export is sent to another archive; only the host of its address is stored."""
    export = get_export(session, actor, export_id, "export.create")
    host = (urlsplit(url).hostname or "")[:255]
    actor.record(
        session, "export.send", "export", export.id, project_id=export.project_id, to=host, objects=export.images
    )
