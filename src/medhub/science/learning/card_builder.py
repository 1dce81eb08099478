# SPDX-License-Identifier: Apache-2.0
"""The model card of a new classifier: what the recipe says, what was fitted, and how the training ran."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from medhub.science.inference.card import DataSource, Initialization, ModelCard, NoveltyCard, TrainingRecord
from medhub.science.learning.confidence_fitting import no_limit_note
from medhub.science.learning.dataset import ListingRow
from medhub.science.learning.distributed import ProcessGroup
from medhub.science.learning.novelty import BASIS, METHOD
from medhub.science.learning.output_fitting import FittedOutputs
from medhub.science.learning.provenance import code_version
from medhub.science.learning.recipe import Recipe
from medhub.science.learning.teacher import Teacher
from medhub.science.learning.training_context import TrainedNetwork


@dataclass(frozen=True)
class TrainingFacts:
    """What determines a training, for the card.

    Attributes
    ----------
    recipe_name
        Name of the recipe in the command that the card states.
    rows
        All images, each with its part.
    leaks
        Pairs of near duplicates in different parts.
    overrule
        Reason why the training was run despite the leaks.
    """

    recipe: Recipe
    recipe_name: str
    labels: tuple[str, ...]
    rows: tuple[ListingRow, ...]
    data_digest: str
    leaks: Sequence[str]
    overrule: str
    initialization: Initialization | None
    teacher: Teacher | None
    processes: ProcessGroup


def build_card(facts: TrainingFacts, fitted: FittedOutputs, trained: TrainedNetwork) -> ModelCard:
    """Build the card of a new classifier, without the figures of the test images."""
    recipe, rows, processes, teacher = facts.recipe, facts.rows, facts.processes, facts.teacher
    counts = tuple(sum(row.split == part for row in rows) for part in ("train", "val", "test"))
    data: tuple[DataSource, ...] = ()
    if recipe.source is not None:
        split = f"{recipe.source.split}; {counts[0]} to learn from, {counts[1]} to validate with, {counts[2]} to test"
        data = (DataSource.model_validate(recipe.source.model_dump() | {"images": len(rows), "split": split}),)
    limitations = recipe.about.limitations
    if fitted.abstention is None:
        limitations += (no_limit_note(recipe.abstention),)
    return ModelCard(
        **recipe.about.model_dump(exclude={"limitations"}),
        limitations=limitations,
        architecture=recipe.network.architecture
        + (f" + dense {recipe.network.hidden}" if recipe.network.hidden else ""),
        labels=facts.labels,
        model_sha256=fitted.exported.sha256,
        temperature=fitted.calibrator.temperature,
        offsets=fitted.calibrator.offsets,
        trained_with=f"medhub train {facts.recipe_name} --data DATA.csv --out models/{recipe.about.name}",
        preprocessing=recipe.preprocessing,
        novelty=NoveltyCard(
            limit=fitted.novelty_limit,
            quantile=recipe.novelty.quantile,
            method=METHOD.format(components=recipe.novelty.components),
            basis=BASIS.format(share=recipe.novelty.quantile * 100, passes=recipe.novelty.passes),
            shapes=fitted.shapes,
        ),
        start=facts.initialization,
        data=(*data, *recipe.measured_with),
        calibration=fitted.calibration,
        abstention=fitted.abstention,
        explained=fitted.explained,
        quantized=fitted.quantized,
        run=TrainingRecord(
            code=code_version(),
            data_sha256=facts.data_digest,
            recipe_sha256=hashlib.sha256(recipe.model_dump_json().encode()).hexdigest(),
            seed=recipe.training.seed,
            epochs=len(trained.curves),
            taken_epoch=trained.epoch,
            images=(counts[0], counts[1], counts[2]),
            device=f"{processes.device.type}, {processes.size} process(es), {torch.get_num_threads()} thread(s)",
            environment=f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}",
            teacher=f"{teacher.name}, digest {teacher.digest}" if teacher is not None else "",
            overruled=f"{facts.overrule} ({len(facts.leaks)} pairs of near duplicates)" if facts.leaks else "",
        ),
    )
