# SPDX-License-Identifier: Apache-2.0
"""What records publishes."""

from __future__ import annotations

from dataclasses import dataclass

from medhub.foundation.events import Event


@dataclass(frozen=True)
class PatientErased(Event):
    """The key, rows and blobs of a patient were deleted; data derived from the patient's images must be deleted too."""

    patient_id: str
    project_id: str = ""
    # Keyed hashes of the patient's numbers and studies, of the words of the name, and of the birth dates.
    identifiers: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    birth_dates: tuple[str, ...] = ()
    erasure_id: str = ""


@dataclass(frozen=True)
class ImagesMoved(Event):
    """Images were moved to another study of the same patient."""

    from_study_id: str
    to_study_id: str


@dataclass(frozen=True)
class ImageJoinedPathway(Event):
    """An image without classification has moved to a study that follows a pathway."""

    image_id: str
