# SPDX-License-Identifier: Apache-2.0
"""Commands on image files: bringing them in, and reading them with a classifier."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from medhub.accounts import service as accounts
from medhub.accounts.actor import COMMAND_LINE
from medhub.classification.registry import get_classifier
from medhub.entrypoints.assembly import build
from medhub.errors import Invalid, NotFound
from medhub.foundation.settings import Settings
from medhub.ingest import service as ingest
from medhub.records import service as records
from medhub.science.imaging.decoding import decode_photograph
from medhub.science.imaging.limits import Limits, Unacceptable
from medhub.science.inference.decision import decide

Paths = Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")]
Data = Annotated[
    Path | None, typer.Option("--data", help="Folder of the database, blobs and keys; MEDHUB_DATA if not given.")
]

# What in a folder is taken for an image; a file that is named is taken whatever it is called.
ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".dcm", ".dicom", ""})


def _settings_of(data: Path | None) -> Settings:
    return Settings(data=data.absolute()) if data is not None else Settings()


def files_in(paths: list[Path]) -> list[Path]:
    """The files that are named, and the images in the folders that are named, in their order."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (p for p in sorted(path.rglob("*")) if p.is_file() and not p.name.startswith("."))
            found += [p for p in inside if p.suffix.lower() in ENDINGS]
        elif path.exists():
            found.append(path)
        else:
            raise NotFound(f"There is no file {path}.")
    if not found:
        raise NotFound("There are no images in what was named.")
    return found


def _with_bar(files: list[Path], doing: str, quiet: bool) -> Iterator[Path]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as progress:
        task = progress.add_task(doing, total=len(files))
        for path in files:
            yield path
            progress.advance(task)


def ingest_command(
    paths: Paths,
    project: Annotated[str, typer.Option(help="Name or id of the project.")],
    patient: Annotated[str, typer.Option(help="Code of the patient.")],
    pathway: Annotated[str, typer.Option(help="Name of the pathway.")] = "smear-review",
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Bring image files in; exit code 1 if any was quarantined. The server classifies them as soon as it runs."""
    files = files_in(paths)
    house = build(_settings_of(data))
    results: list[dict[str, Any]] = []
    try:
        with house.database.reading() as session:
            known = accounts.find_project(session, project)
            who = records.find_patient(session, known.id, patient)
            receiving = ingest.begin(session, house, COMMAND_LINE, who.id, pathway)
        for path in _with_bar(files, "Bringing in", as_json):
            size = path.stat().st_size
            if size > house.settings.upload_max_bytes:
                refusal = Unacceptable(
                    f"This file has {size // 1024**2} MB; at most {house.settings.upload_max_bytes // 1024**2} MB are "
                    "taken. Nothing was stored.",
                    reason="too-many-bytes",
                )
                answer = ingest.quarantine(house, COMMAND_LINE, receiving, b"", refusal, size)
            else:
                answer = ingest.receive(house, COMMAND_LINE, receiving, path.read_bytes())
            results.append(
                {"path": str(path), "outcome": answer.outcome, "reason": answer.reason, "image_id": answer.image_id}
            )
    finally:
        house.close()
    if as_json:
        print(json.dumps(results, ensure_ascii=False))
    else:
        for result in results:
            if result["outcome"] != "accepted":
                print(f"{result['outcome']}: {result['path']}: {result['reason']}")
        counts = {o: sum(r["outcome"] == o for r in results) for o in ("accepted", "duplicate", "quarantined")}
        print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    if any(result["outcome"] == "quarantined" for result in results):
        raise typer.Exit(1)


def classify_command(
    paths: Paths,
    classifier: Annotated[str, typer.Option(help="Name of a classifier, or its folder.")] = "blood-cells",
    threshold: Annotated[float, typer.Option(help="Below this probability the answer is Uncertain.")] = 0.75,
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Read images with a classifier, without a server; exit code 1 if any could not be read."""
    if not 0 < threshold <= 1:
        raise Invalid("A threshold lies above 0 and is at most 1.", field="threshold")
    files = files_in(paths)
    reader = get_classifier(_settings_of(data), classifier)
    results: list[dict[str, Any]] = []
    for path in _with_bar(files, "Reading", as_json):
        try:
            reading = reader.classify(decode_photograph(path.read_bytes(), Limits()))
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


def install(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("ingest")(ingest_command)
    app.command("classify")(classify_command)
