# SPDX-License-Identifier: Apache-2.0
"""The attributes of the objects of a series as DICOM JSON, built when a study is complete or when first requested.

They are stored until the objects of the series change: one compressed blob per series with a digest of its objects in
order, then one line per object. A blob whose digest does not match the present objects is ignored.
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
from medhub.records.deletion import delete_series_metadata
from medhub.records.models import Image, Series, Study
from medhub.records.patient_blobs import store_blob
from medhub.records.stored_files import read_header
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.rendering import dicomweb_payloads

# Another number when the metadata of the same files become others: stored ones are then built again.
_CONTENT_VERSION = "2"
# Limits of one call to an isolated process.
_MAX_OBJECTS = 50
_MAX_BYTES = 32 * 1024**2


@dataclass(frozen=True)
class SeriesMetadata:
    """The metadata of the objects of a series: SOP Instance UIDs, and a line of JSON for each."""

    uids: tuple[str, ...]
    lines: tuple[bytes, ...]

    def find_object(self, sop_instance_uid: str) -> bytes | None:
        """The metadata of one object."""
        return self.lines[self.uids.index(sop_instance_uid)] if sop_instance_uid in self.uids else None


def series_metadata(app: AppContext, series_id: str) -> SeriesMetadata:
    """The metadata of the objects of a series, in the order of their numbers."""
    with app.database.reading() as session:
        series = session.get_one(Series, series_id)
        images = _images(session, series_id)
        stored_digest = series.metadata_blob
    metadata = _read_metadata(app, stored_digest, images) if stored_digest is not None else None
    return metadata if metadata is not None else _build_metadata(app, series_id, images)


def build_study_metadata(app: AppContext, study_id: str) -> None:
    """Build the metadata of a study in advance; a failure is reported when the metadata is requested."""
    with app.database.reading() as session:
        without_metadata = select(Series.id).where(Series.study_id == study_id, Series.metadata_blob.is_(None))
        series_ids = list(session.scalars(without_metadata.order_by(Series.id)))
    for series_id in series_ids:
        with suppress(NoResultFound, Unacceptable, DecoderFailed):  # NoResultFound: deleted meanwhile
            series_metadata(app, series_id)


def _images(session: Session, series_id: str) -> list[tuple[str, str, str]]:
    query = select(Image.id, Image.blob, Image.sop_instance_uid).where(Image.series_id == series_id)
    rows = session.execute(query.order_by(Image.instance_number, Image.number, Image.id))
    return [(image_id, blob, uid) for image_id, blob, uid in rows]


def _digest(images: Iterable[tuple[str, str, str]]) -> str:
    lines = (_CONTENT_VERSION, *(" ".join(image) for image in images))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _read_metadata(app: AppContext, digest: str, images: Sequence[tuple[str, str, str]]) -> SeriesMetadata | None:
    try:
        head, *lines = zlib.decompress(app.blobs.get(digest)).split(b"\n")
    except (BlobNotFound, zlib.error):
        return None
    if head.decode() != _digest(images) or len(lines) != len(images):
        return None
    return SeriesMetadata(tuple(uid for _, _, uid in images), tuple(lines))


def _build_metadata(app: AppContext, series_id: str, images: Sequence[tuple[str, str, str]]) -> SeriesMetadata:
    lines: list[bytes] = []
    heads: list[bytes] = []
    pixels: list[str] = []
    for position, (_, blob, _) in enumerate(images):
        head, vr = read_header(app, blob)
        heads.append(head)
        pixels.append(vr)
        if len(heads) >= _MAX_OBJECTS or sum(map(len, heads)) > _MAX_BYTES or position == len(images) - 1:
            texts = app.isolation.run(dicomweb_payloads.describe, heads, pixels)
            lines += [_checked_line(text) for text in texts]
            heads, pixels = [], []
    metadata = SeriesMetadata(tuple(uid for _, _, uid in images), tuple(lines))
    _store_metadata(app, series_id, images, metadata)
    return metadata


def _checked_line(text: object) -> bytes:
    """Check that a result of an isolated process, which is not trusted, is one line of JSON."""
    if not isinstance(text, str) or "\n" in text or not isinstance(json.loads(text), dict):
        raise ValueError("not the metadata of an object")
    return text.encode()


def _store_metadata(
    app: AppContext, series_id: str, images: Sequence[tuple[str, str, str]], metadata: SeriesMetadata
) -> None:
    compressed = zlib.compress(b"\n".join((_digest(images).encode(), *metadata.lines)), 3)
    with app.database.writing(durable=False) as session:
        series = session.get(Series, series_id)
        if series is None or _images(session, series_id) != list(images):
            return
        delete_series_metadata(session, [series])
        patient_id = session.get_one(Study, series.study_id).patient_id
        series.metadata_blob = store_blob(session, app, compressed, patient_id=patient_id)
