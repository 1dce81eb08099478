# SPDX-License-Identifier: Apache-2.0
"""Optimizer, learning rate schedule, precision and class weights of a recipe."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medhub.science.learning.network import Network
from medhub.science.learning.recipe import Training


def make_optimizer(network: Network, training: Training) -> torch.optim.Optimizer:
    """Make the optimizer of a recipe; the head, which starts from random weights, may have a greater learning rate."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        groups.setdefault((network.in_head(name), parameter.ndim > 1), []).append(parameter)
    options: list[dict[str, Any]] = [
        {
            "params": parameters,
            "lr": training.learning_rate * (training.head_factor if head else 1),
            "full_rate": training.learning_rate * (training.head_factor if head else 1),
            # Biases and normalization have no weight decay.
            "weight_decay": training.weight_decay if decayed else 0.0,
        }
        for (head, decayed), parameters in groups.items()
    ]
    # Not the fused kernels: they assume that the state of an optimizer has the memory format of its weights (channels
    # last), which is not so for a state that was read from a checkpoint.
    if training.optimizer == "sgd":
        return torch.optim.SGD(options, momentum=training.momentum, nesterov=training.momentum > 0)
    if training.optimizer == "adam":
        return torch.optim.Adam(options)
    return torch.optim.AdamW(options)


def learning_rate_factor(training: Training, progress: float) -> float:
    """Compute the factor of the learning rate.

    Parameters
    ----------
    training
        Names the schedule.
    progress
        Share of all steps that are complete, 0..1.

    Returns
    -------
    float
    """
    if training.schedule == "one-cycle":  # up by a cosine over 30 %, down by a cosine to almost nothing
        if progress < 0.3:
            return 0.04 + 0.96 * (1 - math.cos(math.pi * progress / 0.3)) / 2
        return 4e-6 + (1 + math.cos(math.pi * (progress - 0.3) / 0.7)) / 2
    if progress < training.warmup:
        return max(0.01, progress / training.warmup)
    if training.schedule == "cosine":
        rest = (progress - training.warmup) / (1 - training.warmup)
        return max(1e-5, (1 + math.cos(math.pi * rest)) / 2)
    if training.schedule == "step":
        return 0.01 if progress >= 0.9 else 0.1 if progress >= 2 / 3 else 1.0
    return 1.0


def uses_bf16(training: Training, device: torch.device) -> bool:
    """Whether the forward pass is computed with 16 bits."""
    if training.precision != "auto":
        return training.precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    try:
        return bool({"amx_bf16", "avx512_bf16"} & set(Path("/proc/cpuinfo").read_text().split()))
    except OSError:
        return False


def class_weights(training: Training, targets: NDArray[np.int64], classes: int) -> Tensor:
    """Compute the weight of each label in the loss, C."""
    if training.class_balance != "weights":
        return torch.ones(classes)
    counts = np.maximum(np.bincount(targets, minlength=classes), 1)
    return torch.from_numpy((len(targets) / classes / counts).astype(np.float32))
