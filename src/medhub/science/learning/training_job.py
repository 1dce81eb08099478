# SPDX-License-Identifier: Apache-2.0
"""From labeled images and a recipe to a classifier folder with a measured card.

The steps, in order: check the data; train on the training part; fit the temperature, the abstention limit and the
novelty limit on the validation part; export and compare with torch; measure the written files on the test part, once;
write the card. The classifier appears in its folder when all steps are complete, and not before.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from medhub.errors import Conflict, Invalid
from medhub.science.inference.card import CARD_FILE, MODEL_FILE, Initialization, ModelCard
from medhub.science.inference.classifier import Classifier
from medhub.science.learning import charts, training_loop
from medhub.science.learning.architectures import build_network
from medhub.science.learning.card_builder import TrainingFacts, build_card
from medhub.science.learning.dataset import (
    ImageSet,
    ListingRow,
    digest_of,
    labels_of,
    load_images,
    part_of,
    split_rows,
    with_sources,
)
from medhub.science.learning.distributed import ProcessGroup
from medhub.science.learning.evaluation import Measurement, Results
from medhub.science.learning.initialization import initialize_weights
from medhub.science.learning.leakage import find_leaks
from medhub.science.learning.network import Network
from medhub.science.learning.output_fitting import FittedOutputs, fit_outputs
from medhub.science.learning.packaging import ship
from medhub.science.learning.quantization import INT8_FILE
from medhub.science.learning.recipe import Recipe
from medhub.science.learning.safetensors_file import encode_safetensors
from medhub.science.learning.seeding import fix_seed
from medhub.science.learning.teacher import Teacher
from medhub.science.learning.training_loop import TrainedNetwork
from medhub.science.learning.training_progress import EpochObserver, SilentEpochObserver

CHECKPOINT_FOLDER = "checkpoint"
WEIGHTS_FILE = "weights.safetensors"
STAGES = ("reading", "checking", "learning", "calibrating", "exporting", "measuring")


class DataLeakage(Invalid):
    """Images of different parts are equal or nearly equal."""

    code = "leak-found"
    title = "Training and test images overlap"


class Unfinished(Conflict):
    """The folder holds an unfinished training, or a classifier."""

    code = "training-exists"
    title = "The folder is in use"


class JobObserver(EpochObserver, Protocol):
    """Receives the progress of all stages, and can stop the training."""

    def stage(self, name: str) -> None:
        """The next stage starts."""


class SilentJobObserver(SilentEpochObserver):
    """Ignores all progress and never stops the training."""

    def stage(self, name: str) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class TrainingJob:
    """The inputs of a training, and its output folder.

    Attributes
    ----------
    recipe
        The recipe.
    rows
        The images, with or without a part each.
    folder
        Folder that paths in the recipe (teacher, initial weights) are relative to.
    out
        The classifier folder.
    recipe_name
        Name of the recipe in the commands that the card states.
    data
        Folder that the patterns of out-of-distribution images are relative to; none to skip that measurement.
    overrule
        Reason to train although images overlap; empty if such data are to be refused.
    key
        Secret key of the split, for listings without parts.
    """

    recipe: Recipe
    rows: tuple[ListingRow, ...]
    folder: Path
    out: Path
    recipe_name: str = "RECIPE"
    data: Path | None = None
    overrule: str = ""
    key: bytes = b""
    leaks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class TrainedClassifier:
    """The classifier, its figures on the test images, and the curves of the training."""

    classifier: Classifier
    measurement: Measurement
    results: Results
    training: TrainedNetwork


def run_training(
    job: TrainingJob,
    *,
    resume: bool = False,
    observer: JobObserver | None = None,
    processes: ProcessGroup | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> TrainedClassifier | None:
    """Train a classifier and write its folder.

    Parameters
    ----------
    job
        The inputs, and the output folder.
    resume
        Continue an unfinished training, if the folder has one.
    observer
        Receives stages, steps and epochs, and may stop the training.
    processes
        The processes that train together; only the first writes, the others return None.
    report
        Receives sentences for the user.

    Returns
    -------
    TrainedClassifier | None

    Raises
    ------
    Invalid
        The recipe, the images or the initial weights cannot be used; the loss diverged; memory did not suffice.
    Unfinished
        The folder holds a classifier, or an unfinished training and ``resume`` is false.
    DataLeakage
        Images overlap between the parts, and no reason to train nevertheless was given.
    ExportDiffers
        The exported graph does not compute what the network does.
    """
    observer, processes = observer or SilentJobObserver(), processes or ProcessGroup()
    recipe = job.recipe
    checkpoint_folder = job.out / CHECKPOINT_FOLDER
    if processes.leads:
        _refuse_to_overwrite(job.out, checkpoint_folder, resume)
    observer.stage("reading")
    rows_with_sources = with_sources(job.rows, recipe.source_of)
    rows = split_rows(rows_with_sources, job.key or hashlib.sha256(f"medhub/{recipe.about.name}".encode()).digest())
    labels = labels_of(rows)
    parts: dict[str, tuple[ListingRow, ...]] = {"train": part_of(rows, "train"), "val": part_of(rows, "val")}
    learn, validate = (load_images(part, labels, recipe.preprocessing) for part in parts.values())
    observer.stage("checking")
    leaks = [str(leak) for leak in find_leaks(rows)]
    _refuse_leaks(leaks, job.overrule)
    report(
        f"{len(learn.targets)} images to learn from, {len(validate.targets)} to validate with, {len(labels)} labels."
    )
    observer.stage("learning")
    with fix_seed(recipe.training.seed):
        network, start = _build_initialized(recipe, job.folder, len(labels), learn)
        data_digest = digest_of(rows)
        teacher = _load_teacher(recipe, job.folder, labels, network)
        fingerprint = _fingerprint(recipe, data_digest, start, teacher)
        trained = training_loop.train(
            network,
            recipe,
            learn,
            validate,
            observer=observer,
            checkpoint_folder=checkpoint_folder,
            fingerprint=fingerprint,
            teacher=teacher,
            processes=processes,
        )
        if not processes.leads:
            return None
        report(f"Learned: {trained.images_per_s:.1f} images/s; the weights of epoch {trained.epoch} are used.")
        observer.stage("calibrating")
        groups = [row.group for row in parts["val"]]
        fitted = fit_outputs(
            network, recipe, learn, validate, groups, labels, exporting=lambda: observer.stage("exporting")
        )
    facts = TrainingFacts(
        recipe=recipe,
        recipe_name=job.recipe_name,
        labels=labels,
        rows=rows,
        data_digest=data_digest,
        leaks=leaks,
        overrule=job.overrule,
        initialization=start,
        teacher=teacher,
        processes=processes,
    )
    card = build_card(facts, fitted, trained)
    observer.stage("measuring")
    return _write_classifier(job, card, fitted, rows, trained, report)


def _refuse_to_overwrite(out: Path, checkpoint_folder: Path, resume: bool) -> None:
    if (out / CARD_FILE).exists():
        raise Unfinished(f"{out} already holds a classifier. Use another folder.")
    if checkpoint_folder.exists() and not resume:
        raise Unfinished(f"{out} holds an unfinished training. Continue it with --resume, or use another folder.")


def _refuse_leaks(leaks: Sequence[str], overrule: str) -> None:
    if not leaks or overrule:
        return
    shown = "; ".join(leaks[:5]) + (f"; and {len(leaks) - 5} more" if len(leaks) > 5 else "")
    raise DataLeakage(
        f"{len(leaks)} pairs of images in different parts are almost the same: {shown}. Figures measured on "
        "training images are too good. Put each pair into one group, or give a reason to continue with "
        "--overrule-leakage."
    )


def _load_teacher(recipe: Recipe, folder: Path, labels: tuple[str, ...], network: Network) -> Teacher | None:
    if recipe.distillation is None:
        return None
    name = recipe.distillation.teacher
    for candidate in (folder / name, Path(name), Path("models") / name):
        if (candidate / CARD_FILE).is_file():
            teacher = Teacher(candidate, labels)
            if recipe.distillation.features and teacher.width > network.body_channels:
                raise Invalid(
                    f"The teacher {name} has {teacher.width} features, {recipe.network.architecture} only "
                    f"{network.body_channels}: they cannot be learned. Leave them out by features = 0.",
                    field="distillation.features",
                )
            return teacher
    raise Invalid(
        f"The teacher {name} is not there. Train it with its own recipe first, and give its folder with --teacher.",
        field="distillation.teacher",
    )


def _build_initialized(
    recipe: Recipe, folder: Path, classes: int, learn: ImageSet
) -> tuple[Network, Initialization | None]:
    settings = recipe.network
    network = build_network(settings.architecture, classes, hidden=settings.hidden)
    if recipe.start_from is None:
        if recipe.training.frozen_epochs:
            raise Invalid(
                "A frozen body needs initial weights: give start_from (or --init).",
                field="training.frozen_epochs",
            )
        return network, None
    start = initialize_weights(
        network, settings.architecture, recipe.start_from, folder, learn.images, recipe.preprocessing
    )
    return network, recipe.start if recipe.start is not None else start


def _fingerprint(recipe: Recipe, data_digest: str, start: Initialization | None, teacher: Teacher | None) -> str:
    parts = ("network", "preprocessing", "augmentation", "training", "distillation", "start_from")
    values = {name: recipe.model_dump(mode="json")[name] for name in parts}
    values["training"].pop("workers")
    if teacher is not None:
        values["distillation"]["teacher"] = teacher.model_sha256
    text = json.dumps([values, data_digest, start.source if start is not None else None], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _write_classifier(
    job: TrainingJob,
    card: ModelCard,
    fitted: FittedOutputs,
    rows: tuple[ListingRow, ...],
    trained: TrainedNetwork,
    report: Callable[[str], None],
) -> TrainedClassifier:
    record = {"curves": [asdict(epoch) for epoch in trained.curves], "images_per_s": trained.images_per_s}
    files = {MODEL_FILE: fitted.exported.model, "run.json": json.dumps(record, indent=1).encode()}
    if fitted.int8 is not None:
        files[INT8_FILE] = fitted.int8
    if fitted.weights is not None:
        files[WEIGHTS_FILE] = encode_safetensors(fitted.weights)
    shipped = ship(
        job.out,
        card,
        files,
        part_of(rows, "test"),
        out_of_distribution=job.recipe.out_of_distribution,
        data=job.data,
        draw=lambda folder, measurement, results: charts.draw_all(folder, trained.curves, measurement, results),
    )
    shutil.rmtree(job.out / CHECKPOINT_FOLDER, ignore_errors=True)
    report(f"ONNX Runtime differs from torch by {fitted.exported.difference:.1e}.")
    return TrainedClassifier(shipped.classifier, shipped.measurement, shipped.results, trained)
