# SPDX-License-Identifier: Apache-2.0
"""The inputs of a training: its images, split and searched for leakage, and the network with its initial weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medhub.errors import Invalid
from medhub.science.inference.card import CARD_FILE, Initialization
from medhub.science.learning.architectures import build_network
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
from medhub.science.learning.initialization import initialize_weights
from medhub.science.learning.leakage import find_leaks
from medhub.science.learning.network import Network
from medhub.science.learning.recipe import Recipe
from medhub.science.learning.teacher import Teacher


class DataLeakage(Invalid):
    """Images of different parts are equal or nearly equal."""

    code = "leak-found"
    title = "Training and test images overlap"


@dataclass(frozen=True)
class TrainingData:
    """The images of a training.

    Attributes
    ----------
    rows
        All images, each with its part.
    learn, validate
        The training and validation parts in memory.
    leaks
        Near duplicates across parts, each as a sentence.
    """

    rows: tuple[ListingRow, ...]
    labels: tuple[str, ...]
    learn: ImageSet
    validate: ImageSet
    leaks: list[str]


def read_data(
    listing: Sequence[ListingRow], recipe: Recipe, key: bytes, overrule: str, stage: Callable[[str], None]
) -> TrainingData:
    """Split and read the images of a training, and search them for leakage.

    Parameters
    ----------
    listing
        The images, with or without a part each.
    recipe
        The recipe.
    key
        Secret key of the split, for listings without parts; derived from the name of the classifier if empty.
    overrule
        Reason to train although images overlap; empty if such data are to be refused.
    stage
        Called with the name of each stage when it starts.

    Returns
    -------
    TrainingData

    Raises
    ------
    Invalid
        The images cannot be split or read.
    DataLeakage
        Images overlap between the parts, and no reason was given.
    """
    stage("reading")
    key = key or hashlib.sha256(f"medhub/{recipe.about.name}".encode()).digest()
    rows = split_rows(with_sources(listing, recipe.source_of), key)
    labels = labels_of(rows)
    learn = load_images(part_of(rows, "train"), labels, recipe.preprocessing)
    validate = load_images(part_of(rows, "val"), labels, recipe.preprocessing)
    stage("checking")
    leaks = [str(leak) for leak in find_leaks(rows)]
    _refuse_leaks(leaks, overrule)
    return TrainingData(rows, labels, learn, validate, leaks)


@dataclass(frozen=True)
class InitialNetwork:
    """A network before its training, and what its training depends on.

    Attributes
    ----------
    initialization
        Origin of the initial weights; none if they are random.
    data_digest
        Digest of the images.
    """

    network: Network
    initialization: Initialization | None
    teacher: Teacher | None
    data_digest: str

    def fingerprint(self, recipe: Recipe) -> str:
        """Digest of all that determines the weights; a checkpoint with another one belongs to another training."""
        parts = ("network", "preprocessing", "augmentation", "training", "distillation", "start_from")
        values = {name: recipe.model_dump(mode="json")[name] for name in parts}
        values["training"].pop("workers")
        if self.teacher is not None:
            values["distillation"]["teacher"] = self.teacher.model_sha256
        source = self.initialization.source if self.initialization is not None else None
        text = json.dumps([values, self.data_digest, source], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def initialize_network(recipe: Recipe, folder: Path, data: TrainingData) -> InitialNetwork:
    """Build the network of a recipe with its initial weights, and load its teacher.

    Parameters
    ----------
    recipe
        The recipe.
    folder
        Folder that paths in the recipe are relative to.
    data
        The images; the batch normalization of some initial weights is restored from them.

    Returns
    -------
    InitialNetwork

    Raises
    ------
    Invalid
        The initial weights or the teacher cannot be used.
    """
    network, initialization = _build_initialized(recipe, folder, len(data.labels), data.learn)
    teacher = _load_teacher(recipe, folder, data.labels, network)
    return InitialNetwork(network, initialization, teacher, digest_of(data.rows))


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
