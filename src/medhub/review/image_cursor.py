# SPDX-License-Identifier: Apache-2.0
"""Reading a list of images by cursor, which verdicts and new images do not disturb."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Any

from sqlalchemy import literal, select, tuple_
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Invalid
from medhub.foundation import pagination
from medhub.records.models import Image
from medhub.review.queries import ImageFacts, ImageFilter, load_facts, select_images

MAX_ID = 64


def read_images_after(
    session: Session, actor: Actor, filters: ImageFilter, *, cursor: str | None, limit: int
) -> tuple[list[ImageFacts], str | None]:
    """The images after a cursor, oldest first, and the cursor of those after them.

    Images that leave the list in the meantime, because they got a verdict, do not move the others past the cursor.
    """
    query = select_images(session, actor, filters)
    order = (Image.created_at, Image.number, Image.id)
    if cursor is not None:
        values = zip(_read_cursor(cursor), order, strict=True)
        query = query.where(tuple_(*order) > tuple_(*(literal(value, column.type) for value, column in values)))
    ids = list(session.scalars(query.with_only_columns(Image.id).order_by(*order).limit(limit + 1)))
    on_page = select(Image).where(pagination.in_ids(session, Image.id, ids[:limit]))
    by_id = {facts.image.id: facts for facts in load_facts(session, on_page)}
    rows = [by_id[image_id] for image_id in ids[:limit]]
    return rows, write_cursor(rows[-1].image) if len(ids) > limit else None


def write_cursor(image: Image) -> str:
    """The cursor after an image."""
    text = json.dumps([image.created_at.isoformat(), image.number, image.id])
    return base64.urlsafe_b64encode(text.encode()).decode()


def _read_cursor(cursor: str) -> tuple[Any, ...]:
    try:
        created_at, number, image_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        if type(number) is not int or not 0 <= number < 2**31 or type(image_id) is not str or len(image_id) > MAX_ID:
            raise ValueError("values of other types")
        moment = datetime.fromisoformat(created_at)
        if moment.tzinfo is None:
            raise ValueError("a time without a zone")
        return moment, number, image_id.replace("\x00", "")
    except (ValueError, TypeError, OverflowError) as error:
        raise Invalid("This is not a cursor of this list.", field="cursor") from error
