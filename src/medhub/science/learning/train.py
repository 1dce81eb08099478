# SPDX-License-Identifier: Apache-2.0
"""Make a classifier folder from a recipe: ``python -m medhub.science.learning.train RECIPE --data DATA --out FOLDER``.

The steps, in order: learn from the training part; find the temperature and the limit of novelty on the validation
part; export and compare with torch; measure the written files on the test part, once; write the card.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from rich.console import Console

from medhub.errors import Invalid, MedhubError
from medhub.science.inference.card import CARD_FILE, MODEL_FILE, Card, Data
from medhub.science.inference.card import Novelty as CardNovelty
from medhub.science.inference.classifier import Classifier
from medhub.science.learning.architectures import build
from medhub.science.learning.calibration import fit_temperature
from medhub.science.learning.card_file import card_text
from medhub.science.learning.dataset import ImageSet, labels_of, load_images, part_of, read_split
from medhub.science.learning.evaluate import RECIPES, Findings, measure, show
from medhub.science.learning.export import Exported, export
from medhub.science.learning.loop import Epoch, one_thread, predict, train
from medhub.science.learning.mobilenetv2 import MobileNetV2
from medhub.science.learning.network import Network
from medhub.science.learning.novelty import BASIS, METHOD, fit_novelty
from medhub.science.learning.recipe import Recipe, load_recipe
from medhub.science.learning.tflite_weights import load_start

PARITY_IMAGES = 100
COMMAND = "python -m medhub.science.learning.train {recipes}/{name}.toml --data DATA --out models/{name}"


def make(
    recipe: Recipe, data: Path, out: Path, trained_with: str, console: Console, checkpoint: Path | None = None
) -> Findings:
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
    checkpoint
        Where the learned weights are kept. If the file is there, they are taken from it instead of learned again, so
        that calibration, novelty and export can be repeated in a minute.

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
        network = _learned(recipe, data, checkpoint, learn, validate, labels, console)
        logits, _ = predict(network, validate.images, recipe.preprocessing)
        temperature = fit_temperature(logits, validate.targets)
        novelty, limit = fit_novelty(
            network, recipe.novelty, recipe.preprocessing, learn, validate, recipe.training.seed
        )
        step = max(1, len(validate.images) // PARITY_IMAGES)
        exported = export(network, novelty, labels, recipe.preprocessing, validate.images[::step])
    console.print(f"Temperature {temperature:.3f}; limit of novelty {limit:.3f}.")
    console.print(f"ONNX Runtime differs from torch by {exported.difference:.1e}.")
    card = _card(recipe, labels, exported, temperature, limit, trained_with)
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


def _learned(
    recipe: Recipe,
    data: Path,
    checkpoint: Path | None,
    learn: ImageSet,
    validate: ImageSet,
    labels: tuple[str, ...],
    console: Console,
) -> Network:
    network = _started(recipe, data, len(labels))
    made_by = recipe.training.model_dump_json() + recipe.preprocessing.model_dump_json()
    if checkpoint is not None and checkpoint.is_file():
        kept = torch.load(checkpoint, weights_only=True)
        if kept["made_by"] != made_by:
            raise Invalid(f"{checkpoint.name} was learned by another recipe.")
        network.load_state_dict(kept["network"])
        console.print(f"Weights taken from {checkpoint.name}.")
        return network.eval()
    train(network, recipe.training, recipe.preprocessing, learn, validate, lambda epoch: _say(console, epoch))
    if checkpoint is not None:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"made_by": made_by, "network": network.state_dict()}, checkpoint)
    return network


def _started(recipe: Recipe, data: Path, classes: int) -> Network:
    network = build(recipe.training.architecture, classes)
    if recipe.start_file is not None:
        if not isinstance(network, MobileNetV2):
            raise Invalid("Starting weights can be given for mobilenetv2-folded only.", field="start_file")
        load_start(data / recipe.start_file, network)
    return network


def _say(console: Console, epoch: Epoch) -> None:
    console.print(
        f"Epoch {epoch.number}: loss {epoch.loss:.4f}, validation accuracy {epoch.validation_accuracy:.4f}, "
        f"{epoch.seconds:.0f} s"
    )


def _card(
    recipe: Recipe,
    labels: tuple[str, ...],
    exported: Exported,
    temperature: float,
    limit: float,
    trained_with: str,
) -> Card:
    source = Data.model_validate(recipe.source.model_dump(exclude={"split_file"}))
    return Card(
        **recipe.about.model_dump(),
        architecture=recipe.training.architecture,
        labels=labels,
        model_sha256=exported.sha256,
        temperature=round(temperature, 6),
        trained_with=trained_with,
        preprocessing=recipe.preprocessing,
        novelty=CardNovelty(
            limit=round(limit, 6),
            quantile=recipe.novelty.quantile,
            method=METHOD.format(components=recipe.novelty.components),
            basis=BASIS.format(share=recipe.novelty.quantile * 100, passes=recipe.novelty.passes),
        ),
        start=recipe.start,
        data=(source, *recipe.measured_with),
    )


def main(arguments: list[str] | None = None) -> int:
    """Make a classifier folder from a recipe."""
    parser = argparse.ArgumentParser(prog="medhub.science.learning.train", description=main.__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="what the paths of the recipe are relative to")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--checkpoint", type=Path, help="keep the learned weights here, and take them from here")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        recipe = load_recipe(options.recipe)
        command = COMMAND.format(recipes=RECIPES, name=recipe.about.name)
        findings = make(recipe, options.data, options.out, command, console, options.checkpoint)
    except MedhubError as error:
        console.print(f"[red]{error.message}[/red]")
        return 1
    show(findings, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
