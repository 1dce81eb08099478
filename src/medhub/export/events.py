# SPDX-License-Identifier: Apache-2.0
"""Events of exports."""

from __future__ import annotations

from dataclasses import dataclass

from medhub.foundation.events import Event


@dataclass(frozen=True)
class ExportStepDue(Event):
    """An export has a step to run: images to scan, or files to pack."""

    export_id: str
