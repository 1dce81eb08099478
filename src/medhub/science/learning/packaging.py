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
    changes,
    limit_of,
    measure,
    measure_out_of_distribution,
    results,
)
from medhub.science.learning.recipe import OutOfDistributionRecipe

REPORT = "report"


@dataclass(frozen=True)
class Shipped:
    """A classifier folder that is whole, and what it reached on the test images."""

    classifier: Classifier
    found: Measurement
    reached: Results


def ship(
    out: Path,
    card: ModelCard,
    files: Mapping[str, bytes],
    rows: Sequence[ListingRow],
    *,
    strangers: Sequence[OutOfDistributionRecipe] = (),
    data: Path | None = None,
    draw: Callable[[Path, Measurement, Results], None] = lambda folder, found, reached: None,
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
    made = out / ".made"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    for name, content in files.items():
        write_atomically(made / name, content)
    write_atomically(made / CARD_FILE, card_text(card).encode())
    classifier = Classifier.load(made)
    found = measure(classifier, rows)
    reached = results(found)
    command = COMMAND.format(name=card.name)
    parts = card_parts(found, reached, command)
    if data is not None:
        parts["figures"] = (*parts["figures"], *changes(classifier, rows, None, command))
        parts["out_of_distribution"] = measure_out_of_distribution(
            classifier, strangers, data, found.readings, limit_of(card)
        )
    write_atomically(made / CARD_FILE, card_text(card.model_copy(update=parts)).encode())
    draw(made / REPORT, found, reached)
    for part in sorted(made.iterdir()):
        if part.name != CARD_FILE:
            _moved(part, out / part.name)
    _moved(made / CARD_FILE, out / CARD_FILE)  # last: a folder without a card is no classifier
    made.rmdir()
    return Shipped(Classifier.load(out), found, reached)


def _moved(source: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    source.replace(target)
