# SPDX-License-Identifier: Apache-2.0
"""Blobs that are deleted together with images: those derived from them that no other image uses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.orm import Session

from medhub.records.models import Image, PatientBlob, Series
from medhub.records.patient_blobs import enqueue_blob_deletion


def release_blobs(session: Session, deleted: ColumnElement[bool]) -> list[str]:
    """The blobs to delete with images; a blob that another image shares, such as an all-black thumbnail, stays."""
    referenced = select(PatientBlob.digest).join(Image, Image.id == PatientBlob.image_id).where(deleted)
    digests = list(session.scalars(referenced.distinct()))
    shared: set[str] = set()
    for start in range(0, len(digests), 500):
        shared |= _reassign_shared_blobs(session, digests[start : start + 500], deleted)
    return [digest for digest in digests if digest not in shared]


def _reassign_shared_blobs(session: Session, digests: Sequence[str], deleted: ColumnElement[bool]) -> set[str]:
    """Assign shared blobs to a remaining image of the same patient, and return their digests."""
    remaining: Any = session.execute(
        select(Image.id, Image.patient_id, Image.blob, Image.thumbnail).where(
            Image.patient_id.in_(select(Image.patient_id).where(deleted)),
            or_(Image.blob.in_(digests), Image.thumbnail.in_(digests)),
            ~deleted,
        )
    )
    shared: set[str] = set()
    for image_id, patient_id, *blobs in remaining:
        for digest in set(blobs) & set(digests):
            session.execute(
                update(PatientBlob)
                .where(PatientBlob.digest == digest, PatientBlob.patient_id == patient_id)
                .values(image_id=image_id)
            )
            shared.add(digest)
    return shared


def delete_series_metadata(session: Session, series_list: Iterable[Series]) -> None:
    """Delete the stored metadata of series whose objects change or are deleted."""
    for series in series_list:
        if series.metadata_blob is not None:
            digest, series.metadata_blob = series.metadata_blob, None
            session.execute(delete(PatientBlob).where(PatientBlob.digest == digest, PatientBlob.image_id.is_(None)))
            enqueue_blob_deletion(session, [digest])
