# SPDX-License-Identifier: Apache-2.0
"""What classification does in the background."""

from __future__ import annotations

from sqlalchemy import select

from medhub.classification import service
from medhub.foundation.installation import Installation
from medhub.records import pixels
from medhub.records.models import Image
from medhub.science.imaging.limits import Unacceptable


def classify(house: Installation, image_id: str) -> None:
    """Read an image with the classifier of its pathway."""
    with house.database.reading() as session:
        image = session.get(Image, image_id)
    if image is None or image.shown_as != "image":
        return
    try:
        picture = pixels.frame(house, image.blob)
    except Unacceptable:
        # Trying again would not help: a person decides without a classifier.
        service.give_up(house, image_id)
        return
    service.classify_image(house, image_id, picture)


def classify_study(house: Installation, study_id: str) -> None:
    """Read the images of a study that wait to be read."""
    with house.database.reading() as session:
        waiting = select(Image.id).where(Image.study_id == study_id, Image.state == "waiting")
        image_ids = list(session.scalars(waiting))
    for image_id in image_ids:
        classify(house, image_id)


def classify_in_shadow(house: Installation, image_id: str) -> None:
    """Read an image with the classifier in the shadow of its pathway, and with the one in use where it has not yet."""
    wanted = service.wanted_in_shadow(house, image_id)
    with house.database.reading() as session:
        image = session.get(Image, image_id)
    if image is None or image.shown_as != "image" or not wanted:
        return
    try:
        picture = pixels.frame(house, image.blob)
    except Unacceptable:
        return
    for appointed, pathway in wanted:
        service.classify_in_shadow(house, image_id, picture, appointed, pathway)


def give_up(house: Installation, image_id: str) -> None:
    """Note that reading an image failed again and again."""
    service.give_up(house, image_id)
