# SPDX-License-Identifier: Apache-2.0
"""What all epochs of a training share: network, images, loss, observer, and the curves."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from medhub.science.learning.dataset import ImageSet
from medhub.science.learning.distributed import ProcessGroup, synchronize
from medhub.science.learning.network import Network
from medhub.science.learning.optimization import class_weights
from medhub.science.learning.recipe import Recipe
from medhub.science.learning.teacher import TeacherTargets
from medhub.science.learning.training_progress import Epoch, EpochObserver, SilentEpochObserver


@dataclass
class TrainedNetwork:
    """Results of a training beside the weights.

    Attributes
    ----------
    curves
        Figures of each epoch.
    epoch
        The epoch whose weights are used.
    images_per_s
        Training images per second.
    """

    curves: list[Epoch] = field(default_factory=list)
    epoch: int = 0
    images_per_s: float = 0.0


class TrainingContext:
    """The network, the images, the loss and the curves of a training.

    Parameters
    ----------
    network
        With random or initial weights; it is moved to the device of this process.
    recipe
        The recipe.
    learn, validate
        Training and validation images.
    observer
        Receives each epoch.
    processes
        The processes that train together.

    Attributes
    ----------
    classes
        Number of labels, C.
    best
        Least validation loss so far, and its epoch.
    """

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        learn: ImageSet,
        validate: ImageSet,
        observer: EpochObserver | None,
        processes: ProcessGroup | None,
    ) -> None:
        self.network, self.recipe, self.training = network, recipe, recipe.training
        self.learn, self.validate = learn, validate
        self.observer, self.processes = observer or SilentEpochObserver(), processes or ProcessGroup()
        network.dropout = recipe.network.dropout
        synchronize(network, self.processes)
        network.to(self.processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.classes = network.classifier.out_features
        self.trained = TrainedNetwork()
        self.best = (math.inf, 0)
        self._weights = class_weights(self.training, learn.targets, self.classes)

    def loss(self, logits: Tensor, pooled: Tensor, targets: Tensor, taught: TeacherTargets | None) -> Tensor:
        """Compute the loss of a batch: cross-entropy with the labels, and the distillation loss.

        Parameters
        ----------
        logits
            N x C.
        pooled
            Pooled features, N x D.
        targets
            Soft labels, N x C.
        taught
            Outputs of the teacher; none without distillation.

        Returns
        -------
        Tensor
            A scalar.
        """
        weights = (targets * self._weights.to(targets.device)).sum(1)
        smooth = self.training.label_smoothing
        smoothed = targets * (1 - smooth) + smooth / self.classes
        loss = (-(smoothed * functional.log_softmax(logits, 1)).sum(1) * weights).mean()
        recipe = self.recipe.distillation
        if taught is None or recipe is None:
            return loss
        temperature = recipe.temperature
        divergence = functional.kl_div(
            functional.log_softmax(logits / temperature, 1),
            functional.softmax(taught.logits / temperature, 1),
            reduction="batchmean",
        )
        loss = loss * (1 - recipe.weight) + divergence * temperature * temperature * recipe.weight
        if recipe.features:
            aim = taught.features
            error = (pooled[:, : aim.shape[1]] - aim).square().sum(1) / aim.square().sum(1).clamp(min=1e-6)
            loss = loss + recipe.features * error.mean()
        return loss

    def record_epoch(
        self,
        number: int,
        of: int,
        loss: float,
        logits: NDArray[np.float64],
        waited: float,
        rate: float,
        start: float,
        stage: str,
    ) -> None:
        """Add an epoch to the curves, and report it to the observer.

        Parameters
        ----------
        number, of
            The epoch, from 1, and the number of epochs of this stage.
        loss
            Mean training loss.
        logits
            N x C, of the validation images.
        waited
            Share of the time that steps waited for their batch.
        rate
            Learning rate of the last step.
        start
            ``time.perf_counter()`` at the start of the epoch.
        stage
            ``all`` or ``head``.
        """
        validation_loss = float(
            functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(self.validate.targets)).item()
        )
        accuracy = float((logits.argmax(1) == self.validate.targets).mean())
        if stage == "all" and validation_loss < self.best[0]:
            self.best = (validation_loss, number)
        seconds = time.perf_counter() - start
        epoch = Epoch(number, of, loss, validation_loss, accuracy, rate, seconds, waited, stage)
        self.trained.curves.append(epoch)
        if self.processes.leads:
            self.observer.epoch(epoch)
