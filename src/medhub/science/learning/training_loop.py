# SPDX-License-Identifier: Apache-2.0
"""The training loop: seeded, watched, stoppable, and able to go on where it was ended.

The chance of a step depends on the seed, the epoch and the step alone. So an epoch that is run again after a kill gives
what it would have given, and the threads that prepare batches ahead of time do not change the result.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from medhub.errors import Invalid, MedhubError
from medhub.science.inference.preprocessing import Preprocessing
from medhub.science.learning import checkpoint, image_augmentation
from medhub.science.learning.checkpoint import State
from medhub.science.learning.dataset import ImageSet
from medhub.science.learning.distributed import ProcessGroup, synchronize, wrapped
from medhub.science.learning.network import Network
from medhub.science.learning.recipe import Augmentation, Recipe, Training
from medhub.science.learning.teacher import TeacherTargets

Teacher = Callable[[Tensor], TeacherTargets]
_HEAD_BATCH = 256


class Diverged(Invalid):
    """The loss is no number any more."""

    code = "training-diverged"
    title = "The training has diverged"


class OutOfMemory(Invalid):
    """A step needs more memory than there is."""

    code = "out-of-memory"
    title = "Not enough memory"


class Stopped(MedhubError):
    """Somebody ended the training; its checkpoint is kept."""

    code = "training-stopped"
    title = "The training was stopped"


@dataclass(frozen=True)
class Epoch:
    """What one pass over the images gave."""

    number: int
    of: int
    loss: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    seconds: float
    waited: float  # share of the time that steps waited for their batch
    stage: str = "all"  # "head" while the base is frozen


class EpochObserver(Protocol):
    """Who looks on."""

    def prepared(self, images: int, of: int) -> None:
        """The frozen base has computed the features of so many images."""

    def step(self, step: int, of: int, loss: float) -> None:
        """One step is done."""

    def epoch(self, epoch: Epoch) -> None:
        """One epoch is done."""

    def stop(self) -> bool:
        """Whether to end."""


class SilentEpochObserver:
    """Looks on without saying anything."""

    def prepared(self, images: int, of: int) -> None:
        """Say nothing."""

    def step(self, step: int, of: int, loss: float) -> None:
        """Say nothing."""

    def epoch(self, epoch: Epoch) -> None:
        """Say nothing."""

    def stop(self) -> bool:
        """Never end."""
        return False


@dataclass
class TrainedNetwork:
    """What training gave beside the weights.

    Attributes
    ----------
    curves
        What each epoch gave.
    epoch
        The epoch whose weights were taken.
    images_per_s
        Images that were learned from, in a second.
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
    watch: EpochObserver | None = None,
    kept: Path | None = None,
    made_of: str = "",
    teacher: Teacher | None = None,
    world: ProcessGroup | None = None,
) -> TrainedNetwork:
    """Train a network.

    Parameters
    ----------
    network
        With fresh or given weights; it is changed, and left in evaluation mode on the CPU.
    recipe
        What to do.
    learn, validate
        Images to learn from, and to look at after each epoch.
    watch
        Is told of each step and epoch, and may end the training.
    kept
        Folder of the checkpoint; a checkpoint that lies there is gone on from.
    made_of
        What this training is of, for the checkpoint.
    teacher
        Says something of a batch (N x 3 x S x S, 0..1).
    world
        The processes that learn together.

    Returns
    -------
    Learned

    Raises
    ------
    Diverged
        The loss became infinite or no number.
    OutOfMemory
        A batch did not fit.
    Stopped
        The watcher asked for it.
    """
    run = _Run(
        network,
        recipe,
        learn,
        validate,
        watch or SilentEpochObserver(),
        kept,
        made_of,
        teacher,
        world or ProcessGroup(),
    )
    try:
        return run.whole()
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
        watch: EpochObserver,
        kept: Path | None,
        made_of: str,
        teacher: Teacher | None,
        world: ProcessGroup,
    ) -> None:
        self.network, self.recipe, self.training = network, recipe, recipe.training
        self.learn, self.validate = learn, validate
        self.watch, self.kept, self.made_of, self.teacher, self.world = watch, kept, made_of, teacher, world
        network.dropout = recipe.network.dropout
        synchronize(network, world)
        network.to(world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.targets = torch.from_numpy(learn.targets)
        self.classes = network.classifier.out_features
        self.weights = _class_weights(self.training, learn.targets, self.classes)
        self.batches = max(1, len(learn.targets) * self.training.repeats // self.training.batch_size)
        self.learned = TrainedNetwork()
        self.average: checkpoint.Tensors = {}
        self.chosen: checkpoint.Tensors = {}
        self.best = (math.inf, 0)

    def whole(self) -> TrainedNetwork:
        state = checkpoint.load(self.kept, self.made_of) if self.kept is not None else None
        if state is None and self.training.frozen_epochs:
            _train_head(self)
        if self.training.epochs:
            self._train_all(state)
        self.network.eval()
        self.network.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return self.learned

    def _train_all(self, state: State | None) -> None:
        training = self.training
        # The optimizer comes after the averaging of gradients is set up, and both know the parameters by their order.
        model = wrapped(_Both(self.network), self.world)
        optimizer = make_optimizer(self.network, training)
        first = 1
        if state is not None:
            first = state.epoch + 1
            self._take_up(state, optimizer)
        elif training.ema:
            self.average = checkpoint.copied(self.network)
        spent = seen = 0.0
        for number in range(first, training.epochs + 1):
            if self._patience_is_at_end(number - 1):
                break
            start = time.perf_counter()
            loss, waited = self._epoch(number, model, optimizer)
            seconds = time.perf_counter() - start
            spent, seen = spent + seconds, seen + self.batches * training.batch_size
            self._look(number, loss, waited / max(seconds, 1e-9), optimizer.param_groups[0]["lr"], start)
            if self.kept is not None and self.world.leads:
                checkpoint.save(self.kept, self._state(number, optimizer))
        self.learned.images_per_s = seen / spent if spent else 0.0
        taken = self.chosen if training.keep == "best" and self.chosen else self.average
        if taken:
            self.network.load_state_dict(taken)
        self.learned.epoch = self.best[1] if training.keep == "best" else len(self._all_epochs())

    def _all_epochs(self) -> list[Epoch]:
        return [epoch for epoch in self.learned.curves if epoch.stage == "all"]

    def _take_up(self, state: State, optimizer: torch.optim.Optimizer) -> None:
        try:
            self.network.load_state_dict(state.network)
            checkpoint.restore_optimizer(optimizer, state.optimizer)
        except (RuntimeError, ValueError, KeyError) as error:
            raise Invalid("The checkpoint does not fit this network. Delete it to begin anew.") from error
        self.average, self.chosen, self.best = state.average, state.chosen, state.best
        self.learned.curves = [Epoch(**entry) for entry in state.curves]

    def _state(self, epoch: int, optimizer: torch.optim.Optimizer) -> State:
        return State(
            made_of=self.made_of,
            epoch=epoch,
            curves=[asdict(one) for one in self.learned.curves],
            best=self.best,
            network=checkpoint.copied(self.network),
            average=self.average,
            chosen=self.chosen,
            optimizer=checkpoint.optimizer_tensors(optimizer),
        )

    def _epoch(self, number: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[float, float]:
        training, total, waited = self.training, 0.0, 0.0
        steps = self.batches * training.epochs
        rates = [group["full_rate"] for group in optimizer.param_groups]
        self.network.train()
        torch.manual_seed(_seed(training.seed, number, -1) + self.world.rank)
        with _Ahead(self, number) as ahead:
            for step in range(self.batches):
                before = time.perf_counter()
                images, targets, taught = ahead.next()
                waited += time.perf_counter() - before
                done = (number - 1) * self.batches + step + 1
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * factor_at(training, (done - 1) / steps)
                loss = self._step(model, optimizer, images, targets, taught)
                if not math.isfinite(loss):
                    raise Diverged(
                        f"The loss is no number any more in epoch {number}, step {step + 1}. Take a lower "
                        f'learning_rate than {training.learning_rate:g}, or precision = "float32".'
                    )
                self._average(done)
                total += loss
                if self.world.leads:
                    self.watch.step(done, self.batches * training.epochs, loss)
                if self.world.agree(self.watch.stop()):
                    raise Stopped("The training was stopped; its checkpoint after the last whole epoch is kept.")
        return self.world.mean(total / self.batches), waited

    def _step(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        images: Tensor,
        targets: Tensor,
        taught: TeacherTargets | None,
    ) -> float:
        device = self.world.device
        images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(self.training, device)):
            logits, pooled = model(images)
        told = taught.to(device) if taught is not None else None
        loss = self._loss(logits.float(), pooled.float(), targets.to(device), told)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.training.gradient_clip)
        optimizer.step()
        return float(loss.detach())

    def _loss(self, logits: Tensor, pooled: Tensor, targets: Tensor, taught: TeacherTargets | None) -> Tensor:
        weights = (targets * self.weights.to(targets.device)).sum(1)
        smooth = self.training.label_smoothing
        aims = targets * (1 - smooth) + smooth / self.classes
        loss = (-(aims * functional.log_softmax(logits, 1)).sum(1) * weights).mean()
        recipe = self.recipe.distillation
        if taught is None or recipe is None:
            return loss
        heat = recipe.temperature
        told = functional.kl_div(
            functional.log_softmax(logits / heat, 1), functional.softmax(taught.logits / heat, 1), reduction="batchmean"
        )
        loss = loss * (1 - recipe.weight) + told * heat * heat * recipe.weight
        if recipe.features:
            aim = taught.features
            apart = (pooled[:, : aim.shape[1]] - aim).square().sum(1) / aim.square().sum(1).clamp(min=1e-6)
            loss = loss + recipe.features * apart.mean()
        return loss

    def _average(self, done: int) -> None:
        if not self.training.ema:
            return
        decay = min(self.training.ema, (1 + done) / (10 + done))
        # The first steps are nothing to remember: the decay grows with their number (as in TensorFlow's EMA).
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                kept = self.average[name]
                if kept.dtype.is_floating_point:
                    kept.lerp_(value.to(kept.device), 1 - decay)
                else:
                    kept.copy_(value)

    def _look(self, number: int, loss: float, waited: float, rate: float, start: float) -> None:
        now = checkpoint.copied(self.network) if self.average else {}
        if self.average:
            self.network.load_state_dict(self.average)
        logits, _ = predict(self.network, self.validate.images, self.recipe.preprocessing)
        self._note(number, self.training.epochs, loss, logits, waited, rate, start, "all")
        if self.training.keep == "best" and self.best[1] == number:
            self.chosen = checkpoint.copied(self.network)
        if now:
            self.network.load_state_dict(now)

    def _note(
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
        found = float(
            functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(self.validate.targets)).item()
        )
        right = float((logits.argmax(1) == self.validate.targets).mean())
        if stage == "all" and found < self.best[0]:
            self.best = (found, number)
        epoch = Epoch(number, of, loss, found, right, rate, time.perf_counter() - start, waited, stage)
        self.learned.curves.append(epoch)
        if self.world.leads:
            self.watch.epoch(epoch)

    def _patience_is_at_end(self, done: int) -> bool:
        patience = self.training.patience
        return bool(patience and self.best[1] and done - self.best[1] >= patience)

    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor, TeacherTargets | None]:
        """Prepare this process's share of a batch: images, targets (soft), what the teacher says."""
        training = self.training
        chosen = self._order(epoch)[step * training.batch_size : (step + 1) * training.batch_size]
        generator = torch.Generator().manual_seed(_seed(training.seed, epoch, step))
        draws = image_augmentation.draw(len(chosen), self.recipe.augmentation, generator)
        if len(chosen) == training.batch_size:
            share = self.world.share(training.batch_size)
            chosen, draws = chosen[share], {name: value[share] for name, value in draws.items()}
        images = torch.from_numpy(self.learn.images[chosen.numpy()]).permute(0, 3, 1, 2).float() / 255
        images = image_augmentation.apply(images, self.recipe.augmentation, draws)
        targets = functional.one_hot(self.targets[chosen], self.classes).float()
        images, targets = image_augmentation.mix(images, draws), image_augmentation.mix(targets, draws)
        taught = self.teacher(images) if self.teacher is not None else None
        return normalized(images, self.recipe.preprocessing), targets, taught

    def _order(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(_seed(self.training.seed, epoch, -2))
        repeats = self.training.repeats
        if self.training.class_balance != "sampler":
            return torch.cat([torch.randperm(len(self.targets), generator=generator) for _ in range(repeats)])
        counts = torch.bincount(self.targets, minlength=self.classes).clamp(min=1)
        chances = (1 / counts.double())[self.targets]
        return torch.multinomial(chances, len(self.targets) * repeats, replacement=True, generator=generator)


class _Both(nn.Module):
    """Gives logits, N x C, and the pooled features, N x D."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        pooled = self.network.maps(images)[-1].mean((2, 3))
        return self.network.head(pooled), pooled


class _Ahead:
    """Threads that prepare batches ahead of time, in order."""

    def __init__(self, run: _Run, epoch: int) -> None:
        self._run, self._epoch = run, epoch
        self._pool = ThreadPoolExecutor(run.training.workers, thread_name_prefix="batches")
        self._waiting: list[Future[tuple[Tensor, Tensor, TeacherTargets | None]]] = []
        self._asked = 0

    def __enter__(self) -> _Ahead:
        if self._run.world.device.type == "cpu":
            self._keep_to_one_core_each()
        for _ in range(self._run.training.workers + 1):
            self._ask()
        return self

    def _keep_to_one_core_each(self) -> None:
        """Let each thread here compute on one core.

        With as many as a step has, both get in each other's way: all that a step does waits until its slowest core is
        done.
        """
        count, threads = self._run.training.workers, torch.get_num_threads()
        all_there = threading.Barrier(count + 1)

        def begin() -> None:
            torch.get_num_threads()  # the first call in a thread takes over the number of the process
            torch.set_num_threads(1)  # counts for this thread, and for those that begin later
            all_there.wait()

        for _ in range(count):
            self._pool.submit(begin)
        all_there.wait()
        torch.set_num_threads(threads)

    def _ask(self) -> None:
        if self._asked < self._run.batches:
            self._waiting.append(self._pool.submit(self._run.batch, self._epoch, self._asked))
            self._asked += 1

    def next(self) -> tuple[Tensor, Tensor, TeacherTargets | None]:
        future = self._waiting.pop(0)
        self._ask()
        return future.result()

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)


def _train_head(run: _Run) -> None:
    """Let the head learn over features of the base that are computed once, for the images and varied copies."""
    training, network = run.training, run.network
    generator = torch.Generator().manual_seed(_seed(training.seed, 0, -3))
    looked = 0

    def looking(images: NDArray[np.uint8]) -> Tensor:
        nonlocal looked
        found = []
        for first in range(0, len(images), _HEAD_BATCH):
            part = images[first : first + _HEAD_BATCH]
            found.append(pooled_features(network, part, run.recipe.preprocessing))
            looked += len(part)
            if run.world.leads:
                run.watch.prepared(looked, len(run.targets) * (1 + training.frozen_passes) + len(run.validate.targets))
            if run.watch.stop():
                raise Stopped("The training was stopped before its first epoch.")
        return torch.from_numpy(np.concatenate(found)).float()

    passes = [looking(run.learn.images)]
    for _ in range(training.frozen_passes):
        passes.append(looking(varied_images(run.learn.images, run.recipe.augmentation, generator)))
    features, targets = torch.cat(passes), run.targets.repeat(len(passes))
    held_out = looking(run.validate.images)
    head = [value for name, value in network.named_parameters() if network.in_head(name)]
    optimizer = torch.optim.AdamW(head, lr=training.frozen_learning_rate, weight_decay=training.weight_decay)
    device = run.world.device
    torch.manual_seed(_seed(training.seed, 0, -1))
    for number in range(1, training.frozen_epochs + 1):
        start, total, steps = time.perf_counter(), 0.0, 0
        order = torch.randperm(len(targets), generator=generator)
        network.train()
        for first in range(0, len(order), _HEAD_BATCH):
            chosen = order[first : first + _HEAD_BATCH]
            known = features[chosen].to(device)
            aims = functional.one_hot(targets[chosen], run.classes).float()
            loss = run._loss(network.head(known), known, aims.to(device), None)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total, steps = total + float(loss.detach()), steps + 1
        network.eval()
        with torch.inference_mode():
            said = network.head(held_out.to(device)).double().cpu().numpy()
        run._note(
            number, training.frozen_epochs, total / steps, said, 0.0, training.frozen_learning_rate, start, "head"
        )
        if run.watch.stop():
            raise Stopped("The training was stopped before its first whole epoch.")


def pooled_features(network: Network, images: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float64]:
    """Compute the mean of the last map of each image, N x D."""
    return predict(network, images, preprocessing)[1][-1]


def varied_images(
    images: NDArray[np.uint8], augmentation: Augmentation, generator: torch.Generator, batch_size: int = 64
) -> NDArray[np.uint8]:
    """Vary images as training does; N x S x S x 3, uint8."""
    varied = np.empty_like(images)
    for first in range(0, len(images), batch_size):
        batch = torch.from_numpy(images[first : first + batch_size]).permute(0, 3, 1, 2).float() / 255
        changed = image_augmentation.vary(batch, augmentation, generator)
        varied[first : first + batch_size] = (changed * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return varied


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
    device = next(network.parameters()).device
    logits: list[Tensor] = []
    pooled: list[tuple[Tensor, ...]] = []
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            batch = torch.from_numpy(images[start : start + batch_size]).permute(0, 3, 1, 2).float() / 255
            maps = network.maps(normalized(batch, preprocessing).to(device))
            means = tuple(one.mean((2, 3)) for one in maps)
            logits.append(network.head(means[-1]).cpu())
            pooled.append(tuple(one.cpu() for one in means))
    return (
        torch.cat(logits).double().numpy(),
        [torch.cat(layer).double().numpy() for layer in zip(*pooled, strict=True)],
    )


@contextmanager
def repeatable(seed: int, threads: int | None = None) -> Iterator[None]:
    """Run with a fixed seed and number of threads: the same numbers again on the same machine."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)


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


def factor_at(training: Training, progress: float) -> float:
    """Compute by what the learning rate is multiplied.

    Parameters
    ----------
    training
        Names the schedule.
    progress
        Share of all steps that are done, 0..1.

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


def make_optimizer(network: Network, training: Training) -> torch.optim.Optimizer:
    """Make the optimizer of a recipe; the head, which starts from nothing, may walk faster."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        groups.setdefault((network.in_head(name), parameter.ndim > 1), []).append(parameter)
    options: list[dict[str, Any]] = [
        {
            "params": parameters,
            "lr": training.learning_rate * (training.head_factor if head else 1),
            "full_rate": training.learning_rate * (training.head_factor if head else 1),
            # Biases and normalization are not drawn to zero.
            "weight_decay": training.weight_decay if decayed else 0.0,
        }
        for (head, decayed), parameters in groups.items()
    ]
    # Not the fused kernels: they take it that an optimizer's state lies in memory as its weights do (channels last),
    # and what a checkpoint gives back does not.
    if training.optimizer == "sgd":
        return torch.optim.SGD(options, momentum=training.momentum, nesterov=training.momentum > 0)
    if training.optimizer == "adam":
        return torch.optim.Adam(options)
    return torch.optim.AdamW(options)


def normalized(batch: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Scale values of 0..1 as the classifier's preprocessing says."""
    mean = torch.tensor(preprocessing.mean).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std).view(1, 3, 1, 1)
    return ((batch * 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def _class_weights(training: Training, targets: NDArray[np.int64], classes: int) -> Tensor:
    if training.class_balance != "weights":
        return torch.ones(classes)
    counts = np.maximum(np.bincount(targets, minlength=classes), 1)
    return torch.from_numpy((len(targets) / classes / counts).astype(np.float32))


def _seed(seed: int, epoch: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, step + 8]).generate_state(1)[0])
