# SPDX-License-Identifier: Apache-2.0
"""Stored objects leave to a DICOM node by C-STORE, or to another archive by STOW-RS."""

from __future__ import annotations

import json
import secrets
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Invalid, MedhubError, Unavailable
from medhub.export.models import Export, ExportImage, ExportSending
from medhub.export.service import ExportNotReady, get_export
from medhub.foundation import clock, ids, jobs
from medhub.foundation.app_context import AppContext
from medhub.nodes import dicom_client
from medhub.nodes.dicom_client import StoreAssociation, StoreResult
from medhub.nodes.service import DicomNodeInfo, find_destination
from medhub.records.models import Image, Patient, Study

__all__ = ["StoreAssociation", "StoreResult", "send_objects", "stored_objects"]

_TELL_S = 1.0
_AT_ONCE = 50
_ANSWER_S = 600.0
_MOST_ANSWER = 16 * 1024**2


class ArchiveSilent(Unavailable):
    """Another archive does not answer, or not as it should."""

    code = "archive-silent"


def stored_objects(
    session: Session, actor: Actor, project_id: str, *, patients: Sequence[str], studies: Sequence[str], to: str
) -> list[StoreResult]:
    """The objects of patients (by code) and studies (by UID) of a project, to be sent; that they leave is recorded."""
    images = list(
        session.scalars(
            select(Image)
            .join(Study, Study.id == Image.study_id)
            .join(Patient, Patient.id == Image.patient_id)
            .where(Image.project_id == project_id, or_(Patient.code.in_(patients), Study.study_uid.in_(studies)))
            .order_by(Image.study_id, Image.series_id, Image.number)
        )
    )
    for (study_id, patient_id), count in Counter((one.study_id, one.patient_id) for one in images).items():
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
    return [StoreResult(one.sop_class_uid, one.sop_instance_uid, one.transfer_syntax_uid, one.blob) for one in images]


def send_objects(
    app: AppContext,
    node: DicomNodeInfo,
    objects: Sequence[StoreResult],
    tell: Callable[[int], None] = lambda _done: None,
) -> StoreAssociation:
    """Send objects to a node over one association; ``tell`` hears how many are done.

    Objects of which the node takes neither class nor syntax are among those that failed. Raises ``NodeSilent`` where
    there is no association.
    """
    told = StoreAssociation()
    for number, told in enumerate(dicom_client.send(app, node, objects), start=1):  # noqa: B007  # the last one is given
        tell(number)
    return told


