# SPDX-License-Identifier: Apache-2.0
"""Make a classifier folder from a recipe: ``python -m medhub.science.learning.train RECIPE --data DATA --out FOLDER``.

The steps, in order: learn from the training part; find the temperature and the limit of novelty on the validation
part; export and compare with torch; measure the written files on the test part, once; write the card.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from medhub.errors import Invalid
from medhub.science.inference.card import CARD_FILE, MODEL_FILE, Card, Data
from medhub.science.inference.card import Novelty as CardNovelty
from medhub.science.inference.classifier import Classifier
from medhub.science.learning.architectures import build
from medhub.science.learning.augment import vary
from medhub.science.learning.calibration import fit_temperature
from medhub.science.learning.card_file import card_text
from medhub.science.learning.dataset import ImageSet, labels_of, load_images, part_of, read_split
from medhub.science.learning.evaluate import Findings, measure, show
from medhub.science.learning.export import Exported, export
from medhub.science.learning.loop import Epoch, one_thread, predict, train
from medhub.science.learning.mobilenetv2 import MobileNetV2
from medhub.science.learning.network import Network
from medhub.science.learning.novelty import Novelty, fit_novelty
from medhub.science.learning.recipe import Recipe, load_recipe
from medhub.science.learning.tflite_weights import load_start

PARITY_IMAGES = 100


def make(recipe: Recipe, data: Path, out: Path, trained_with: str, console: Console) -> Findings:
    """Make a classifier folder.

    Parameters
    ----------
    recipe
        What to do.
    data
        What the paths of the recipe are relative to.
    out
        The folder to write; made if it is not there.
    trained_with
        The command, for the card.
    console
        Where progress is printed.

    Returns
    -------
    Findings
        What the written files reached.

    Raises
    ------
    Invalid
        The recipe, the split or the starting weights cannot be used.
    ExportDiffers
        The exported graph does not compute what the network does.
    """
    rows = read_split(data / recipe.source.split_file)
    labels = labels_of(rows)
    learn = load_images(data, part_of(rows, "train"), labels, recipe.preprocessing)
    validate = load_images(data, part_of(rows, "val"), labels, recipe.preprocessing)
    console.print(f"{len(learn.targets)} images to learn from, {len(validate.targets)} to validate with.")
    with one_thread(recipe.training.seed):
        network = _start(recipe, data, len(labels))
        train(network, recipe.training, recipe.preprocessing, learn, validate, lambda epoch: _say(console, epoch))
        logits, pooled = predict(network, validate.images, recipe.preprocessing)
        temperature = fit_temperature(logits, validate.targets)
        novelty = _novelty(network, recipe, learn, validate, pooled)
        exported = export(
            network,
            novelty,
            labels,
            recipe.preprocessing,
            validate.images[:: max(1, len(validate.images) // PARITY_IMAGES)],
        )
    console.print(f"Temperature {temperature:.3f}; ONNX Runtime differs from torch by {exported.difference:.1e}.")
    with torch.inference_mode():
        distances = novelty(tuple(torch.from_numpy(layer.astype(np.float32)) for layer in pooled)).numpy()
    limit = float(np.quantile(distances, recipe.novelty.quantile))
    card = _card(recipe, labels, exported, temperature, limit, trained_with, len(rows))
    out.mkdir(parents=True, exist_ok=True)
    (out / MODEL_FILE).write_bytes(exported.model)
    (out / CARD_FILE).write_text(card_text(card), encoding="utf-8")
    findings = measure(Classifier.load(out), recipe, data)
    whole = card.model_copy(
        update={
            "figures": findings.figures,
            "measures": findings.measures,
            "per_label": findings.per_label,
            "strangers": findings.strangers,
        }
    )
    (out / CARD_FILE).write_text(card_text(whole), encoding="utf-8")
    return findings
