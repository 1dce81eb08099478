# SPDX-License-Identifier: Apache-2.0
"""The training loop: AdamW with one cycle of the learning rate (Smith & Topin 2018), seeded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from medhub.science.inference.preprocessing import Preprocessing
from medhub.science.learning.augment import vary
from medhub.science.learning.dataset import ImageSet
from medhub.science.learning.network import Network
from medhub.science.learning.recipe import Training


@dataclass(frozen=True)
class Epoch:
    """What one pass over the images gave."""

    number: int
    loss: float
    validation_accuracy: float
    seconds: float


def train(
    network: Network,
    training: Training,
    preprocessing: Preprocessing,
    learn: ImageSet,
    validate: ImageSet,
    report: Callable[[Epoch], None] = lambda epoch: None,
) -> Network:
    """Train a network.

    Parameters
    ----------
    network
        With fresh or given weights; it is changed.
    training
        The recipe.
    preprocessing
        Its normalization is applied after the variations.
    learn, validate
        Images to learn from, and to look at after each epoch (nothing is chosen by them).
    report
        Called after each epoch.

    Returns
    -------
    Network
        The same network, trained, in evaluation mode.
    """
    generator = torch.Generator().manual_seed(training.seed)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own stub lacks it.
    optimizer = _optimizer(network, training)
    batches = len(learn.targets) // training.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [group["lr"] for group in optimizer.param_groups], total_steps=batches * training.epochs
    )
    images, targets = torch.from_numpy(learn.images), torch.from_numpy(learn.targets)
    for number in range(1, training.epochs + 1):
        start, total = time.perf_counter(), 0.0
        network.train()
        order = torch.randperm(len(targets), generator=generator)[: batches * training.batch_size]
        for first in range(0, len(order), training.batch_size):
            chosen = order[first : first + training.batch_size]
            batch = vary(images[chosen].permute(0, 3, 1, 2).float() / 255, generator)
            total += _step(network, optimizer, training, _normalized(batch, preprocessing), targets[chosen])
            schedule.step()
        right = predict(network, validate.images, preprocessing)[0].argmax(1) == validate.targets
        report(Epoch(number, total / batches, float(right.mean()), time.perf_counter() - start))
    return network.eval()


def predict(
    network: Network, images: NDArray[np.uint8], preprocessing: Preprocessing, batch_size: int = 32
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Run a network over images as they are.

    Parameters
    ----------
    network
        Any; put into evaluation mode.
    images
        N x S x S x 3, uint8.
    preprocessing
        Its normalization is applied.
    batch_size
        Images at a time.

    Returns
    -------
    tuple[NDArray[np.float64], list[NDArray[np.float64]]]
        Logits, N x C, and the pooled feature maps from shallow to deep, each N x D.
    """
    network.eval()
    logits: list[Tensor] = []
    pooled: list[tuple[Tensor, ...]] = []
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            batch = torch.from_numpy(images[start : start + batch_size]).permute(0, 3, 1, 2).float() / 255
            maps = network.maps(_normalized(batch, preprocessing))
            means = tuple(one.mean((2, 3)) for one in maps)
            logits.append(network.classifier(means[-1]))
            pooled.append(means)
    return (
        torch.cat(logits).double().numpy(),
        [torch.cat(layer).double().numpy() for layer in zip(*pooled, strict=True)],
    )


@contextmanager
def one_thread(seed: int) -> Iterator[None]:
    """Run with one thread and a fixed seed: the same numbers again on the same machine, and no neighbor disturbed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def _step(
    network: Network, optimizer: torch.optim.Optimizer, training: Training, batch: Tensor, targets: Tensor
) -> float:
    with torch.autocast("cpu", torch.bfloat16, enabled=training.precision == "bf16"):
        logits = network(batch)
    loss = functional.cross_entropy(logits.float(), targets, label_smoothing=training.label_smoothing)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), training.gradient_clip)
    optimizer.step()
    return float(loss.detach())


def _optimizer(network: Network, training: Training) -> torch.optim.AdamW:
    # The head starts from nothing, so it may walk faster; biases and normalization are not drawn to zero.
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        groups.setdefault((name.startswith("classifier."), parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": training.learning_rate * (training.head_factor if head else 1),
                "weight_decay": training.weight_decay if decayed else 0.0,
            }
            for (head, decayed), parameters in groups.items()
        ]
    )


def _normalized(batch: Tensor, preprocessing: Preprocessing) -> Tensor:
    mean = torch.tensor(preprocessing.mean).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std).view(1, 3, 1, 1)
    return ((batch * 255 - mean) / std).contiguous(memory_format=torch.channels_last)
