# SPDX-License-Identifier: Apache-2.0
"""What a training reports while it runs: epochs, the observer that receives them, and the errors that end it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from medhub.errors import Invalid, MedhubError


class Diverged(Invalid):
    """The loss is no longer a number."""

    code = "training-diverged"
    title = "The training has diverged"


class OutOfMemory(Invalid):
    """A step needs more memory than there is."""

    code = "out-of-memory"
    title = "Not enough memory"


class Stopped(MedhubError):
    """The observer asked for the end of the training; its checkpoint remains."""

    code = "training-stopped"
    title = "The training was stopped"


@dataclass(frozen=True)
class Epoch:
    """Figures of one pass over the training images.

    Attributes
    ----------
    waited
        Share of the time that steps waited for their batch.
    stage
        ``all``, or ``head`` while the body is frozen.
    """

    number: int
    of: int
    loss: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    seconds: float
    waited: float
    stage: str = "all"


class EpochObserver(Protocol):
    """Receives the progress of a training, and can stop it."""

    def prepared(self, images: int, of: int) -> None:
        """The frozen body has computed the features of this number of images."""

    def step(self, step: int, of: int, loss: float) -> None:
        """One step is complete."""

    def epoch(self, epoch: Epoch) -> None:
        """One epoch is complete."""

    def stop(self) -> bool:
        """Whether the training is to stop."""


class SilentEpochObserver:
    """Ignores all progress and never stops the training."""

    def prepared(self, images: int, of: int) -> None:
        """Do nothing."""

    def step(self, step: int, of: int, loss: float) -> None:
        """Do nothing."""

    def epoch(self, epoch: Epoch) -> None:
        """Do nothing."""

    def stop(self) -> bool:
        """Never stop."""
        return False
