# SPDX-License-Identifier: Apache-2.0
"""Routes by which many images at once get another place, or are destroyed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.records import image_moves, studies
from medhub.records.schemas import DeletedOut, ImagesDelete, ImagesMove, MovedOut, SeriesMove

images = APIRouter(prefix="/api/images", tags=["images"])
series = APIRouter(prefix="/api/series", tags=["studies"])


@images.post("/move", summary="Move images")
def move_images(call: Annotated[Call, allow("image.move")], given: ImagesMove) -> MovedOut:
    """Put images into another series of the same patient: all of them or, where one cannot be moved, none.

    Their DICOM files are written anew with the UIDs of the study and series they then lie in; SOP Instance UIDs stay.
    A series that becomes empty is removed.
    """
    moved = image_moves.move_images(call.app, call.actor, given.image_ids, given.to_series_id)
    return MovedOut.model_validate(moved)


@images.post("/delete", summary="Delete images")
def delete_images(call: Annotated[Call, allow("image.delete")], given: ImagesDelete) -> DeletedOut:
    """Destroy images and all that was made from them: all or, where one belongs to a signed case, none."""
    with call.writing() as session:
        return DeletedOut(images=studies.delete_images(session, call.actor, given.image_ids))


@series.post("/{id}/move", summary="Move a series")
def move_series(call: Annotated[Call, allow("image.move")], id: ItemId, given: SeriesMove) -> MovedOut:
    """Put a series with all its images into another study of the same patient."""
    return MovedOut.model_validate(image_moves.move_series(call.app, call.actor, id, given.to_study_id))
