# SPDX-License-Identifier: Apache-2.0
"""Writing the folder of a classifier: measured as it will ship, and in place at once or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medhub.science.inference.card import CARD_FILE, ModelCard
from medhub.science.inference.classifier import Classifier
from medhub.science.learning.atomic_file import write_atomically
from medhub.science.learning.card_file import card_text
from medhub.science.learning.dataset import ListingRow
from medhub.science.learning.evaluation import (
    COMMAND,
    Measurement,
    Results,
    card_parts,
    compute_results,
    limit_of,
    measure,
    measure_changes,
    measure_out_of_distribution,
)
from medhub.science.learning.recipe import OutOfDistributionRecipe

REPORT = "report"


@dataclass(frozen=True)
class Shipped:
    """A classifier folder that is whole, and what it reached on the test images."""

    classifier: Classifier
    measurement: Measurement
    results: Results


def ship(
    out: Path,
    card: ModelCard,
    files: Mapping[str, bytes],
    rows: Sequence[ListingRow],
    *,
    out_of_distribution: Sequence[OutOfDistributionRecipe] = (),
    data: Path | None = None,
    draw: Callable[[Path, Measurement, Results], None] = lambda folder, measurement, results: None,
) -> Shipped:
    """Measure the files that will ship, complete the card, and move all of it into place at once.

    Parameters
    ----------
    out
        The folder; made if it is not there.
    card
        Without figures.
    files
        All but the card, the model among them.
    rows
        The test images.
    strangers, data
        What it is not made for, and the folder that the patterns are relative to; neither these nor changed images are
        measured if there is no folder.
    draw
        Fills the folder of charts.

    Returns
    -------
    Shipped

    Raises
    ------
    Unavailable
        The disk is full or cannot be written.
    """
    staging = out / ".made"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    for name, content in files.items():
        write_atomically(staging / name, content)
    write_atomically(staging / CARD_FILE, card_text(card).encode())
    classifier = Classifier.load(staging)
    measurement = measure(classifier, rows)
    results = compute_results(measurement)
    command = COMMAND.format(name=card.name)
    parts = card_parts(measurement, results, command)
    if data is not None:
        parts["figures"] = (*parts["figures"], *measure_changes(classifier, rows, None, command))
        parts["out_of_distribution"] = measure_out_of_distribution(
            classifier, out_of_distribution, data, measurement.readings, limit_of(card)
        )
    write_atomically(staging / CARD_FILE, card_text(card.model_copy(update=parts)).encode())
    draw(staging / REPORT, measurement, results)
    for part in sorted(staging.iterdir()):
        if part.name != CARD_FILE:
            _move(part, out / part.name)
    _move(staging / CARD_FILE, out / CARD_FILE)  # last: a folder without a card is no classifier
    staging.rmdir()
    return Shipped(Classifier.load(out), measurement, results)


def _move(source: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    source.replace(target)
