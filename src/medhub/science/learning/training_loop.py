# SPDX-License-Identifier: Apache-2.0
"""The training loop: seeded, observed, stoppable, and able to continue from its checkpoint."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from medhub.errors import Invalid
from medhub.science.learning import checkpoint
from medhub.science.learning.batch_loader import Batch, BatchLoader, TeacherFunction
from medhub.science.learning.checkpoint import State
from medhub.science.learning.dataset import ImageSet
from medhub.science.learning.distributed import ProcessGroup, average_gradients, synchronize
from medhub.science.learning.network import Network
from medhub.science.learning.network_outputs import pool_features, predict, vary_images
from medhub.science.learning.optimization import class_weights, learning_rate_factor, make_optimizer, uses_bf16
from medhub.science.learning.recipe import Recipe
from medhub.science.learning.seeding import derive_seed
from medhub.science.learning.teacher import TeacherTargets
from medhub.science.learning.training_progress import (
    Diverged,
    Epoch,
    EpochObserver,
    OutOfMemory,
    SilentEpochObserver,
    Stopped,
)

_HEAD_BATCH = 256
_TORCH_STEP, _HEAD_STEP = -1, -3  # purposes of derived seeds


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


def train(
    network: Network,
    recipe: Recipe,
    learn: ImageSet,
    validate: ImageSet,
    *,
    observer: EpochObserver | None = None,
    checkpoint_folder: Path | None = None,
    fingerprint: str = "",
    teacher: TeacherFunction | None = None,
    processes: ProcessGroup | None = None,
) -> TrainedNetwork:
    """Train a network.

    Parameters
    ----------
    network
        With random or initial weights; it is changed, and left in evaluation mode on the CPU.
    recipe
        The recipe.
    learn, validate
        Training images, and the images that are measured after each epoch.
    observer
        Receives each step and epoch, and may stop the training.
    checkpoint_folder
        Folder of the checkpoint; the training continues from a checkpoint that is there.
    fingerprint
        Digest of all that determines this training; a checkpoint with another one is refused.
    teacher
        Computes the targets of the distillation for a batch (N x 3 x S x S, 0..1).
    processes
        The processes that train together.

    Returns
    -------
    TrainedNetwork

    Raises
    ------
    Diverged
        The loss became infinite or no number.
    OutOfMemory
        A batch did not fit into memory.
    Stopped
        The observer asked for it.
    """
    run = _Run(
        network,
        recipe,
        learn,
        validate,
        observer or SilentEpochObserver(),
        checkpoint_folder,
        fingerprint,
        teacher,
        processes or ProcessGroup(),
    )
    try:
        return run.train_all()
    except torch.OutOfMemoryError as error:
        raise _too_large(recipe) from error
    except RuntimeError as error:
        if "not enough memory" in str(error) or "can't allocate memory" in str(error):
            raise _too_large(recipe) from error
        raise


def _too_large(recipe: Recipe) -> OutOfMemory:
    size = recipe.training.batch_size
    return OutOfMemory(
        f"A batch of {size} images of {recipe.preprocessing.size} px does not fit into memory. Take a smaller "
        f"batch_size ({max(2, size // 4 * 2)}) or a smaller size, or use a device with more memory."
    )


class _Run:
    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        learn: ImageSet,
        validate: ImageSet,
        observer: EpochObserver,
        checkpoint_folder: Path | None,
        fingerprint: str,
        teacher: TeacherFunction | None,
        processes: ProcessGroup,
    ) -> None:
        self.network, self.recipe, self.training = network, recipe, recipe.training
        self.learn, self.validate = learn, validate
        self.observer, self.processes = observer, processes
        self.checkpoint_folder, self.fingerprint = checkpoint_folder, fingerprint
        network.dropout = recipe.network.dropout
        synchronize(network, processes)
        network.to(processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.targets = torch.from_numpy(learn.targets)
        self.classes = network.classifier.out_features
        self.weights = class_weights(self.training, learn.targets, self.classes)
        self.batches = BatchLoader(recipe, learn, self.classes, teacher, processes)
        self.trained = TrainedNetwork()
        self.average: checkpoint.Tensors = {}
        self.best_weights: checkpoint.Tensors = {}
        self.best = (math.inf, 0)  # validation loss and epoch

    def train_all(self) -> TrainedNetwork:
        state = checkpoint.load(self.checkpoint_folder, self.fingerprint) if self.checkpoint_folder else None
        if state is None and self.training.frozen_epochs:
            _train_head(self)
        if self.training.epochs:
            self._train_network(state)
        self.network.eval()
        self.network.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return self.trained

    def _train_network(self, state: State | None) -> None:
        training = self.training
        # The optimizer comes after the averaging of gradients is set up, and both know the parameters by their order.
        model = average_gradients(_LogitsAndFeatures(self.network), self.processes)
        optimizer = make_optimizer(self.network, training)
        first = 1
        if state is not None:
            first = state.epoch + 1
            self._restore(state, optimizer)
        elif training.ema:
            self.average = checkpoint.copy_weights(self.network)
        spent = images = 0.0
        for number in range(first, training.epochs + 1):
            if self._patience_is_exhausted(number - 1):
                break
            start = time.perf_counter()
            loss, waited = self._epoch(number, model, optimizer)
            seconds = time.perf_counter() - start
            spent, images = spent + seconds, images + self.batches.steps * training.batch_size
            self._validate(number, loss, waited / max(seconds, 1e-9), optimizer.param_groups[0]["lr"], start)
            if self.checkpoint_folder is not None and self.processes.leads:
                checkpoint.save(self.checkpoint_folder, self._state(number, optimizer))
        self.trained.images_per_s = images / spent if spent else 0.0
        final = self.best_weights if training.keep == "best" and self.best_weights else self.average
        if final:
            self.network.load_state_dict(final)
        epochs = [epoch for epoch in self.trained.curves if epoch.stage == "all"]
        self.trained.epoch = self.best[1] if training.keep == "best" else len(epochs)

    def _restore(self, state: State, optimizer: torch.optim.Optimizer) -> None:
        try:
            self.network.load_state_dict(state.network)
            checkpoint.restore_optimizer(optimizer, state.optimizer)
        except (RuntimeError, ValueError, KeyError) as error:
            raise Invalid("The checkpoint does not fit this network. Delete it to begin anew.") from error
        self.average, self.best_weights, self.best = state.average, state.best_weights, state.best
        self.trained.curves = [Epoch(**entry) for entry in state.curves]

    def _state(self, epoch: int, optimizer: torch.optim.Optimizer) -> State:
        return State(
            fingerprint=self.fingerprint,
            epoch=epoch,
            curves=[asdict(each) for each in self.trained.curves],
            best=self.best,
            network=checkpoint.copy_weights(self.network),
            average=self.average,
            best_weights=self.best_weights,
            optimizer=checkpoint.optimizer_tensors(optimizer),
        )

    def _epoch(self, number: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[float, float]:
        training, count, total, waited = self.training, self.batches.steps, 0.0, 0.0
        steps = count * training.epochs
        rates = [group["full_rate"] for group in optimizer.param_groups]
        self.network.train()
        torch.manual_seed(derive_seed(training.seed, number, _TORCH_STEP) + self.processes.rank)
        with self.batches.prefetch(number) as prefetched:
            for step in range(count):
                before = time.perf_counter()
                batch = prefetched.next()
                waited += time.perf_counter() - before
                done = (number - 1) * count + step + 1
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * learning_rate_factor(training, (done - 1) / steps)
                loss = self._step(model, optimizer, batch)
                if not math.isfinite(loss):
                    raise Diverged(
                        f"The loss is no number any more in epoch {number}, step {step + 1}. Take a lower "
                        f'learning_rate than {training.learning_rate:g}, or precision = "float32".'
                    )
                self._update_average(done)
                total += loss
                if self.processes.leads:
                    self.observer.step(done, steps, loss)
                if self.processes.agree(self.observer.stop()):
                    raise Stopped("The training was stopped; its checkpoint after the last whole epoch is kept.")
        return self.processes.mean(total / count), waited

    def _step(self, model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> float:
        device = self.processes.device
        images = batch.images.to(device, memory_format=torch.channels_last, non_blocking=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(self.training, device)):
            logits, pooled = model(images)
        taught = batch.teacher.to(device) if batch.teacher is not None else None
        loss = self.loss(logits.float(), pooled.float(), batch.targets.to(device), taught)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.training.gradient_clip)
        optimizer.step()
        return float(loss.detach())

    def loss(self, logits: Tensor, pooled: Tensor, targets: Tensor, taught: TeacherTargets | None) -> Tensor:
        """The loss of a batch, of the labels and of the distillation."""
        weights = (targets * self.weights.to(targets.device)).sum(1)
        smooth = self.training.label_smoothing
        aims = targets * (1 - smooth) + smooth / self.classes
        loss = (-(aims * functional.log_softmax(logits, 1)).sum(1) * weights).mean()
        recipe = self.recipe.distillation
        if taught is None or recipe is None:
            return loss
        heat = recipe.temperature
        divergence = functional.kl_div(
            functional.log_softmax(logits / heat, 1), functional.softmax(taught.logits / heat, 1), reduction="batchmean"
        )
        loss = loss * (1 - recipe.weight) + divergence * heat * heat * recipe.weight
        if recipe.features:
            aim = taught.features
            error = (pooled[:, : aim.shape[1]] - aim).square().sum(1) / aim.square().sum(1).clamp(min=1e-6)
            loss = loss + recipe.features * error.mean()
        return loss

    def _update_average(self, done: int) -> None:
        if not self.training.ema:
            return
        # The average is to forget the first steps: the decay grows with their number (as in TensorFlow's EMA).
        decay = min(self.training.ema, (1 + done) / (10 + done))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                average = self.average[name]
                if average.dtype.is_floating_point:
                    average.lerp_(value.to(average.device), 1 - decay)
                else:
                    average.copy_(value)

    def _validate(self, number: int, loss: float, waited: float, rate: float, start: float) -> None:
        current = checkpoint.copy_weights(self.network) if self.average else {}
        if self.average:
            self.network.load_state_dict(self.average)
        logits, _ = predict(self.network, self.validate.images, self.recipe.preprocessing)
        self.record_epoch(number, self.training.epochs, loss, logits, waited, rate, start, "all")
        if self.training.keep == "best" and self.best[1] == number:
            self.best_weights = checkpoint.copy_weights(self.network)
        if current:
            self.network.load_state_dict(current)

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
        """Add an epoch to the curves, and report it."""
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

    def _patience_is_exhausted(self, done: int) -> bool:
        patience = self.training.patience
        return bool(patience and self.best[1] and done - self.best[1] >= patience)


class _LogitsAndFeatures(nn.Module):
    """Returns logits, N x C, and the pooled features, N x D."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        pooled = self.network.maps(images)[-1].mean((2, 3))
        return self.network.head(pooled), pooled


