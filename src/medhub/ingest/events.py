# SPDX-License-Identifier: Apache-2.0
"""What ingest publishes."""

from __future__ import annotations

from dataclasses import dataclass

from medhub.foundation.events import Event


@dataclass(frozen=True)
class ImageStored(Event):
    """An image has been accepted and is durable."""

    image_id: str


@dataclass(frozen=True)
class StudySettled(Event):
    """Nothing more of a study has come for a while."""

    study_id: str
