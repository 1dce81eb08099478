# SPDX-License-Identifier: Apache-2.0
"""What export announces."""

from __future__ import annotations

from dataclasses import dataclass

from medhub.foundation.events import Event


@dataclass(frozen=True)
class ExportWanted(Event):
    """There is work to be done on an export: images to be looked at, or all of it to be packed."""

    export_id: str
