# SPDX-License-Identifier: Apache-2.0
"""Result of the de-identification of a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from medhub.science.deid.attributes.element_context import ActionRecord

Outcome = Literal["cleaned", "quarantined"]


@dataclass(frozen=True)
class Result:
    """Result of the de-identification of one file.

    Attributes
    ----------
    outcome
        "cleaned", or "quarantined" if a person must review it first.
    reason
        Why it was quarantined; empty otherwise.
    data
        The new file, if it was cleaned.
    output_path
        Parts of the path for the new file: codes of patient, study, series and object; for a photograph without a
        known patient, a name alone.
    actions
        What was done to which attribute.
    boxes
        Regions that are blackened in pixels, or would be: frame (from 1), x0, y0, x1, y1, the last two not included.
    allowed
        Regions of text that stays, in the same form.
    doubtful
        The file with a clean header and its pixels as received, if a person must review only these;
        ``pixel_cleaning.blacken`` then finishes it. It must never be stored unencrypted.
    suffix
        File name extension of the new file.
    part
        Path of the new file, if it is too large for ``data``.
    """

    outcome: Outcome
    reason: str = ""
    data: bytes = b""
    output_path: tuple[str, ...] = ()
    actions: tuple[ActionRecord, ...] = ()
    boxes: tuple[tuple[int, int, int, int, int], ...] = ()
    allowed: tuple[tuple[int, int, int, int, int], ...] = ()
    doubtful: bytes = b""
    suffix: str = ".dcm"
    part: str = ""

    def as_json(self, source: str, target: str | None) -> dict[str, Any]:
        """Make a line of the manifest."""
        return {
            "input": source,
            "output": target,
            "outcome": self.outcome,
            "reason": self.reason,
            "boxes": [list(box) for box in self.boxes],
            "actions": [vars(action) for action in self.actions],
        }
