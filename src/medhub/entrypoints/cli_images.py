# SPDX-License-Identifier: Apache-2.0
"""The command that classifies image files without a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from medhub.classification.registry import get_classifier
from medhub.entrypoints.cli_data_folder import Data, load_settings
from medhub.errors import Invalid, NotFound
from medhub.ingest.file_sources import ENDINGS
from medhub.science.arrivals.transient_decoding import decode_photograph
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.inference.decision import decide

Paths = Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")]


def files_in(paths: list[Path]) -> list[Path]:
    """List the given files, and the images in the given folders, in their order."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (p for p in sorted(path.rglob("*")) if p.is_file() and not p.name.startswith("."))
            files += [p for p in inside if p.suffix.lower() in ENDINGS]
        elif path.exists():
            files.append(path)
        else:
            raise NotFound(f"There is no file {path}.")
    if not files:
        raise NotFound("The given folders contain no images.")
    return files


def _with_bar(files: list[Path], doing: str, quiet: bool) -> Iterator[Path]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as progress:
        task = progress.add_task(doing, total=len(files))
        for path in files:
            yield path
            progress.advance(task)


def classify_command(
    paths: Paths,
    classifier: Annotated[str, typer.Option(help="Name of a classifier, or its folder.")] = "blood-cells",
    threshold: Annotated[float, typer.Option(help="Below this probability the result is Uncertain.")] = 0.75,
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Classify images without a server; exit code 1 if an image could not be read."""
    if not 0 < threshold <= 1:
        raise Invalid("The threshold must be above 0 and at most 1.", field="threshold")
    files = files_in(paths)
    reader = get_classifier(load_settings(data), classifier)
    results: list[dict[str, Any]] = []
    for path in _with_bar(files, "Reading", as_json):
        try:
            reading = reader.classify(decode_photograph(path.read_bytes(), DecodingLimits()))
        except Unacceptable as refusal:
            results.append({"path": str(path), "label": None, "error": refusal.message})
            continue
        decision = decide(reading, threshold)
        results.append(
            {
                "path": str(path),
                "label": decision.label,
                "uncertain": decision.uncertain,
                "reason": decision.reason,
                "probabilities": reading.probabilities,
                "milliseconds": round(reading.milliseconds, 3),
            }
        )
    if as_json:
        print(json.dumps(results, ensure_ascii=False))
    else:
        _print_readings(results)
    if any("error" in result for result in results):
        raise typer.Exit(1)


def _print_readings(results: list[dict[str, Any]]) -> None:
    table = Table("image", "label", "probability", "ms", box=None)
    for result in results:
        if "error" in result:
            table.add_row(result["path"], "not read", "", "", style="red")
            continue
        likeliest = max(result["probabilities"].items(), key=lambda item: item[1])
        words = result["label"] if not result["uncertain"] else f"Uncertain ({likeliest[0]}?)"
        table.add_row(result["path"], words, f"{likeliest[1]:.3f}", f"{result['milliseconds']:.1f}")
    Console().print(table)
    for result in results:
        if "error" in result:
            print(f"{result['path']}: {result['error']}")


def install(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.command("classify")(classify_command)
