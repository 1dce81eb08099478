# SPDX-License-Identifier: Apache-2.0
"""Training by several processes: ``torchrun --nproc-per-node N -m medhub.entrypoints.cli train ...``.

Each process takes its share of every batch; gradients and the statistics of batch normalization are averaged over all,
so the result is that of one process with the whole batch, up to the rounding of sums in another order.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, distributed, nn

from medhub.errors import Invalid


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together.

    Attributes
    ----------
    rank, size
        Index of this process, and number of processes.
    device
        Device that this process computes on.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """Select this process's part of a batch.

        Raises
        ------
        Invalid
            The batch cannot be shared out in pairs.
        """
        if batch_size % (2 * self.size):
            raise Invalid(
                f"A batch of {batch_size} cannot be shared out between {self.size} processes in pairs; take a multiple "
                f"of {2 * self.size}.",
                field="batch_size",
            )
        part = batch_size // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def agree(self, value: bool) -> bool:
        """Whether the value is true in any process; all processes must call this."""
        if self.size == 1:
            return value
        flag = torch.tensor([int(value)], device=self.device)
        distributed.all_reduce(flag, distributed.ReduceOp.MAX)
        return bool(flag.item())

    def mean(self, value: float) -> float:
        """The mean over the processes; all processes must call this."""
        if self.size == 1:
            return value
        total = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return float(total.item()) / self.size


@contextmanager
def join_processes(device: str = "auto", threads: int | None = None) -> Iterator[ProcessGroup]:
    """Join the processes that ``torchrun`` started; without it, the group has one process.

    Parameters
    ----------
    device
        ``auto``, ``cpu`` or ``cuda``.
    threads
        Number of threads; the default of torch if not given.

    Yields
    ------
    ProcessGroup
    """
    if threads is not None:
        torch.set_num_threads(threads)
    cuda = torch.cuda.is_available() if device == "auto" else device == "cuda"
    if cuda and not torch.cuda.is_available():
        raise Invalid("There is no CUDA device here.", field="device")
    size = int(os.environ.get("WORLD_SIZE", "1"))
    target = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(target)
    if size == 1:
        yield ProcessGroup(device=target)
        return
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield ProcessGroup(distributed.get_rank(), size, target)
    finally:
        distributed.destroy_process_group()


def average_gradients(network: nn.Module, world: ProcessGroup) -> nn.Module:
    """Average the gradients of a network over the processes."""
    if world.size == 1:
        return network
    return nn.parallel.DistributedDataParallel(
        network, device_ids=[world.device] if world.device.type == "cuda" else None
    )


def synchronize(network: nn.Module, world: ProcessGroup) -> None:
    """Let batch normalization use the whole batch; torch's own SyncBatchNorm works on GPUs only."""
    if world.size == 1:
        return
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.BatchNorm2d:
                shared = SharedBatchNorm2d(child.num_features)
                shared.load_state_dict(child.state_dict())
                setattr(parent, name, shared)


class _Sum(torch.autograd.Function):
    """The sum over all processes; the gradient of each part is the sum over the losses of all processes."""

    @staticmethod
    def forward(_context: Any, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalization (Ioffe & Szegedy 2015) with statistics over the images of all processes."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize N x C x h x w."""
        if not self.training:
            return super().forward(x)
        if self.running_mean is None or self.running_var is None:
            raise TypeError("statistics are always kept here")
        wide = x.float()
        size = distributed.get_world_size()
        sums = torch.stack((wide.mean((0, 2, 3)), wide.square().mean((0, 2, 3)))) / size
        mean, square = _Sum.apply(sums)  # type: ignore[no-untyped-call]
        variance = (square - mean.square()).clamp(min=0)
        count = x.numel() / x.shape[1] * size
        with torch.no_grad():
            momentum = self.momentum if self.momentum is not None else 0.1
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * count / max(1.0, count - 1), momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        normal: Tensor = (wide * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]).to(x.dtype)
        return normal
