# SPDX-License-Identifier: Apache-2.0
"""Charts of a training and a measurement: curves, confusion, reliability, abstention, and the worst errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from medhub.science.learning.dataset import read_image
from medhub.science.learning.evaluation import Results
from medhub.science.learning.measurement import Measurement
from medhub.science.learning.metrics import reliability

if TYPE_CHECKING:
    from medhub.science.learning.training_progress import Epoch

_BLUE, _ORANGE, _GREY = "#1c6dd0", "#d9730d", "#868e96"
_WORST = 24
_CELL = 176


def draw_all(folder: Path, curves: Sequence[Epoch], measurement: Measurement, results: Results) -> None:
    """Draw every chart as a PNG into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if curves:
        draw_curves(curves, folder / "curves.png")
    draw_confusion(results.confusion, measurement.labels, folder / "confusion.png")
    draw_reliability(measurement, folder / "reliability.png")
    draw_abstention(measurement, folder / "abstention.png")
    draw_worst(measurement, folder / "worst.png")


def _axes(width: float = 6.4, height: float = 4.2) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # without pyplot there is no state that threads could share

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def draw_curves(curves: Sequence[Epoch], path: Path) -> None:
    """Draw loss and accuracy over the epochs."""
    figure, axes = _axes()
    plotted = [epoch for epoch in curves if epoch.stage == "all"] or list(curves)
    epochs = [epoch.number for epoch in plotted]
    axes.plot(epochs, [epoch.loss for epoch in plotted], color=_GREY, label="training loss")
    axes.plot(epochs, [epoch.validation_loss for epoch in plotted], color=_ORANGE, label="validation loss")
    axes.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    other = axes.twinx()
    other.plot(epochs, [epoch.validation_accuracy * 100 for epoch in plotted], color=_BLUE, label="validation accuracy")
    other.set(ylabel="accuracy, %", ylim=(None, 100))
    other.spines["top"].set_visible(False)
    lines = [*axes.get_lines(), *other.get_lines()]
    # Above the plot, because curves may cover any position within it.
    names = [line.get_label() for line in lines]
    axes.legend(lines, names, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(lines), frameon=False)
    figure.savefig(path, dpi=120)


def draw_confusion(table: NDArray[np.int64], labels: Sequence[str], path: Path) -> None:
    """Draw the confusion matrix; the color is the share of the row."""
    side = 1.6 + 0.62 * len(labels)
    figure, axes = _axes(side + 1.0, side)
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.grid(visible=False)
    axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="said by the classifier", ylabel="label")
    for row in range(len(labels)):
        for column in range(len(labels)):
            if table[row, column]:
                dark = shares[row, column] > 0.5
                axes.text(column, row, table[row, column], ha="center", va="center", color="w" if dark else "#222")
    figure.savefig(path, dpi=120)


def draw_reliability(measurement: Measurement, path: Path) -> None:
    """Draw the reliability diagram: accuracy over confidence."""
    figure, axes = _axes(5.2, 4.6)
    bins = reliability(measurement.predictions.probabilities, measurement.targets)
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1)
    axes.scatter(
        [bin_.confidence for bin_ in bins],
        [bin_.accuracy for bin_ in bins],
        s=[30 + 600 * bin_.share for bin_ in bins],
        color=_BLUE,
        alpha=0.7,
        clip_on=False,
    )
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.05))
    axes.set_title("size of a point: share of the images", fontsize=9)
    figure.savefig(path, dpi=120)


def draw_abstention(measurement: Measurement, path: Path) -> None:
    """Draw the accuracy-coverage curve."""
    figure, axes = _axes()
    ordered = measurement.correct[np.argsort(-measurement.predictions.confidence, kind="stable")]
    count = np.arange(1, len(ordered) + 1)
    axes.plot(count / len(ordered) * 100, np.cumsum(ordered) / count * 100, color=_BLUE)
    axes.axvline(float(measurement.answered.mean()) * 100, color=_ORANGE, linestyle="--", linewidth=1)
    axes.set(xlabel="answered, % (the dashed line is the limit in use)", ylabel="accuracy among the answered, %")
    axes.set_ylim(min(90, axes.get_ylim()[0]), 100.5)
    figure.savefig(path, dpi=120)


def draw_worst(measurement: Measurement, path: Path) -> None:
    """Draw the wrong predictions with the highest confidence, each with true and predicted label."""
    probabilities = measurement.predictions.probabilities
    wrong = np.flatnonzero(~measurement.correct)
    worst = wrong[np.argsort(-probabilities[wrong].max(1))][:_WORST]
    columns = 6
    lines = max(1, -(-len(worst) // columns))
    page = Image.new("RGB", (columns * (_CELL + 12) + 12, lines * (_CELL + 66) + 12), "white")
    pen = ImageDraw.Draw(page)
    font = ImageFont.load_default(13)
    if not len(worst):
        pen.text((16, 16), "No image was labeled wrongly.", fill="#222", font=font)
    for cell, index in enumerate(worst):
        left, top = 12 + cell % columns * (_CELL + 12), 12 + cell // columns * (_CELL + 66)
        picture = Image.fromarray(read_image(measurement.rows[index].path))
        picture.thumbnail((_CELL, _CELL))
        page.paste(picture, (left, top))
        predicted = measurement.labels[int(probabilities[index].argmax())]
        mark = "" if measurement.answered[index] else "Uncertain"
        pen.text((left, top + _CELL + 4), f"{measurement.labels[measurement.targets[index]]}", fill="#222", font=font)
        text = f"said {predicted} {probabilities[index].max():.2f}"
        pen.text((left, top + _CELL + 21), text, fill=_ORANGE, font=font)
        pen.text((left, top + _CELL + 38), mark, fill=_GREY, font=font)
    page.save(path)
