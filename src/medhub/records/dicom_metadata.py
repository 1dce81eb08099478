# SPDX-License-Identifier: Apache-2.0
"""The attributes of a series' objects as DICOM JSON, made when a study has settled or when they are first asked for.

They are kept until an object comes or goes: one compressed blob a series, of a line that says of which objects and in
which order, then a line an object. It is believed only while it is of just the objects that are there.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import Session

from medhub.foundation.app_context import AppContext
from medhub.foundation.blobs import BlobNotFound
from medhub.foundation.isolation import DecoderFailed
from medhub.records.deletion import forget_metadata
from medhub.records.models import Image, Series, Study
from medhub.records.service import keep_blob
from medhub.records.stored_files import head_of
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.rendering import dicomweb_payloads

# Of one call to a process apart.
_AT_ONCE = 50
_MOST_BYTES = 32 * 1024**2


@dataclass(frozen=True)
class SeriesMetadata:
    """What is said of the objects of a series: SOP Instance UIDs, and a line of JSON for each."""

    uids: tuple[str, ...]
    lines: tuple[bytes, ...]

    def of(self, sop_instance_uid: str) -> bytes | None:
        """What is said of one object."""
        return self.lines[self.uids.index(sop_instance_uid)] if sop_instance_uid in self.uids else None


def metadata_of(app: AppContext, series_id: str) -> SeriesMetadata:
    """What is said of the objects of a series, in the order of their numbers."""
    with app.database.reading() as session:
        series = session.get_one(Series, series_id)
        images = _images(session, series_id)
        kept = series.metadata_blob
    found = _kept(app, kept, images) if kept is not None else None
    return found if found is not None else _make(app, series_id, images)


def describe_study(app: AppContext, study_id: str) -> None:
    """Make ready what is said of the objects of a study, so that nobody waits for it; what fails says so when asked."""
    with app.database.reading() as session:
        bare = select(Series.id).where(Series.study_id == study_id, Series.metadata_blob.is_(None))
        several = list(session.scalars(bare.order_by(Series.id)))
    for series_id in several:
        with suppress(NoResultFound, Unacceptable, DecoderFailed):  # the first: deleted meanwhile
            metadata_of(app, series_id)


def _images(session: Session, series_id: str) -> list[tuple[str, str, str]]:
    chosen = select(Image.id, Image.blob, Image.sop_instance_uid).where(Image.series_id == series_id)
    rows = session.execute(chosen.order_by(Image.instance_number, Image.number, Image.id))
    return [(image_id, blob, uid) for image_id, blob, uid in rows]


def _digest(images: Iterable[tuple[str, str, str]]) -> str:
    return hashlib.sha256("\n".join(" ".join(one) for one in images).encode()).hexdigest()


def _kept(app: AppContext, digest: str, images: Sequence[tuple[str, str, str]]) -> SeriesMetadata | None:
    try:
        head, *lines = zlib.decompress(app.blobs.get(digest)).split(b"\n")
    except (BlobNotFound, zlib.error):
        return None
    if head.decode() != _digest(images) or len(lines) != len(images):
        return None
    return SeriesMetadata(tuple(uid for _, _, uid in images), tuple(lines))


def _make(app: AppContext, series_id: str, images: Sequence[tuple[str, str, str]]) -> SeriesMetadata:
    lines: list[bytes] = []
    heads: list[bytes] = []
    pixels: list[str] = []
    for position, (_, blob, _) in enumerate(images):
        head, vr = head_of(app, blob)
        heads.append(head)
        pixels.append(vr)
        if len(heads) >= _AT_ONCE or sum(map(len, heads)) > _MOST_BYTES or position == len(images) - 1:
            made = app.isolation.run(dicomweb_payloads.describe, heads, pixels)
            lines += [_line(one) for one in made]
            heads, pixels = [], []
    found = SeriesMetadata(tuple(uid for _, _, uid in images), tuple(lines))
    _keep(app, series_id, images, found)
    return found


def _line(text: object) -> bytes:
    """One line of what a process apart made, which is not believed: it must be JSON."""
    if not isinstance(text, str) or "\n" in text or not isinstance(json.loads(text), dict):
        raise ValueError("this describes no object")
    return text.encode()


def _keep(app: AppContext, series_id: str, images: Sequence[tuple[str, str, str]], found: SeriesMetadata) -> None:
    packed = zlib.compress(b"\n".join((_digest(images).encode(), *found.lines)), 3)
    with app.database.writing(durable=False) as session:
        series = session.get(Series, series_id)
        if series is None or _images(session, series_id) != list(images):
            return
        forget_metadata(session, [series])
        patient_id = session.get_one(Study, series.study_id).patient_id
        series.metadata_blob = keep_blob(session, app, packed, patient_id=patient_id)
