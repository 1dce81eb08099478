# SPDX-License-Identifier: Apache-2.0
"""A training, from labeled images and a recipe to the folder of a classifier with its card.

The steps: check the data; train on the training part; fit calibration, abstention threshold and novelty limit on the
validation part; export, and compare with torch; measure the exported files once on the test part; write the card. The
classifier appears in its folder when all steps are complete.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from medhub.errors import Conflict
from medhub.science.inference.card import CARD_FILE, MODEL_FILE, ModelCard
from medhub.science.inference.classifier import Classifier
from medhub.science.learning import charts, training_loop
from medhub.science.learning.card_builder import TrainingFacts, build_card
from medhub.science.learning.dataset import (
    ListingRow,
    part_of,
)
from medhub.science.learning.distributed import ProcessGroup
from medhub.science.learning.evaluation import Results
from medhub.science.learning.measurement import Measurement
from medhub.science.learning.network import Network
from medhub.science.learning.output_fitting import FittedOutputs, fit_outputs
from medhub.science.learning.packaging import package_classifier
from medhub.science.learning.quantization import INT8_FILE
from medhub.science.learning.recipe import Recipe
from medhub.science.learning.safetensors_file import encode_safetensors
from medhub.science.learning.seeding import fix_seed
from medhub.science.learning.training_context import TrainedNetwork
from medhub.science.learning.training_inputs import InitialNetwork, TrainingData, initialize_network, read_data
from medhub.science.learning.training_progress import EpochObserver, SilentEpochObserver

CHECKPOINT_FOLDER = "checkpoint"
WEIGHTS_FILE = "weights.safetensors"
STAGES = ("reading", "checking", "learning", "calibrating", "exporting", "measuring")


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
    if processes.leads:
        _refuse_to_overwrite(job.out, resume)
    data = read_data(job.rows, job.recipe, job.key, job.overrule, observer.stage)
    report(
        f"{len(data.learn.targets)} images to learn from, {len(data.validate.targets)} to validate with, "
        f"{len(data.labels)} labels."
    )
    observer.stage("learning")
    with fix_seed(job.recipe.training.seed):
        initial = initialize_network(job.recipe, job.folder, data)
        trained = _train_network(job, data, initial, observer, processes)
        if not processes.leads:
            return None
        report(f"Learned: {trained.images_per_s:.1f} images/s; the weights of epoch {trained.epoch} are used.")
        fitted = _fit_outputs(initial.network, job.recipe, data, observer)
    card = build_card(_collect_facts(job, data, initial, processes), fitted, trained)
    observer.stage("measuring")
    return _write_classifier(job, card, fitted, data.rows, trained, report)


def _train_network(
    job: TrainingJob, data: TrainingData, initial: InitialNetwork, observer: JobObserver, processes: ProcessGroup
) -> TrainedNetwork:
    return training_loop.train(
        initial.network,
        job.recipe,
        data.learn,
        data.validate,
        observer=observer,
        checkpoint_folder=job.out / CHECKPOINT_FOLDER,
        fingerprint=initial.fingerprint(job.recipe),
        teacher=initial.teacher,
        processes=processes,
    )


def _collect_facts(
    job: TrainingJob, data: TrainingData, initial: InitialNetwork, processes: ProcessGroup
) -> TrainingFacts:
    return TrainingFacts(
        recipe=job.recipe,
        recipe_name=job.recipe_name,
        labels=data.labels,
        rows=data.rows,
        data_digest=initial.data_digest,
        leaks=data.leaks,
        overrule=job.overrule,
        initialization=initial.initialization,
        teacher=initial.teacher,
        processes=processes,
    )


def _fit_outputs(network: Network, recipe: Recipe, data: TrainingData, observer: JobObserver) -> FittedOutputs:
    observer.stage("calibrating")
    groups = [row.group for row in part_of(data.rows, "val")]
    return fit_outputs(
        network, recipe, data.learn, data.validate, groups, data.labels, exporting=lambda: observer.stage("exporting")
    )


def _refuse_to_overwrite(out: Path, resume: bool) -> None:
    if (out / CARD_FILE).exists():
        raise Unfinished(f"{out} already holds a classifier. Use another folder.")
    if (out / CHECKPOINT_FOLDER).exists() and not resume:
        raise Unfinished(f"{out} holds an unfinished training. Continue it with --resume, or use another folder.")


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
    packaged = package_classifier(
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
    return TrainedClassifier(packaged.classifier, packaged.measurement, packaged.results, trained)
