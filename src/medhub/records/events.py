# SPDX-License-Identifier: Apache-2.0
"""What records publishes."""

from __future__ import annotations

from dataclasses import dataclass

from medhub.foundation.events import Event


@dataclass(frozen=True)
class PatientErased(Event):
    """A patient's key, rows and blobs are gone; what was made for others of the patient's images must go too."""

    patient_id: str


@dataclass(frozen=True)
class ImagesMoved(Event):
    """Images have left a study for another one of the same patient."""

    from_study_id: str
    to_study_id: str


@dataclass(frozen=True)
class ImagePlaced(Event):
    """An image that no classifier was to read has come into a study that goes a pathway."""

    image_id: str
