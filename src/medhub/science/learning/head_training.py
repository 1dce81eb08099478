# SPDX-License-Identifier: Apache-2.0
"""Training of the classification head alone, on features of the frozen body."""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from medhub.science.learning.network_outputs import pool_features, vary_images
from medhub.science.learning.seeding import derive_seed
from medhub.science.learning.training_context import TrainingContext
from medhub.science.learning.training_progress import Stopped

_BATCH_SIZE = 256
_TORCH_STEP, _HEAD_STEP = -1, -3  # purposes of derived seeds


def train_head(context: TrainingContext) -> None:
    """Train the head of a network; its body stays as it is.

    The features of the frozen body are computed once, for the training images and for augmented copies of them.

    Raises
    ------
    Stopped
        The observer asked for it.
    """
    training, network = context.training, context.network
    generator = torch.Generator().manual_seed(derive_seed(training.seed, 0, _HEAD_STEP))
    features, held_out = _frozen_features(context, generator)
    targets = torch.from_numpy(context.learn.targets).repeat(training.frozen_passes + 1)
    head = [value for name, value in network.named_parameters() if network.in_head(name)]
    optimizer = torch.optim.AdamW(head, lr=training.frozen_learning_rate, weight_decay=training.weight_decay)
    device = context.processes.device
    torch.manual_seed(derive_seed(training.seed, 0, _TORCH_STEP))
    for number in range(1, training.frozen_epochs + 1):
        start, total, steps = time.perf_counter(), 0.0, 0
        order = torch.randperm(len(targets), generator=generator)
        network.train()
        for first in range(0, len(order), _BATCH_SIZE):
            indices = order[first : first + _BATCH_SIZE]
            inputs = features[indices].to(device)
            labels = functional.one_hot(targets[indices], context.classes).float()
            loss = context.loss(network.head(inputs), inputs, labels.to(device), None)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total, steps = total + float(loss.detach()), steps + 1
        network.eval()
        with torch.inference_mode():
            logits = network.head(held_out.to(device)).double().cpu().numpy()
        rate = training.frozen_learning_rate
        context.record_epoch(number, training.frozen_epochs, total / steps, logits, 0.0, rate, start, "head")
        if context.observer.stop():
            raise Stopped("The training was stopped before its first whole epoch.")


def _frozen_features(context: TrainingContext, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Compute features of the training images with their augmented copies, and of the validation images, N x D each."""
    learn, validate = context.learn, context.validate
    passes = context.training.frozen_passes
    total = len(learn.targets) * (1 + passes) + len(validate.targets)
    computed = 0

    def compute(images: NDArray[np.uint8]) -> Tensor:
        nonlocal computed
        features = []
        for first in range(0, len(images), _BATCH_SIZE):
            batch = images[first : first + _BATCH_SIZE]
            features.append(pool_features(context.network, batch, context.recipe.preprocessing))
            computed += len(batch)
            if context.processes.leads:
                context.observer.prepared(computed, total)
            if context.observer.stop():
                raise Stopped("The training was stopped before its first epoch.")
        return torch.from_numpy(np.concatenate(features)).float()

    learned = [compute(learn.images)]
    for _ in range(passes):
        learned.append(compute(vary_images(learn.images, context.recipe.augmentation, generator)))
    return torch.cat(learned), compute(validate.images)
