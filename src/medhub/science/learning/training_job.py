# SPDX-License-Identifier: Apache-2.0
"""From labeled images and a recipe to a classifier folder with a card whose every figure was measured.

The steps, in order: check the data; learn from the training part; find the temperature, the limit of abstention and
the limit of novelty on the validation part; export and compare with torch; measure the written files on the test part,
once; write the card. The folder appears when all of it is done, and not before.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from medhub.errors import Conflict, Invalid
from medhub.science.inference.card import (
    CARD_FILE,
    MODEL_FILE,
    Abstention,
    Calibration,
    DataSource,
    ExplanationCheck,
    Initialization,
    ModelCard,
    QuantizedModel,
    TrainingRecord,
)
from medhub.science.inference.card import NoveltyCard as CardNovelty
from medhub.science.inference.classifier import Classifier
from medhub.science.learning import charts, training_loop
from medhub.science.learning.architectures import build_network
from medhub.science.learning.attribution import explain
from medhub.science.learning.calibration import Calibrator
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
from medhub.science.learning.novelty import BASIS, METHOD, SMALLEST_SPREAD, Novelty, fit_novelty, shape_limits
from medhub.science.learning.onnx_export import ExportDiffers, Exported, export, rounded
from medhub.science.learning.packaging import ship
from medhub.science.learning.quantization import INT8_FILE, logits_of, quantize
from medhub.science.learning.recalibration import code_version, settle, without_limit
from medhub.science.learning.recipe import Recipe
from medhub.science.learning.safetensors_file import encode_safetensors
from medhub.science.learning.teacher import Teacher
from medhub.science.learning.training_loop import TrainedNetwork

PARITY_IMAGES = 100
SPREADS = (SMALLEST_SPREAD, 0.03, 1.0)
KEPT = "checkpoint"
WEIGHTS_FILE = "weights.safetensors"
STAGES = ("reading", "checking", "learning", "calibrating", "exporting", "measuring")


class LeakFound(Invalid):
    """Images of the training part are in the test part too, or almost."""

    code = "leak-found"
    title = "Training and test images overlap"


class Unfinished(Conflict):
    """The folder holds a training that was not finished, or a classifier."""

    code = "training-exists"
    title = "The folder is in use"


class JobObserver(training_loop.EpochObserver, Protocol):
    """Who looks on at the whole of it."""

    def stage(self, name: str) -> None:
        """Another stage has begun."""


class SilentJobObserver(training_loop.SilentEpochObserver):
    """Looks on without saying anything."""

    def stage(self, name: str) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class TrainingJob:
    """What is to be trained, and where.

    Attributes
    ----------
    recipe
        What to do.
    rows
        The images; divided by the listing, or to be divided.
    folder
        What the recipe's own paths (teacher, starting weights) are relative to.
    out
        The classifier folder.
    recipe_name
        For the commands that the card names.
    data
        What the patterns of strangers are relative to; none if they are not to be measured.
    overrule
        Why training goes on although images overlap; empty if it must not.
    key
        Secret by which groups are divided where the listing does not say.
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
    """What a training made: the classifier, and what it reached on the test images."""

    classifier: Classifier
    found: Measurement
    reached: Results
    learned: TrainedNetwork


