# SPDX-License-Identifier: Apache-2.0
"""What the JSON API sends of arrivals."""

from __future__ import annotations

from typing import Literal

from medhub.foundation.http import Moment, Schema
from medhub.ingest.models import Arrival
from medhub.ingest.service import Outcome


class UploadItem(Schema):
    """What became of one file; its name is only sent back, never kept."""

    filename: str
    outcome: Literal["accepted", "duplicate", "quarantined"]
    reason: str | None
    image_id: str | None


class UploadAnswer(Schema):
    """What became of each file of an upload."""

    items: list[UploadItem]


class ArrivalOut(Schema):
    """A received file and what became of it."""

    id: str
    created_at: Moment
    outcome: Outcome
    code: str | None
    reason: str | None
    size_bytes: int
    patient_id: str
    patient_code: str
    image_id: str | None
    by: str
    expires_at: Moment | None

    @classmethod
    def of(cls, arrival: Arrival, patient_code: str) -> ArrivalOut:
        """The arrival as it is sent."""
        return cls(
            id=arrival.id,
            created_at=arrival.created_at,
            outcome=arrival.outcome,
            code=arrival.code,
            reason=arrival.reason,
            size_bytes=arrival.size_bytes,
            patient_id=arrival.patient_id,
            patient_code=patient_code,
            image_id=arrival.image_id,
            by=arrival.by,
            expires_at=arrival.expires_at,
        )
