# SPDX-License-Identifier: Apache-2.0
"""What classification publishes."""

from __future__ import annotations

from dataclasses import dataclass

from medhub.foundation.events import Event


@dataclass(frozen=True)
class ImageClassified(Event):
    """A classifier has read an image, or has given up on it."""

    study_id: str


@dataclass(frozen=True)
class ShadowWanted(Event):
    """An image is to be read by the classifier in the shadow too, and by the one in use where it has not read it."""

    image_id: str
