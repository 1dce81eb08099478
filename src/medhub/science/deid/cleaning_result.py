# SPDX-License-Identifier: Apache-2.0
"""What became of a file that was de-identified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from medhub.science.deid.attributes.element_context import ActionRecord

Outcome = Literal["cleaned", "quarantined"]


@dataclass(frozen=True)
class Result:
    """What became of one file.

    Attributes
    ----------
    outcome
        "cleaned", or "quarantined" if nobody may have it before a person looked at it.
    reason
        Why it was quarantined; empty otherwise.
    data
        The new file, if it was cleaned.
    place
        Where the new file belongs: codes of patient, study, series and object, none of which say anything; of a
        photograph, of whom nothing is known, a name alone.
    actions
        What was done to which attribute.
    boxes
        What was made black in pixels, or would be: frame (from 1), x0, y0, x1, y1, the last two not included.
    kept
        Harmless writing that stays, in the same form.
    doubtful
        The file with a clean header and its pixels as received, if only these are in doubt: what a person must see
        before anybody else does, and what ``pixels.blacken`` then finishes. Never to be stored in the open.
    suffix
        What the name of the new file ends with.
    part
        Where the new file lies, if it is too large for ``data``.
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
        """A line of the manifest."""
        return {
            "input": source,
            "output": target,
            "outcome": self.outcome,
            "reason": self.reason,
            "boxes": [list(box) for box in self.boxes],
            "actions": [vars(action) for action in self.actions],
        }