def _train_head(run: _Run) -> None:
    """Train the head on features of the frozen body, computed once for the images and for varied copies of them."""
    training, network = run.training, run.network
    generator = torch.Generator().manual_seed(derive_seed(training.seed, 0, _HEAD_STEP))
    features, held_out = _frozen_features(run, generator)
    targets = run.targets.repeat(training.frozen_passes + 1)
    head = [value for name, value in network.named_parameters() if network.in_head(name)]
    optimizer = torch.optim.AdamW(head, lr=training.frozen_learning_rate, weight_decay=training.weight_decay)
    device = run.processes.device
    torch.manual_seed(derive_seed(training.seed, 0, _TORCH_STEP))
    for number in range(1, training.frozen_epochs + 1):
        start, total, steps = time.perf_counter(), 0.0, 0
        order = torch.randperm(len(targets), generator=generator)
        network.train()
        for first in range(0, len(order), _HEAD_BATCH):
            indices = order[first : first + _HEAD_BATCH]
            inputs = features[indices].to(device)
            aims = functional.one_hot(targets[indices], run.classes).float()
            loss = run.loss(network.head(inputs), inputs, aims.to(device), None)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total, steps = total + float(loss.detach()), steps + 1
        network.eval()
        with torch.inference_mode():
            logits = network.head(held_out.to(device)).double().cpu().numpy()
        rate = training.frozen_learning_rate
        run.record_epoch(number, training.frozen_epochs, total / steps, logits, 0.0, rate, start, "head")
        if run.observer.stop():
            raise Stopped("The training was stopped before its first whole epoch.")


def _frozen_features(run: _Run, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Features of the training images with their varied copies, and of the validation images, each N x D."""
    passes = run.training.frozen_passes
    total = len(run.targets) * (1 + passes) + len(run.validate.targets)
    computed = 0

    def compute(images: NDArray[np.uint8]) -> Tensor:
        nonlocal computed
        features = []
        for first in range(0, len(images), _HEAD_BATCH):
            batch = images[first : first + _HEAD_BATCH]
            features.append(pool_features(run.network, batch, run.recipe.preprocessing))
            computed += len(batch)
            if run.processes.leads:
                run.observer.prepared(computed, total)
            if run.observer.stop():
                raise Stopped("The training was stopped before its first epoch.")
        return torch.from_numpy(np.concatenate(features)).float()

    learned = [compute(run.learn.images)]
    for _ in range(passes):
        learned.append(compute(vary_images(run.learn.images, run.recipe.augmentation, generator)))
    return torch.cat(learned), compute(run.validate.images)
