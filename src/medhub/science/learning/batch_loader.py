# SPDX-License-Identifier: Apache-2.0
"""Training batches: sampling, order and augmentation of images, prepared in advance by threads.

The random numbers of a step depend on the seed, the epoch and the step alone. So an epoch that is run again after a
kill gives the same result, and the threads do not change it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from medhub.science.learning import image_augmentation
from medhub.science.learning.dataset import ImageSet
from medhub.science.learning.distributed import ProcessGroup
from medhub.science.learning.network_outputs import normalize_batch, to_batch
from medhub.science.learning.recipe import Recipe
from medhub.science.learning.seeding import derive_seed
from medhub.science.learning.teacher import TeacherTargets

# Reads a batch (N x 3 x S x S, 0..1), and returns the targets of the distillation.
TeacherFunction = Callable[[Tensor], TeacherTargets]
_ORDER_STEP = -2


@dataclass(frozen=True)
class Batch:
    """One batch of a process.

    Attributes
    ----------
    images
        N x 3 x S x S, normalized.
    targets
        N x C, soft labels.
    teacher
        Targets of the distillation; none without a teacher.
    """

    images: Tensor
    targets: Tensor
    teacher: TeacherTargets | None


class BatchLoader:
    """Prepares the batches of a training for one process."""

    def __init__(
        self, recipe: Recipe, learn: ImageSet, classes: int, teacher: TeacherFunction | None, processes: ProcessGroup
    ) -> None:
        self._recipe, self._training = recipe, recipe.training
        self._learn, self._targets = learn, torch.from_numpy(learn.targets)
        self._classes, self._teacher, self._processes = classes, teacher, processes
        self.steps = max(1, len(learn.targets) * self._training.repeats // self._training.batch_size)

    def load(self, epoch: int, step: int) -> Batch:
        """Prepare this process's share of a batch."""
        training, augmentation = self._training, self._recipe.augmentation
        indices = self._order(epoch)[step * training.batch_size : (step + 1) * training.batch_size]
        generator = torch.Generator().manual_seed(derive_seed(training.seed, epoch, step))
        draws = image_augmentation.draw(len(indices), augmentation, generator)
        if len(indices) == training.batch_size:
            share = self._processes.share(training.batch_size)
            indices, draws = indices[share], {name: value[share] for name, value in draws.items()}
        images = image_augmentation.apply(to_batch(self._learn.images[indices.numpy()]), augmentation, draws)
        targets = functional.one_hot(self._targets[indices], self._classes).float()
        images, targets = image_augmentation.mix(images, draws), image_augmentation.mix(targets, draws)
        taught = self._teacher(images) if self._teacher is not None else None
        return Batch(normalize_batch(images, self._recipe.preprocessing), targets, taught)

    def prefetch(self, epoch: int) -> PrefetchedBatches:
        """Prepare the batches of an epoch ahead of time."""
        return PrefetchedBatches(self, epoch, self._training.workers, on_cpu=self._processes.device.type == "cpu")

    def _order(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(derive_seed(self._training.seed, epoch, _ORDER_STEP))
        repeats = self._training.repeats
        if self._training.class_balance != "sampler":
            return torch.cat([torch.randperm(len(self._targets), generator=generator) for _ in range(repeats)])
        counts = torch.bincount(self._targets, minlength=self._classes).clamp(min=1)
        chances = (1 / counts.double())[self._targets]
        return torch.multinomial(chances, len(self._targets) * repeats, replacement=True, generator=generator)


class PrefetchedBatches:
    """Threads that prepare the batches of an epoch ahead of time, in order."""

    def __init__(self, loader: BatchLoader, epoch: int, workers: int, *, on_cpu: bool) -> None:
        self._loader, self._epoch, self._workers, self._on_cpu = loader, epoch, workers, on_cpu
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="batches")
        self._pending: list[Future[Batch]] = []
        self._submitted = 0

    def __enter__(self) -> PrefetchedBatches:
        if self._on_cpu:
            self._limit_threads()
        for _ in range(self._workers + 1):
            self._submit()
        return self

    def _limit_threads(self) -> None:
        """Let each thread here compute on one core.

        With as many threads as a step has, both disturb each other: each operation of a step waits until its slowest
        core is done.
        """
        count, threads = self._workers, torch.get_num_threads()
        barrier = threading.Barrier(count + 1)

        def limit() -> None:
            torch.get_num_threads()  # the first call in a thread adopts the number of the process
            torch.set_num_threads(1)  # counts for this thread, and for those that start later
            barrier.wait()

        for _ in range(count):
            self._pool.submit(limit)
        barrier.wait()
        torch.set_num_threads(threads)

    def _submit(self) -> None:
        if self._submitted < self._loader.steps:
            self._pending.append(self._pool.submit(self._loader.load, self._epoch, self._submitted))
            self._submitted += 1

    def next(self) -> Batch:
        """The next batch, as soon as it is ready."""
        future = self._pending.pop(0)
        self._submit()
        return future.result()

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
