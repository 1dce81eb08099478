# SPDX-License-Identifier: Apache-2.0
"""Measuring a classifier as it ships: the folder's own files, through the code that serves.

``python -m medhub.science.learning.evaluate RECIPE --classifier FOLDER --data DATA`` prints every figure of a card
again, and ends with 1 where the card says something else.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from medhub.science.inference.card import Card, Figure, LabelFigure, Measure, Stranger
from medhub.science.inference.classifier import Classifier
from medhub.science.inference.decision import decide
from medhub.science.learning.dataset import labels_of, part_of, read_image, read_split
from medhub.science.learning.metrics import Interval, bootstrap, calibration_error, per_label, wilson
from medhub.science.learning.recipe import Recipe, load_recipe
from medhub.science.learning.strangers import generated, stored

THRESHOLD = 0.75
GENERATED_OF_EACH_KIND = 50
RECIPES = "src/medhub/science/learning/recipes"
COMMAND = "python -m medhub.science.learning.evaluate {recipes}/{name}.toml --classifier models/{name} --data DATA"

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Findings:
    """All that a card says of what a classifier reached."""

    figures: tuple[Figure, ...]
    measures: tuple[Measure, ...]
    per_label: tuple[LabelFigure, ...]
    strangers: tuple[Stranger, ...]


@dataclass(frozen=True)
class _Readings:
    probabilities: NDArray[np.float64]
    novel: NDArray[np.bool_]
    uncertain: NDArray[np.bool_]


def measure(classifier: Classifier, recipe: Recipe, data: Path) -> Findings:
    """Measure a classifier on the test part, on the test part as users might send it, and on strangers.

    Parameters
    ----------
    classifier
        As it ships.
    recipe
        Names the split file and the kinds of strangers.
    data
        What the paths of the recipe are relative to.

    Returns
    -------
    Findings
    """
    rows = read_split(data / recipe.source.split_file)
    labels = labels_of(rows)
    test = part_of(rows, "test")
    images = [read_image(data / row.path) for row in test]
    targets = np.array([labels.index(row.label) for row in test], np.int64)
    plain = _read(classifier, images)
    predicted = plain.probabilities.argmax(1)
    right = predicted == targets
    said = ~plain.uncertain
    n = len(targets)
    command = COMMAND.format(recipes=RECIPES, name=recipe.about.name)
    figures = [
        _figure("accuracy on the test part", wilson(int(right.sum()), n), "Wilson 95 %", command),
        _figure("accuracy on the test part", bootstrap(right), "bootstrap 95 %, 10,000 draws over images", command),
        _figure(
            f"test images that come out Uncertain at {THRESHOLD:g}",
            wilson(int(plain.uncertain.sum()), n),
            "Wilson 95 %",
            command,
        ),
        _figure(
            "test images taken for unlike the training data", wilson(int(plain.novel.sum()), n), "Wilson 95 %", command
        ),
    ]
    if said.any():
        hits = int((right & said).sum())
        figures.append(
            _figure(
                f"accuracy where a label is said at {THRESHOLD:g}",
                wilson(hits, int(said.sum())),
                "Wilson 95 %",
                command,
            )
        )
    for name, change in _CHANGES.items():
        changed = _read(classifier, (change(image) for image in images))
        hits = int((changed.probabilities.argmax(1) == targets).sum())
        figures.append(_figure(f"accuracy, {name}", wilson(hits, n), "Wilson 95 %", command))
        figures.append(_figure(f"Uncertain, {name}", wilson(int(changed.uncertain.sum()), n), "Wilson 95 %", command))
    error = calibration_error(plain.probabilities, targets)
    found = per_label(predicted.astype(np.int64), targets, len(labels))
    return Findings(
        figures=tuple(figures),
        measures=(
            Measure(name="expected calibration error, 15 bins, test part", value=round(error, 4), n=n, command=command),
        ),
        per_label=tuple(
            LabelFigure(label=label, n=one.n, recall=round(one.recall, 4), precision=round(one.precision, 4))
            for label, one in zip(labels, found, strict=True)
        ),
        strangers=tuple(_strangers(classifier, recipe, data)),
    )


def _strangers(classifier: Classifier, recipe: Recipe, data: Path) -> Iterable[Stranger]:
    for kind in recipe.strangers:
        yield _stranger(kind.name, _read(classifier, stored(data, kind)))
    for name, images in generated(GENERATED_OF_EACH_KIND).items():
        yield _stranger(f"generated: {name}", _read(classifier, images))


def _stranger(name: str, readings: _Readings) -> Stranger:
    return Stranger(
        name=name,
        n=len(readings.novel),
        uncertain=round(float(readings.uncertain.mean()), 4),
        novel=round(float(readings.novel.mean()), 4),
    )


def _read(classifier: Classifier, images: Iterable[Picture]) -> _Readings:
    readings = [classifier.classify(image) for image in images]
    return _Readings(
        probabilities=np.array([list(reading.probabilities.values()) for reading in readings]),
        novel=np.array([reading.novel for reading in readings]),
        uncertain=np.array([decide(reading, THRESHOLD).uncertain for reading in readings]),
    )


def _figure(name: str, interval: Interval, kind: str, command: str) -> Figure:
    return Figure(
        name=name,
        value=round(interval.value, 4),
        low=round(interval.low, 4),
        high=round(interval.high, 4),
        n=interval.n,
        interval=kind,
        command=command,
    )


def _resized(height: int, width: int) -> Callable[[Picture], Picture]:
    def change(image: Picture) -> Picture:
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))

    return change


def _recompressed(quality: int) -> Callable[[Picture], Picture]:
    def change(image: Picture) -> Picture:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer))

    return change


def _turned(image: Picture) -> Picture:
    return np.ascontiguousarray(np.rot90(image))


def _without_color(image: Picture) -> Picture:
    return np.repeat(image.mean(2, keepdims=True), 3, 2).astype(np.uint8)


_CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "images of 100 x 100 px": _resized(100, 100),
    "images of 363 x 360 px": _resized(363, 360),
    "images of 512 x 512 px": _resized(512, 512),
    "JPEG again at quality 50": _recompressed(50),
    "a quarter turned": _turned,
    "colors taken away": _without_color,
}


def show(findings: Findings, console: Console) -> None:
    """Print what was found as tables."""
    figures = Table("figure", "value", "95 % interval", "n", "interval")
    for one in findings.figures:
        figures.add_row(one.name, f"{one.value:.4f}", f"{one.low:.4f} to {one.high:.4f}", str(one.n), one.interval)
    for extra in findings.measures:
        figures.add_row(extra.name, f"{extra.value:.4f}", "", str(extra.n), "")
    labels = Table("label", "n", "recall", "precision")
    for line in findings.per_label:
        labels.add_row(line.label, str(line.n), f"{line.recall:.4f}", f"{line.precision:.4f}")
    strangers = Table("not made for", "n", f"Uncertain at {THRESHOLD:g}", "unlike the training data")
    for kind in findings.strangers:
        strangers.add_row(kind.name, str(kind.n), f"{kind.uncertain:.4f}", f"{kind.novel:.4f}")
    console.print(figures, labels, strangers)


def differences(card: Card, findings: Findings) -> list[str]:
    """List where a card says something else than what was found."""
    pairs = (
        ("figures", card.figures, findings.figures),
        ("measures", card.measures, findings.measures),
        ("per_label", card.per_label, findings.per_label),
        ("strangers", card.strangers, findings.strangers),
    )
    return [f"The card's {name} differ from what was measured." for name, said, found in pairs if said != found]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and compare with the card."""
    parser = argparse.ArgumentParser(prog="medhub.science.learning.evaluate", description=main.__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--classifier", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args(arguments)
    classifier = Classifier.load(options.classifier)
    findings = measure(classifier, load_recipe(options.recipe), options.data)
    console = Console()
    show(findings, console)
    wrong = differences(classifier.card, findings)
    console.print("\n".join(wrong) if wrong else "The card says the same.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
