# SPDX-License-Identifier: Apache-2.0
"""What classification does in the background."""

from __future__ import annotations

from sqlalchemy import select

from medhub.classification import service
from medhub.foundation.app_context import AppContext
from medhub.records import isolated_calls
from medhub.records.models import Image
from medhub.science.imaging.decoding_limits import Unacceptable


def classify(app: AppContext, image_id: str) -> None:
    """Read an image with the classifier of its pathway."""
    with app.database.reading() as session:
        image = session.get(Image, image_id)
    if image is None or image.shown_as != "image":
        return
    try:
        picture = isolated_calls.read_stored_frame(app, image.blob)
    except Unacceptable:
        # Trying again would not help: a person decides without a classifier.
        service.give_up(app, image_id)
        return
    service.classify_image(app, image_id, picture)


def classify_study(app: AppContext, study_id: str) -> None:
    """Read the images of a study that wait to be read."""
    with app.database.reading() as session:
        waiting = select(Image.id).where(Image.study_id == study_id, Image.state == "waiting")
        image_ids = list(session.scalars(waiting))
    for image_id in image_ids:
        classify(app, image_id)


def classify_in_shadow(app: AppContext, image_id: str) -> None:
    """Read an image with the classifier in the shadow of its pathway, and with the one in use where it has not yet."""
    wanted = service.wanted_in_shadow(app, image_id)
    with app.database.reading() as session:
        image = session.get(Image, image_id)
    if image is None or image.shown_as != "image" or not wanted:
        return
    try:
        picture = isolated_calls.read_stored_frame(app, image.blob)
    except Unacceptable:
        return
    for appointed, pathway in wanted:
        service.classify_in_shadow(app, image_id, picture, appointed, pathway)


def give_up(app: AppContext, image_id: str) -> None:
    """Note that reading an image failed again and again."""
    service.give_up(app, image_id)
