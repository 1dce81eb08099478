# SPDX-License-Identifier: Apache-2.0
"""Routes that move or delete many images at once."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.foundation.work_pools import runs_in
from medhub.records import image_moves, studies
from medhub.records.schemas import DeletedOut, ImagesDelete, ImagesMove, MovedOut, SeriesMove

images = APIRouter(prefix="/api/images", tags=["images"])
series = APIRouter(prefix="/api/series", tags=["studies"])


@images.post("/move", summary="Move images")
@runs_in("outside")
def move_images(call: Annotated[Call, allow("image.move")], given: ImagesMove) -> MovedOut:
    """Move images to another series of the same patient: all of them, or none if one of them cannot be moved.

    Their DICOM files are rewritten with the UIDs of the new study and series; SOP Instance UIDs stay. A series that
    becomes empty is deleted.
    """
    moved = image_moves.move_images(call.app, call.actor, given.image_ids, given.to_series_id)
    return MovedOut.model_validate(moved)


@images.post("/delete", summary="Delete images")
@runs_in("outside")
def delete_images(call: Annotated[Call, allow("image.delete")], given: ImagesDelete) -> DeletedOut:
    """Delete images and everything derived from them: all of them, or none if one belongs to a signed case."""
    with call.writing() as session:
        return DeletedOut(images=studies.delete_images(session, call.actor, given.image_ids))


@series.post("/{id}/move", summary="Move a series")
@runs_in("outside")
def move_series(call: Annotated[Call, allow("image.move")], id: ItemId, given: SeriesMove) -> MovedOut:
    """Move a series with its images to another study of the same patient."""
    return MovedOut.model_validate(image_moves.move_series(call.app, call.actor, id, given.to_study_id))
