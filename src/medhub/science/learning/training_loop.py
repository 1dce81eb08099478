# SPDX-License-Identifier: Apache-2.0
"""The training loop: seeded, observed, stoppable, and able to continue from its checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from medhub.errors import Invalid
from medhub.science.learning import checkpoint
from medhub.science.learning.batch_loader import Batch, BatchLoader, TeacherFunction
from medhub.science.learning.checkpoint import State
from medhub.science.learning.dataset import ImageSet
from medhub.science.learning.distributed import ProcessGroup, average_gradients
from medhub.science.learning.head_training import train_head
from medhub.science.learning.network import Network
from medhub.science.learning.network_outputs import predict
from medhub.science.learning.optimization import learning_rate_factor, make_optimizer, uses_bf16
from medhub.science.learning.recipe import Recipe
from medhub.science.learning.seeding import derive_seed
from medhub.science.learning.training_context import TrainedNetwork, TrainingContext
from medhub.science.learning.training_progress import Diverged, Epoch, EpochObserver, OutOfMemory, Stopped

_TORCH_STEP = -1  # purpose of a derived seed


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
    context = TrainingContext(network, recipe, learn, validate, observer, processes)
    with _memory_errors(recipe):
        state = checkpoint.load(checkpoint_folder, fingerprint) if checkpoint_folder else None
        if state is None and recipe.training.frozen_epochs:
            train_head(context)
        if recipe.training.epochs:
            _NetworkTraining(context, teacher, checkpoint_folder, fingerprint).train(state)
        network.eval()
        network.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return context.trained


@contextmanager
def _memory_errors(recipe: Recipe) -> Iterator[None]:
    """Convert torch's errors about memory into ``OutOfMemory``."""
    try:
        yield
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


