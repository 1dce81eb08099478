# SPDX-License-Identifier: Apache-2.0
"""The results of ``medhub evaluate`` and ``medhub compare`` as tables in a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


def print_evaluation(value: dict[str, Any], checked: bool) -> None:
    """Print the JSON of ``medhub evaluate``, and with ``checked``, where the card differs from it."""
    console = Console()
    console.print(
        f"[bold]{value['classifier']} {value['version']}[/bold] on {value['n']} images ({value['part']}); "
        f"95 % intervals: {value['interval']}",
        highlight=False,
    )
    console.print(_figure_table(value))
    console.print(_label_table(value))
    console.print(_confusion_table(value))
    if value.get("strangers"):
        console.print(_out_of_distribution_table(value))
    if value["left_out"]:
        known = ", ".join(f"{label} ({count})" for label, count in value["left_out"].items())
        console.print(f"Not measured, because the classifier does not know the label: {known}.", highlight=False)
    if value["unreadable"]:
        console.print(f"Not readable as images: {', '.join(value['unreadable'])}.", highlight=False)
    if checked:
        console.print(
            "\n".join(value["differs_from_card"]) or "The results agree with the model card.", highlight=False
        )


def print_comparison(value: dict[str, Any], first: str, second: str) -> None:
    """Print the JSON of ``medhub compare``."""
    table = Table("figure", "value (95 % interval)")
    table.add_row(f"accuracy of {first}", _ranged(value["first"]["accuracy"]))
    table.add_row(f"accuracy of {second}", _ranged(value["second"]["accuracy"]))
    table.add_row("difference, second minus first", _ranged(value["difference"]))
    table.add_row("correct only by the first", str(value["only_first_right"]))
    table.add_row("correct only by the second", str(value["only_second_right"]))
    table.add_row("McNemar's exact test, p", f"{value['mcnemar_p']:.4f}")
    table.add_row("same prediction by both", f"{value['agreement']:.4f}")
    console = Console()
    console.print(f"{value['n']} images ({value['part']})", highlight=False)
    console.print(table)


def _figure_table(value: dict[str, Any]) -> Table:
    table = Table("figure", "value (95 % interval)")
    table.add_row("accuracy", _ranged(value["accuracy"]))
    table.add_row("balanced accuracy", _ranged(value["balanced_accuracy"]))
    table.add_row("expected calibration error", f"{value['ece']:.4f}")
    answered = value["answered"]
    table.add_row(
        f"share with a label, confidence from {answered['threshold']:.4g}", _ranged(answered["share_interval"])
    )
    table.add_row("accuracy of images with a label", _ranged(answered["accuracy_interval"]))
    table.add_row("unlike the training data", _ranged(value["unlike_training_data"]))
    for point in value["curve"]:
        table.add_row(f"accuracy of the most confident {point['answered']:.0%}", f"{point['accuracy']:.4f}")
    for name, figure in value["per_source"].items():
        table.add_row(f"accuracy, source {name} (n = {figure['n']})", _ranged(figure))
    for figure in value.get("variations", ()):
        table.add_row(figure["name"], _ranged(figure))
    return table


def _label_table(value: dict[str, Any]) -> Table:
    names = ("sensitivity", "specificity", "precision", "f1", "auroc", "auprc")
    table = Table("label", "n", *names)
    for label, figure in value["per_class"].items():
        table.add_row(label, str(figure["n"]), *(_ranged(figure[name]).replace(" (", "\n(") for name in names))
    return table


def _confusion_table(value: dict[str, Any]) -> Table:
    labels = value["confusion"]["labels"]
    table = Table("true \\ predicted", *labels)
    for label, row in zip(labels, value["confusion"]["rows"], strict=True):
        table.add_row(label, *(str(count) if count else "" for count in row))
    return table


def _out_of_distribution_table(value: dict[str, Any]) -> Table:
    table = Table("images it is not made for", "n", "Uncertain", "unlike the training data", "AUROC")
    for figure in value["strangers"]:
        table.add_row(
            figure["name"],
            str(figure["n"]),
            f"{figure['uncertain']:.4f}",
            f"{figure['novel']:.4f}",
            f"{figure['auroc']:.4f}",
        )
    return table


def _ranged(figure: dict[str, float | None] | None) -> str:
    """Format a value with its interval; a dash if it is undefined."""
    if figure is None or figure["value"] is None:
        return "-"
    return f"{figure['value']:.4f} ({figure['low']:.4f} to {figure['high']:.4f})"
