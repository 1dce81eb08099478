# SPDX-License-Identifier: Apache-2.0
"""What records announces."""

from __future__ import annotations

from dataclasses import dataclass

from medhub.foundation.events import Event


@dataclass(frozen=True)
class PatientErased(Event):
    """A patient's key, rows and blobs are gone; what was made for others of the patient's images must go too."""

    patient_id: str