class _NetworkTraining:
    """The epochs that train all weights."""

    def __init__(
        self,
        context: TrainingContext,
        teacher: TeacherFunction | None,
        checkpoint_folder: Path | None,
        fingerprint: str,
    ) -> None:
        self.context, self.training = context, context.training
        self.network, self.processes = context.network, context.processes
        self.checkpoint_folder, self.fingerprint = checkpoint_folder, fingerprint
        self.batches = BatchLoader(context.recipe, context.learn, context.classes, teacher, context.processes)
        # The optimizer comes after the averaging of gradients is set up, and both know the parameters by their order.
        self.model = average_gradients(_LogitsAndFeatures(self.network), self.processes)
        self.optimizer = make_optimizer(self.network, self.training)
        self.average: checkpoint.Tensors = {}
        self.best_weights: checkpoint.Tensors = {}

    def train(self, state: State | None) -> None:
        """Run the epochs, from a checkpoint if there is one, and set the network to the chosen weights."""
        context, training = self.context, self.training
        first = 1
        if state is not None:
            first = state.epoch + 1
            self._restore(state)
        elif training.ema:
            self.average = checkpoint.copy_weights(self.network)
        spent = images = 0.0
        for number in range(first, training.epochs + 1):
            if self._patience_is_exhausted(number - 1):
                break
            start = time.perf_counter()
            loss, waited = self._epoch(number)
            seconds = time.perf_counter() - start
            spent, images = spent + seconds, images + self.batches.steps * training.batch_size
            self._validate(number, loss, waited / max(seconds, 1e-9), start)
            if self.checkpoint_folder is not None and self.processes.leads:
                checkpoint.save(self.checkpoint_folder, self._state(number))
        context.trained.images_per_s = images / spent if spent else 0.0
        final = self.best_weights if training.keep == "best" and self.best_weights else self.average
        if final:
            self.network.load_state_dict(final)
        epochs = [epoch for epoch in context.trained.curves if epoch.stage == "all"]
        context.trained.epoch = context.best[1] if training.keep == "best" else len(epochs)

    def _restore(self, state: State) -> None:
        try:
            self.network.load_state_dict(state.network)
            checkpoint.restore_optimizer(self.optimizer, state.optimizer)
        except (RuntimeError, ValueError, KeyError) as error:
            raise Invalid("The checkpoint does not fit this network. Delete it to begin anew.") from error
        self.average, self.best_weights, self.context.best = state.average, state.best_weights, state.best
        self.context.trained.curves = [Epoch(**entry) for entry in state.curves]

    def _state(self, epoch: int) -> State:
        return State(
            fingerprint=self.fingerprint,
            epoch=epoch,
            curves=[asdict(each) for each in self.context.trained.curves],
            best=self.context.best,
            network=checkpoint.copy_weights(self.network),
            average=self.average,
            best_weights=self.best_weights,
            optimizer=checkpoint.optimizer_tensors(self.optimizer),
        )

    def _epoch(self, number: int) -> tuple[float, float]:
        """Run one epoch, and return its mean loss and the seconds that steps waited for batches."""
        training, count, total, waited = self.training, self.batches.steps, 0.0, 0.0
        observer, groups = self.context.observer, self.optimizer.param_groups
        steps = count * training.epochs
        rates = [group["full_rate"] for group in groups]
        self.network.train()
        torch.manual_seed(derive_seed(training.seed, number, _TORCH_STEP) + self.processes.rank)
        with self.batches.prefetch(number) as prefetched:
            for step in range(count):
                before = time.perf_counter()
                batch = prefetched.next()
                waited += time.perf_counter() - before
                done = (number - 1) * count + step + 1
                for group, rate in zip(groups, rates, strict=True):
                    group["lr"] = rate * learning_rate_factor(training, (done - 1) / steps)
                loss = self._step(batch)
                if not math.isfinite(loss):
                    raise Diverged(
                        f"The loss is no number any more in epoch {number}, step {step + 1}. Take a lower "
                        f'learning_rate than {training.learning_rate:g}, or precision = "float32".'
                    )
                self._update_average(done)
                total += loss
                if self.processes.leads:
                    observer.step(done, steps, loss)
                if self.processes.agree(observer.stop()):
                    raise Stopped("The training was stopped; its checkpoint after the last whole epoch is kept.")
        return self.processes.mean(total / count), waited

    def _step(self, batch: Batch) -> float:
        device = self.processes.device
        images = batch.images.to(device, memory_format=torch.channels_last, non_blocking=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(self.training, device)):
            logits, pooled = self.model(images)
        taught = batch.teacher.to(device) if batch.teacher is not None else None
        loss = self.context.loss(logits.float(), pooled.float(), batch.targets.to(device), taught)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.training.gradient_clip)
        self.optimizer.step()
        return float(loss.detach())

    def _update_average(self, done: int) -> None:
        if not self.training.ema:
            return
        # The decay grows with the number of steps, so that the average forgets the first ones (as TensorFlow's EMA).
        decay = min(self.training.ema, (1 + done) / (10 + done))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                average = self.average[name]
                if average.dtype.is_floating_point:
                    average.lerp_(value.to(average.device), 1 - decay)
                else:
                    average.copy_(value)

    def _validate(self, number: int, loss: float, waited: float, start: float) -> None:
        """Measure the averaged weights if there are any, else the present ones, on the validation images."""
        context = self.context
        current = checkpoint.copy_weights(self.network) if self.average else {}
        if self.average:
            self.network.load_state_dict(self.average)
        logits, _ = predict(self.network, context.validate.images, context.recipe.preprocessing)
        rate = self.optimizer.param_groups[0]["lr"]
        context.record_epoch(number, self.training.epochs, loss, logits, waited, rate, start, "all")
        if self.training.keep == "best" and context.best[1] == number:
            self.best_weights = checkpoint.copy_weights(self.network)
        if current:
            self.network.load_state_dict(current)

    def _patience_is_exhausted(self, done: int) -> bool:
        patience, best = self.training.patience, self.context.best[1]
        return bool(patience and best and done - best >= patience)


class _LogitsAndFeatures(nn.Module):
    """Returns logits, N x C, and the pooled features, N x D."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        pooled = self.network.maps(images)[-1].mean((2, 3))
        return self.network.head(pooled), pooled
