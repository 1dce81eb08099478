# SPDX-License-Identifier: Apache-2.0
"""Which bytes go with images that are deleted: all that were made from them, and nothing that others have too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.orm import Session

from medhub.records.models import Image, PatientBlob, Series
from medhub.records.service import destroy_blobs


def release_blobs(session: Session, doomed: ColumnElement[bool]) -> list[str]:
    """The bytes that go with some images; what another image has too, such as an all-black thumbnail, stays its."""
    named = select(PatientBlob.digest).join(Image, Image.id == PatientBlob.image_id).where(doomed)
    digests = list(session.scalars(named.distinct()))
    kept: set[str] = set()
    for start in range(0, len(digests), 500):
        kept |= _hand_on(session, digests[start : start + 500], doomed)
    return [digest for digest in digests if digest not in kept]


def _hand_on(session: Session, digests: Sequence[str], doomed: ColumnElement[bool]) -> set[str]:
    """Give bytes that are shared to an image of the same patient that stays."""
    others: Any = session.execute(
        select(Image.id, Image.patient_id, Image.blob, Image.thumbnail).where(
            Image.patient_id.in_(select(Image.patient_id).where(doomed)),
            or_(Image.blob.in_(digests), Image.thumbnail.in_(digests)),
            ~doomed,
        )
    )
    kept: set[str] = set()
    for image_id, patient_id, *of_image in others:
        for digest in set(of_image) & set(digests):
            session.execute(
                update(PatientBlob)
                .where(PatientBlob.digest == digest, PatientBlob.patient_id == patient_id)
                .values(image_id=image_id)
            )
            kept.add(digest)
    return kept


def forget_metadata(session: Session, several: Iterable[Series]) -> None:
    """Destroy what is kept of the attributes of series whose objects change or go."""
    for series in several:
        if series.metadata_blob is not None:
            digest, series.metadata_blob = series.metadata_blob, None
            session.execute(delete(PatientBlob).where(PatientBlob.digest == digest, PatientBlob.image_id.is_(None)))
            destroy_blobs(session, [digest])