def run_training(
    job: TrainingJob,
    *,
    resume: bool = False,
    watch: JobObserver | None = None,
    world: ProcessGroup | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> TrainedClassifier | None:
    """Make a classifier folder.

    Parameters
    ----------
    job
        What, and where.
    resume
        Go on with a training that was ended, if there is one in the folder.
    watch
        Is told of stages, steps and epochs, and may end the training.
    world
        The processes that learn together; only the first writes, the others get None.
    say
        Is given sentences for the person who waits.

    Returns
    -------
    Made | None

    Raises
    ------
    Invalid
        The recipe, the images or the starting weights cannot be used; the loss diverged; memory did not suffice.
    Unfinished
        The folder holds a classifier already, or an unfinished training that was not asked to go on.
    LeakFound
        Images overlap between the parts, and nobody gave a reason to go on.
    ExportDiffers
        The exported graph does not compute what the network does.
    """
    watch, world = watch or SilentJobObserver(), world or ProcessGroup()
    recipe = job.recipe
    kept = job.out / KEPT
    if world.leads:
        _refuse_to_overwrite(job.out, kept, resume)
    watch.stage("reading")
    known = with_sources(job.rows, recipe.source_of)
    rows = split_rows(known, job.key or hashlib.sha256(f"medhub/{recipe.about.name}".encode()).digest())
    labels = labels_of(rows)
    parts: dict[str, tuple[ListingRow, ...]] = {"train": part_of(rows, "train"), "val": part_of(rows, "val")}
    learn, validate = (load_images(part, labels, recipe.preprocessing) for part in parts.values())
    watch.stage("checking")
    leaks = [str(leak) for leak in find_leaks(rows)]
    _refuse_leaks(leaks, job.overrule)
    say(f"{len(learn.targets)} images to learn from, {len(validate.targets)} to validate with, {len(labels)} labels.")
    watch.stage("learning")
    with training_loop.repeatable(recipe.training.seed):
        network, start = _started(recipe, job.folder, len(labels), learn)
        data_digest = digest_of(rows)
        teacher = _teacher(recipe, job.folder, labels, network)
        made_of = _made_of(recipe, data_digest, start, teacher)
        learned = training_loop.train(
            network,
            recipe,
            learn,
            validate,
            watch=watch,
            kept=kept,
            made_of=made_of,
            teacher=teacher,
            world=world,
        )
        if not world.leads:
            return None
        say(f"Learned: {learned.images_per_s:.1f} images/s; the weights of epoch {learned.epoch} are taken.")
        watch.stage("calibrating")
        groups = [row.group for row in parts["val"]]
        fitted = _fit(network, recipe, learn, validate, groups, labels, watch)
    card = _card(job, fitted, labels, start, learned, rows, data_digest, leaks, world, teacher)
    watch.stage("measuring")
    return _written(job, card, fitted, rows, learned, say)


def _refuse_to_overwrite(out: Path, kept: Path, resume: bool) -> None:
    if (out / CARD_FILE).exists():
        raise Unfinished(f"{out} holds a classifier already. Take another folder.")
    if kept.exists() and not resume:
        raise Unfinished(f"{out} holds a training that was not finished. Go on by --resume, or take another folder.")


def _refuse_leaks(leaks: Sequence[str], overrule: str) -> None:
    if not leaks or overrule:
        return
    shown = "; ".join(leaks[:5]) + (f"; and {len(leaks) - 5} more" if len(leaks) > 5 else "")
    raise LeakFound(
        f"{len(leaks)} pairs of images in different parts are almost the same: {shown}. What is measured on images "
        "that were learned from promises too much. Put each pair into one group, or give a reason to go on by "
        "--overrule-leakage."
    )


def _teacher(recipe: Recipe, folder: Path, labels: tuple[str, ...], network: Network) -> Teacher | None:
    if recipe.distillation is None:
        return None
    name = recipe.distillation.teacher
    for place in (folder / name, Path(name), Path("models") / name):
        if (place / CARD_FILE).is_file():
            teacher = Teacher(place, labels)
            if recipe.distillation.features and teacher.width > network.body_channels:
                raise Invalid(
                    f"The teacher {name} has {teacher.width} features, {recipe.network.architecture} only "
                    f"{network.body_channels}: they cannot be learned. Leave them out by features = 0.",
                    field="distillation.features",
                )
            return teacher
    raise Invalid(
        f"The teacher {name} is not there. Make it by its own recipe first, and name its folder by --teacher.",
        field="distillation.teacher",
    )


def _started(recipe: Recipe, folder: Path, classes: int, learn: ImageSet) -> tuple[Network, Initialization | None]:
    wanted = recipe.network
    network = build_network(wanted.architecture, classes, hidden=wanted.hidden)
    if recipe.start_from is None:
        if recipe.training.frozen_epochs:
            raise Invalid(
                "A frozen base must have learned something before: give start_from (or --init).",
                field="training.frozen_epochs",
            )
        return network, None
    start = initialize_weights(
        network, wanted.architecture, recipe.start_from, folder, learn.images, recipe.preprocessing
    )
    return network, recipe.start if recipe.start is not None else start


def _made_of(recipe: Recipe, data_digest: str, start: Initialization | None, teacher: Teacher | None) -> str:
    parts = ("network", "preprocessing", "augmentation", "training", "distillation", "start_from")
    values = {name: recipe.model_dump(mode="json")[name] for name in parts}
    values["training"].pop("workers")
    if teacher is not None:
        values["distillation"]["teacher"] = teacher.model_sha256
    text = json.dumps([values, data_digest, start.source if start is not None else None], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class _Fitted:
    exported: Exported
    calibrator: Calibrator
    novelty_limit: float
    calibration: Calibration
    abstention: Abstention | None
    explained: ExplanationCheck
    quantized: QuantizedModel | None
    int8: bytes | None
    weights: dict[str, torch.Tensor] | None
    shapes: tuple[float, float] | None


def _fit(
    network: Network,
    recipe: Recipe,
    learn: ImageSet,
    validate: ImageSet,
    groups: Sequence[str],
    labels: tuple[str, ...],
    watch: JobObserver,
) -> _Fitted:
    if recipe.export.half:
        rounded(network)
    novelty, limit, exported = _exported(network, recipe, learn, validate, labels)
    logits, pooled = training_loop.predict(network, validate.images, recipe.preprocessing)
    with torch.inference_mode():
        distances = novelty(tuple(torch.from_numpy(one.astype(np.float32)) for one in pooled)).numpy()
    calibrator, calibration, abstention = settle(
        logits, ~(distances <= limit), validate.targets, groups, recipe.abstention
    )
    explained = explain(network, validate.images, recipe.preprocessing, recipe.training.seed)
    watch.stage("exporting")
    quantized, int8 = _quantized(network, recipe, exported, learn, validate, labels, novelty)
    weights = dict(network.state_dict()) if recipe.export.weights else None
    return _Fitted(
        exported,
        calibrator,
        round(limit, 6),
        calibration,
        abstention,
        explained,
        quantized,
        int8,
        weights,
        shape_limits(learn),
    )


def _exported(
    network: Network, recipe: Recipe, learn: ImageSet, validate: ImageSet, labels: tuple[str, ...]
) -> tuple[Novelty, float, Exported]:
    """Fit the distance and export; a network that hardly tells images apart needs a larger least spread for that.

    Its features differ by little more than the rounding of 32-bit numbers, which the distance would blow up.
    """
    step = max(1, len(validate.images) // PARITY_IMAGES)
    seed = recipe.training.seed
    for smallest in SPREADS:
        novelty, limit = fit_novelty(
            network, recipe.novelty, recipe.augmentation, recipe.preprocessing, learn, validate, seed, smallest
        )
        try:
            images = validate.images[::step]
            return (
                novelty,
                limit,
                export(network, novelty, labels, recipe.preprocessing, images, half=recipe.export.half),
            )
        except ExportDiffers:
            if smallest == SPREADS[-1]:
                raise
    raise AssertionError("unreachable")


def _quantized(
    network: Network,
    recipe: Recipe,
    exported: Exported,
    learn: ImageSet,
    validate: ImageSet,
    labels: tuple[str, ...],
    novelty: Any,
) -> tuple[QuantizedModel | None, bytes | None]:
    if not recipe.export.int8:
        return None, None
    whole = exported.model
    if recipe.export.half:
        whole = export(network, novelty, labels, recipe.preprocessing, validate.images[:2]).model
    small = quantize(whole, learn.images, recipe.preprocessing)
    right, now_right = (
        float((logits_of(model, validate.images, recipe.preprocessing).argmax(1) == validate.targets).mean())
        for model in (whole, small)
    )
    drop = right - now_right
    kept = drop < recipe.export.int8_drop
    digest = hashlib.sha256(small).hexdigest() if kept else None
    megabytes = round(len(small) / 1e6, 2)
    return QuantizedModel(
        shipped=kept, accuracy_drop=round(drop, 4), megabytes=megabytes, sha256=digest
    ), small if kept else None


def _card(
    job: TrainingJob,
    fitted: _Fitted,
    labels: tuple[str, ...],
    start: Initialization | None,
    learned: TrainedNetwork,
    rows: tuple[ListingRow, ...],
    data_digest: str,
    leaks: Sequence[str],
    world: ProcessGroup,
    teacher: Teacher | None,
) -> ModelCard:
    recipe = job.recipe
    counts = tuple(sum(row.split == part for row in rows) for part in ("train", "val", "test"))
    data: tuple[DataSource, ...] = ()
    if recipe.source is not None:
        split = f"{recipe.source.split}; {counts[0]} to learn from, {counts[1]} to validate with, {counts[2]} to test"
        data = (DataSource.model_validate(recipe.source.model_dump() | {"images": len(rows), "split": split}),)
    limitations = recipe.about.limitations
    if fitted.abstention is None:
        limitations += (without_limit(recipe.abstention),)
    return ModelCard(
        **recipe.about.model_dump(exclude={"limitations"}),
        limitations=limitations,
        architecture=recipe.network.architecture
        + (f" + dense {recipe.network.hidden}" if recipe.network.hidden else ""),
        labels=labels,
        model_sha256=fitted.exported.sha256,
        temperature=fitted.calibrator.temperature,
        offsets=fitted.calibrator.offsets,
        trained_with=f"medhub train {job.recipe_name} --data DATA.csv --out models/{recipe.about.name}",
        preprocessing=recipe.preprocessing,
        novelty=CardNovelty(
            limit=fitted.novelty_limit,
            quantile=recipe.novelty.quantile,
            method=METHOD.format(components=recipe.novelty.components),
            basis=BASIS.format(share=recipe.novelty.quantile * 100, passes=recipe.novelty.passes),
            shapes=fitted.shapes,
        ),
        start=start,
        data=(*data, *recipe.measured_with),
        calibration=fitted.calibration,
        abstention=fitted.abstention,
        explained=fitted.explained,
        quantized=fitted.quantized,
        run=TrainingRecord(
            code=code_version(),
            data_sha256=data_digest,
            recipe_sha256=hashlib.sha256(recipe.model_dump_json().encode()).hexdigest(),
            seed=recipe.training.seed,
            epochs=len(learned.curves),
            taken_epoch=learned.epoch,
            images=(counts[0], counts[1], counts[2]),
            device=f"{world.device.type}, {world.size} process(es), {torch.get_num_threads()} thread(s)",
            environment=f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}",
            teacher=f"{teacher.name}, digest {teacher.digest}" if teacher is not None else "",
            overruled=f"{job.overrule} ({len(leaks)} pairs of near duplicates)" if leaks else "",
        ),
    )


def _written(
    job: TrainingJob,
    card: ModelCard,
    fitted: _Fitted,
    rows: tuple[ListingRow, ...],
    learned: TrainedNetwork,
    say: Callable[[str], None],
) -> TrainedClassifier:
    record = {"curves": [asdict(epoch) for epoch in learned.curves], "images_per_s": learned.images_per_s}
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
        strangers=job.recipe.out_of_distribution,
        data=job.data,
        draw=lambda folder, found, reached: charts.draw_all(folder, learned.curves, found, reached),
    )
    shutil.rmtree(job.out / KEPT, ignore_errors=True)
    say(f"ONNX Runtime differs from torch by {fitted.exported.difference:.1e}.")
    return TrainedClassifier(shipped.classifier, shipped.found, shipped.reached, learned)
