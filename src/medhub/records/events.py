# SPDX-License-Identifier: Apache-2.0
"""What records publishes."""

from __future__ import annotations

from dataclasses import dataclass

from medhub.foundation.events import Event


@dataclass(frozen=True)
class PatientErased(Event):
    """The key, rows and blobs of a patient were deleted; data derived from the patient's images must be deleted too."""

    patient_id: str


@dataclass(frozen=True)
class IdentityErased(Event):
    """The identity of a patient was deleted; files that wait and name the patient are found by these keyed hashes."""

    patient_id: str
    project_id: str
    erasure_id: str
    identifiers: tuple[str, ...]  # of numbers and studies
    names: tuple[str, ...]  # of the words of names
    birth_dates: tuple[str, ...]


@dataclass(frozen=True)
class ImagesMoved(Event):
    """Images were moved to another study of the same patient."""

    from_study_id: str
    to_study_id: str


@dataclass(frozen=True)
class ImageJoinedPathway(Event):
    """An image without classification has moved to a study that follows a pathway."""

    image_id: str