def order(session: Session, actor: Actor, export_id: str, title: str) -> ExportSending:
    """Have a finished export sent to a node of its project; only what the last look has let pass leaves."""
    export = get_export(session, actor, export_id, "export.create")
    if export.state != "ready" or export.form != "dicom":
        raise ExportNotReady("Only an export of DICOM files that is ready can be sent.")
    node = find_destination(session, export.project_id, title)
    sending = ExportSending(
        id=ids.new_id(),
        export_id=export.id,
        node=node.ae_title,
        state="waiting",
        total=len(_objects(session, export.id)),
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
    """Each time that an export was sent, newest first."""
    export = get_export(session, actor, export_id)
    chosen = select(ExportSending).where(ExportSending.export_id == export.id)
    return list(session.scalars(chosen.order_by(ExportSending.created_at.desc(), ExportSending.id)))


def _objects(session: Session, export_id: str) -> list[StoreResult]:
    """The objects of an export as they were looked at; what has changed or gone since does not leave."""
    rows = session.execute(
        select(Image, ExportImage.content)
        .join(ExportImage, ExportImage.image_id == Image.id)
        .where(ExportImage.export_id == export_id, ExportImage.excluded.is_(False))
        .order_by(ExportImage.number)
    )
    return [
        StoreResult(one.sop_class_uid, one.sop_instance_uid, one.transfer_syntax_uid, one.blob)
        for one, content in rows
        if one.blob == content
    ]


def send_export(app: AppContext, sending_id: str) -> None:
    """Send the objects of an export, and tell how far it is; a node that has some already takes them once more."""
    with app.database.reading() as session:
        sending = session.get(ExportSending, sending_id)
        export = session.get(Export, sending.export_id) if sending is not None else None
        if sending is None or export is None or sending.state in {"sent", "failed"}:
            return
        if export.state != "ready":
            _tell(app, sending_id, state="failed", failure="The export is not held any more. Order it anew.")
            return
        try:
            node = find_destination(session, export.project_id, sending.node)
        except MedhubError as error:
            _tell(app, sending_id, state="failed", failure=error.message)
            return
        objects = _objects(session, export.id)
    told = [time.monotonic()]

    def tell(done: int) -> None:
        if time.monotonic() - told[0] > _TELL_S:
            told[0] = time.monotonic()
            _tell(app, sending_id, state="sending", done=done)

    try:
        ended = send_objects(app, node, objects, tell)
    except MedhubError as error:
        _tell(app, sending_id, state="failed", failure=error.message)
        return
    refused = len(ended.failed)
    why = f"The node did not take {refused} of {len(objects)} objects." if refused else None
    state = "failed" if refused == len(objects) else "sent"
    _tell(app, sending_id, state=state, done=len(objects), refused=refused, failure=why)


def _tell(app: AppContext, sending_id: str, **values: Any) -> None:
    with app.database.writing() as session:
        sending = session.get(ExportSending, sending_id)
        if sending is not None:
            for name, value in values.items():
                setattr(sending, name, value)
            if sending.state in {"sent", "failed"}:
                sending.finished_at = clock.now()


def record_stow(session: Session, actor: Actor, export_id: str, url: str) -> None:
    """Have it recorded that an export leaves to another archive; of its address only the host is kept."""
    export = get_export(session, actor, export_id, "export.create")
    host = (urlsplit(url).hostname or "")[:255]
    actor.record(
        session, "export.send", "export", export.id, project_id=export.project_id, to=host, objects=export.images
    )


def stow(archive: Path, url: str, token: str | None, tell: Callable[[int], None] = lambda _done: None) -> list[str]:
    """Send the DICOM files of a packed export to another archive by STOW-RS (PS3.18, 10.5), some at a time.

    Gives the names of the files that were not taken. Raises ``ArchiveSilent`` where nobody answers as an archive does.
    """
    if not url.startswith(("http://", "https://")):
        raise Invalid("The address of the archive begins with https:// or http://.", field="stow")
    refused: list[str] = []
    done = 0
    with zipfile.ZipFile(archive) as packed:
        names = [name for name in packed.namelist() if name.startswith("DICOM/")]
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            refused += _stored([(name, packed.read(name)) for name in some], url, token)
            done += len(some)
            tell(done)
    return refused


def _stored(files: Sequence[tuple[str, bytes]], url: str, token: str | None) -> list[str]:
    boundary = secrets.token_hex(16)
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(head + data + b"\r\n" for _, data in files) + f"--{boundary}--\r\n".encode()
    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Accept": "application/dicom+json",
        **({"Authorization": f"Bearer {token}"} if token else {}),
    }
    asked = request.Request(f"{url.rstrip('/')}/studies", data=body, headers=headers, method="POST")  # noqa: S310
    try:
        with request.urlopen(asked, timeout=_ANSWER_S) as answer:  # noqa: S310  # the scheme was checked
            content = answer.read(_MOST_ANSWER)
    except HTTPError as error:
        if error.code != HTTPStatus.CONFLICT:
            raise ArchiveSilent(f"The archive answers with {error.code}. Check address and token.") from error
        content = error.read(_MOST_ANSWER)  # 409 says of each why it was not taken
    except (OSError, URLError) as error:
        raise ArchiveSilent("The archive does not answer. Check its address, and that it runs.") from error
    try:
        failed = {
            item["00081155"]["Value"][0] for item in json.loads(content or b"{}").get("00081198", {}).get("Value", [])
        }
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise ArchiveSilent("The archive does not answer as STOW-RS says.") from error
    return [name for name, data in files if str(dicom_client.uid_of(data)) in failed]
