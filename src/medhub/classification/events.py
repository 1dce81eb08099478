# SPDX-License-Identifier: Apache-2.0
"""What classification announces."""

from __future__ import annotations

from dataclasses import dataclass

from medhub.foundation.events import Event


@dataclass(frozen=True)
class ImageClassified(Event):
    """A classifier has read an image, or has given up on it."""

    study_id: str
