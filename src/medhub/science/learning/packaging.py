# SPDX-License-Identifier: Apache-2.0
"""Writing the folder of a classifier: the files are measured first, and appear completely or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medhub.science.inference.card import CARD_FILE, ModelCard
from medhub.science.inference.classifier import Classifier
from medhub.science.learning.atomic_file import write_atomically
from medhub.science.learning.card_figures import COMMAND, card_parts
from medhub.science.learning.card_file import card_text
from medhub.science.learning.dataset import ListingRow
from medhub.science.learning.evaluation import Results, compute_results
from medhub.science.learning.measurement import Measurement, measure
from medhub.science.learning.recipe import OutOfDistributionRecipe
from medhub.science.learning.robustness import add_robustness

REPORT = "report"


@dataclass(frozen=True)
class PackagedClassifier:
    """A classifier in its folder, and its figures on the test images."""

    classifier: Classifier
    measurement: Measurement
    results: Results


def package_classifier(
    out: Path,
    card: ModelCard,
    files: Mapping[str, bytes],
    rows: Sequence[ListingRow],
    *,
    out_of_distribution: Sequence[OutOfDistributionRecipe] = (),
    data: Path | None = None,
    draw: Callable[[Path, Measurement, Results], None] = lambda folder, measurement, results: None,
) -> PackagedClassifier:
    """Measure the files of a classifier, complete its card, and move all files into its folder.

    Parameters
    ----------
    out
        The folder; created if it does not exist.
    card
        The card without figures.
    files
        Contents of all files except the card, by name.
    rows
        The test images.
    out_of_distribution, data
        Kinds of out-of-distribution images, and the folder that their patterns are relative to. Without a folder,
        robustness is not measured.
    draw
        Draws the charts into a folder.

    Returns
    -------
    PackagedClassifier

    Raises
    ------
    Unavailable
        The disk is full or not writable.
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
    parts = card_parts(measurement, results, COMMAND.format(name=card.name))
    if data is not None:
        parts = add_robustness(parts, classifier, rows, measurement.predictions, out_of_distribution, data)
    write_atomically(staging / CARD_FILE, card_text(card.model_copy(update=parts)).encode())
    draw(staging / REPORT, measurement, results)
    _move_files(staging, out)
    return PackagedClassifier(Classifier.load(out), measurement, results)


def _move_files(staging: Path, out: Path) -> None:
    """Move all files, and the card last: a folder without a card is not a classifier."""
    for source in sorted(staging.iterdir(), key=lambda path: (path.name == CARD_FILE, path)):
        target = out / source.name
        if target.is_dir():
            shutil.rmtree(target)
        source.replace(target)
    staging.rmdir()
