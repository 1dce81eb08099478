# SPDX-License-Identifier: Apache-2.0
"""Arguments and options that the commands about classifiers share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from medhub.errors import Invalid
from medhub.science.learning.dataset import ListingRow, part_of, read_listing

Classifier = Annotated[str, typer.Argument(help="Name of a classifier, or its folder.")]
Listing = Annotated[
    Path,
    typer.Option(
        "--data", help="CSV with path,label[,group][,split][,source], or a folder with a subfolder per label."
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(
        help="Folder to which the paths of the CSV are relative; default: the nearest one that contains the first file."
    ),
]
Split = Annotated[
    str | None,
    typer.Option(help="Part to measure: train, val, test or all; default: test if the CSV has parts, otherwise all."),
]
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]


def select_rows(data: Path, root: Path | None, split: str | None) -> tuple[tuple[ListingRow, ...], str]:
    """Read a listing, and select the rows of a part; the test part by default, if the listing has one."""
    rows = read_listing(data, root)
    if split not in (None, "all", "train", "val", "test"):
        raise Invalid(f'There is no part "{split}". Use train, val, test or all.', field="split")
    if split is None and any(row.split == "test" for row in rows):
        split = "test"
    if split in (None, "all"):
        return rows, "all"
    selected = part_of(rows, split)  # type: ignore[arg-type]
    if not selected:
        raise Invalid(f"{data.name} has no images of the part {split}.", field="split")
    return selected, str(split)


def progress_bar(quiet: bool) -> Progress:
    """Make a progress bar on the standard error stream."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True)
