# SPDX-License-Identifier: Apache-2.0
"""Commands that measure, calibrate, compare and describe classifiers; they need no server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown

from medhub.classification.registry import find_folder, get_classifier
from medhub.entrypoints.cli_classifier_options import (
    AsJSON,
    Classifier,
    Listing,
    Root,
    Split,
    progress_bar,
    select_rows,
)
from medhub.entrypoints.evaluation_tables import print_comparison, print_evaluation
from medhub.errors import Invalid
from medhub.foundation.settings import Settings
from medhub.science.inference.card import load_card
from medhub.science.learning.dataset import read_listing, with_sources
from medhub.science.learning.recipe import find_recipe, load_recipe


def evaluate_command(
    classifier: Classifier,
    data: Listing,
    root: Root = None,
    split: Split = None,
    threshold: Annotated[
        float | None, typer.Option(help="Smallest confidence with which a label is given; default: the learned limit.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Recipe: compare the results with the model card; with --strangers, measure further images."),
    ] = None,
    strangers: Annotated[
        Path | None, typer.Option(help="Folder to which the patterns of the recipe are relative.")
    ] = None,
    charts: Annotated[Path | None, typer.Option(help="Folder for charts (needs the extra train).")] = None,
    as_json: AsJSON = False,
) -> None:
    """Measure a classifier on labeled images; exit code 1 if files are unreadable or results differ from the card."""
    from medhub.science.learning.card_figures import COMMAND, card_parts, list_differences
    from medhub.science.learning.evaluation import as_json as results_as_json
    from medhub.science.learning.evaluation import compute_results
    from medhub.science.learning.measurement import measure
    from medhub.science.learning.robustness import add_robustness, perturbed_figures

    if threshold is not None and not 0 < threshold <= 1:
        raise Invalid("The threshold must be above 0 and at most 1.", field="threshold")
    reader = get_classifier(Settings(), classifier)
    rows, part = select_rows(data, root, split)
    settings = load_recipe(find_recipe(recipe)) if recipe is not None else None
    if settings is not None:
        rows = with_sources(rows, settings.source_of)
    with progress_bar(as_json) as bar:
        task = bar.add_task("Reading", total=len(rows))
        measurement = measure(reader, rows, threshold, done=lambda: bar.advance(task))
    results = compute_results(measurement)
    value = {"part": part, **results_as_json(measurement, results, reader.card, reader.digest)}
    differences: list[str] = []
    if settings is not None:
        parts = card_parts(measurement, results, COMMAND.format(name=reader.card.name))
        if strangers is not None:
            kinds = settings.out_of_distribution
            parts = add_robustness(parts, reader, rows, measurement.predictions, kinds, strangers, threshold)
            value["variations"] = [
                figure.model_dump(exclude={"command"}) for figure in perturbed_figures(parts["figures"])
            ]
            value["strangers"] = [figure.model_dump() for figure in parts["out_of_distribution"]]
        differences = list_differences(reader.card, parts)
        value["differs_from_card"] = differences
    if charts is not None:
        from medhub.science.learning.charts import draw_all

        draw_all(charts, [], measurement, results)
    if as_json:
        print(json.dumps(value, ensure_ascii=False, indent=2))
    else:
        print_evaluation(value, recipe is not None)
    if measurement.unreadable or differences:
        raise typer.Exit(1)


def calibrate_command(
    classifier: Classifier,
    data: Listing,
    out: Annotated[Path, typer.Option(help="Folder of the new version; created if it does not exist.")],
    version: Annotated[str, typer.Option(help="New version number; it differs from that of the classifier.")],
    root: Root = None,
    target_error: Annotated[
        float | None,
        typer.Option(help="Largest share of wrong predictions above the limit; default: that of the model card."),
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(help="Share of further sets for which it holds; default: 0.9.")
    ] = None,
    note: Annotated[str, typer.Option(help="Reason, for the model card.")] = "",
    recipe: Annotated[
        str | None, typer.Option(help="Recipe with the sources and the images it is not made for.")
    ] = None,
    strangers: Annotated[
        Path | None, typer.Option(help="Folder to which the patterns of the recipe are relative.")
    ] = None,
) -> None:
    """Fit the calibration and the limit of abstention of a classifier to your own images, as a new version."""
    from medhub.science.learning.recalibration import recalibrate, split_for_calibration, target_of

    folder = find_folder(Settings(), classifier)
    settings = load_recipe(find_recipe(recipe)) if recipe is not None else None
    rows = read_listing(data, root)
    if settings is not None:
        rows = with_sources(rows, settings.source_of)
    card = load_card(folder)
    rows = split_for_calibration(card, rows)
    promise = target_of(card, target_error, confidence)
    with progress_bar(False) as bar:
        task = bar.add_task("Reading", total=sum(row.split == "val" for row in rows))
        calibrated = recalibrate(
            folder,
            rows,
            out,
            version=version,
            target=promise,
            note=note,
            out_of_distribution=settings.out_of_distribution if settings is not None else (),
            data=strangers,
            done=lambda: bar.advance(task),
        )
    card, results, console = calibrated.classifier.card, calibrated.results, Console(stderr=True)
    limit = card.abstention
    outcome = (
        "no limit could be learned"
        if limit is None
        else f"limit {limit.threshold:.4f}, which {limit.answered:.1%} of the {limit.n} calibration images reach"
    )
    console.print(
        f"[bold]{card.name} {card.version}[/bold] is in {out}: {outcome}; on {results.n} test images accuracy "
        f"{results.accuracy.value:.2%}, expected calibration error {results.ece:.4f}. Model card: medhub card {out}",
        highlight=False,
        soft_wrap=True,
    )
    print(calibrated.classifier.digest)


def compare_command(
    first: Classifier,
    second: Annotated[str, typer.Argument(help="Name of the second classifier, or its folder.")],
    data: Listing,
    root: Root = None,
    split: Split = None,
    as_json: AsJSON = False,
) -> None:
    """Compare two classifiers on the same images: McNemar's exact test and a paired bootstrap over groups."""
    from medhub.science.learning.comparison import compare

    left, right = (get_classifier(Settings(), name) for name in (first, second))
    rows, part = select_rows(data, root, split)
    with progress_bar(as_json) as bar:
        task = bar.add_task("Reading", total=2 * len(rows))
        value = {"part": part, **compare(left, right, rows, done=lambda: bar.advance(task))}
    if as_json:
        print(json.dumps(value, ensure_ascii=False, indent=2))
        return
    print_comparison(value, first, second)


def card_command(
    classifier: Classifier,
    as_json: AsJSON = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, as in docs/model-cards.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the Markdown to a file.")] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Data folder that contains classifiers trained in the web app.")
    ] = None,
) -> None:
    """Show the model card of a classifier: intended use, results and excluded uses."""
    from medhub.science.learning.card_page import page

    reader = get_classifier(Settings(data=data.absolute()) if data is not None else Settings(), classifier)
    if as_json:
        value = {"digest": reader.digest, **reader.card.model_dump(mode="json", exclude_none=True)}
        print(json.dumps(value, ensure_ascii=False, indent=2))
        return
    text = page(reader.card)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    elif markdown:
        print(text, end="")
    else:
        Console().print(Markdown(text))


def install(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.command("evaluate")(evaluate_command)
    cli.command("calibrate")(calibrate_command)
    cli.command("compare")(compare_command)
    cli.command("card")(card_command)
