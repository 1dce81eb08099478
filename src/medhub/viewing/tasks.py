# SPDX-License-Identifier: Apache-2.0
"""Thumbnails of images that were received in bulk, rendered when their study is complete."""

from __future__ import annotations

from sqlalchemy import select

from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import DecoderFailed
from medhub.records import isolated_calls, studies
from medhub.records.models import Image
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.viewing.service import THUMBNAIL_SIZE


def make_thumbnails(app: AppContext, study_id: str) -> None:
    """Render the missing thumbnails of a study; images that cannot be rendered stay without one."""
    with app.database.reading() as session:
        images_without_thumbnail = list(
            session.scalars(
                select(Image).where(Image.study_id == study_id, Image.thumbnail.is_(None), Image.frames > 0)
            )
        )
    for image in images_without_thumbnail:
        try:
            picture = isolated_calls.render_stored(app, image.blob, THUMBNAIL_SIZE)
        except (Unacceptable, DecoderFailed):
            continue
        with app.database.writing(durable=False) as session:
            studies.store_thumbnail(session, app, image.id, picture)
