# SPDX-License-Identifier: Apache-2.0
"""Commands that ingest files: once, or continuously from a watched folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from medhub.accounts import service as accounts
from medhub.accounts.actor import COMMAND_LINE
from medhub.entrypoints.bootstrap import build
from medhub.entrypoints.cli_data_folder import Data
from medhub.errors import MedhubError, NotFound
from medhub.foundation.app_context import AppContext
from medhub.foundation.settings import Settings
from medhub.ingest.context import IngestSource
from medhub.ingest.file_sources import Reader, SourceFile, find_files
from medhub.ingest.ingest_file import IngestResult, ReceivedFile
from medhub.ingest.models import Route
from medhub.ingest.patient_claims.chosen_patient import choose_patient
from medhub.ingest.pipeline import BATCH_BYTES, BATCH_FILES, ingest_files
from medhub.records import service as records
from medhub.records.pathway import get_pathway

Project = Annotated[str, typer.Option(help="Name or id of the project.")]
PathwayName = Annotated[
    str | None,
    typer.Option("--pathway", help="Name of the pathway; default: that of the archive settings of the project."),
]

_MISSING = "The DICOMDIR names this file, which is not there. Copy it from the medium, and import it again."
# A file is complete when it has not changed for so long.
_STABLE_S = 2.0
_SCAN_INTERVAL_S = 1.0


class After(StrEnum):
    """What happens to a watched file after it is stored or quarantined."""

    DELETE = "delete"
    MOVE = "move"


def _open_source(app: AppContext, project: str, patient: str | None, pathway: str | None, route: Route) -> IngestSource:
    """The source of the files: of a chosen patient, or of patients whom the files name."""
    with app.database.reading() as session:
        project_id = accounts.find_project(session, project).id
        if pathway is not None:
            get_pathway(app.settings, pathway)
        if patient is None:
            return IngestSource(project_id, route, pathway=pathway)
        patient_id = records.find_patient(session, project_id, patient).id
        return choose_patient(session, app, COMMAND_LINE, patient_id, pathway or "smear-review")


@dataclass(frozen=True)
class _FileBatch:
    """Files that are read and ingested together."""

    sources: list[SourceFile]
    files: list[ReceivedFile]


def _read_batches(app: AppContext, reader: Reader, sources: Iterable[SourceFile]) -> Iterator[_FileBatch]:
    batch = _FileBatch([], [])
    size = 0
    for source in sources:
        data = reader.read(source) if source.size <= app.settings.upload_max_bytes else None
        # Twice the size of a batch of the pipeline: one half is stored while the other is cleaned.
        if batch.files and (len(batch.files) >= 2 * BATCH_FILES or size + source.size > 2 * BATCH_BYTES):
            yield batch
            batch, size = _FileBatch([], []), 0
        batch.sources.append(source)
        batch.files.append(ReceivedFile(data, source.size if data is None else len(data), Path(source.name).name))
        size += source.size
    if batch.files:
        yield batch


def ingest_command(
    paths: Annotated[list[Path], typer.Argument(help="Files, folders, ZIP files, or media with a DICOMDIR.")],
    project: Project,
    patient: Annotated[
        str | None,
        typer.Option(help="Code of the patient of all files; default: the patient that each DICOM file names."),
    ] = None,
    pathway: PathwayName = None,
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Import files; exit code 1 if a file was quarantined or is missing. A running server classifies the images."""
    app = build(Settings(data=data.absolute()) if data is not None else Settings())
    results: list[dict[str, Any]] = []
    missing: list[str] = []
    reader = Reader(app)
    try:
        source = _open_source(app, project, patient, pathway, "command")
        source_files = list(find_files(app, paths, missing))
        if not source_files:
            raise NotFound("The given paths contain no files.")
        for batch in _show_progress(_read_batches(app, reader, source_files), len(source_files), as_json):
            answers = ingest_files(app, COMMAND_LINE, source, batch.files)
            results += [
                {"path": file.name, "outcome": result.outcome, "reason": result.reason, "image_id": result.image_id}
                for file, result in zip(batch.sources, answers, strict=True)
            ]
    finally:
        reader.close()
        app.close()
    results += [{"path": name, "outcome": "missing", "reason": _MISSING, "image_id": None} for name in missing]
    if as_json:
        print(json.dumps(results, ensure_ascii=False))
    else:
        _print_results(results)
    if any(result["outcome"] in {"quarantined", "missing"} for result in results):
        raise typer.Exit(1)


def _print_results(results: list[dict[str, Any]]) -> None:
    for result in results:
        if result["outcome"] != "accepted":
            print(f"{result['outcome']}: {result['path']}: {result['reason']}")
    counts = Counter(result["outcome"] for result in results)
    outcomes = ["accepted", "duplicate", "quarantined", *(["missing"] if counts["missing"] else [])]
    print(", ".join(f"{counts[outcome]} {outcome}" for outcome in outcomes))


def _show_progress(batches: Iterator[_FileBatch], total: int, quiet: bool) -> Iterator[_FileBatch]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as progress:
        task = progress.add_task("Ingesting", total=total)
        for batch in batches:
            yield batch
            progress.advance(task, len(batch.files))


def watch_command(
    folder: Annotated[Path, typer.Argument(help="Folder to watch for files.", exists=True, file_okay=False)],
    project: Project,
    after: Annotated[
        After, typer.Option(help="Delete a file after its import, or move it to a subfolder.")
    ] = After.MOVE,
    pathway: PathwayName = None,
    data: Data = None,
) -> None:
    """Import files that are put into a folder, until interrupted; a file is imported when it no longer changes."""
    app = build(Settings(data=data.absolute()) if data is not None else Settings())
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    watched = WatchFolder(folder, after)
    try:
        source = _open_source(app, project, None, pathway, "watch")
        print(f"Watching {folder}", flush=True)
        while not ended.wait(_SCAN_INTERVAL_S):
            for outcome, count in sorted(watched.ingest_stable(app, source).items()):
                print(f"{count} {outcome}", flush=True)
    finally:
        app.close()


class WatchFolder:
    """A watched folder; ingested files are deleted, or moved to its subfolders ``received`` and ``waiting``."""

    def __init__(self, folder: Path, after: After) -> None:
        self._folder, self._after = folder, after
        self._own = {folder / name for name in ("received", "waiting")}
        self._sizes: dict[Path, tuple[int, int, float]] = {}  # size, time of change, unchanged since

    def ingest_stable(self, app: AppContext, source: IngestSource) -> Counter[str]:
        """Ingest the files that have stopped growing, and count the outcomes."""
        counts: Counter[str] = Counter()
        reader = Reader(app)
        stable = [SourceFile(str(path), path, size=path.stat().st_size) for path in self._find_stable()]
        for batch in _read_batches(app, reader, stable):
            try:
                results = ingest_files(app, COMMAND_LINE, source, batch.files)
            except MedhubError as error:  # such as a full disk or an unreachable database: the files are tried again
                print(error.message, flush=True)
                break
            for file, result in zip(batch.sources, results, strict=True):
                counts[result.outcome] += 1
                self._remove_ingested(file.path, result)
        return counts

    def _find_stable(self) -> list[Path]:
        now, stable = time.monotonic(), []
        present: set[Path] = set()
        for root, folders, names in os.walk(self._folder):
            folders[:] = [name for name in sorted(folders) if Path(root) / name not in self._own]
            for name in sorted(names):
                path = Path(root) / name
                if name.startswith(".") or path.is_symlink() or not path.is_file():
                    continue
                present.add(path)
                entry = path.stat()
                size, changed, since = self._sizes.get(path, (-1, 0, now))
                if (size, changed) != (entry.st_size, entry.st_mtime_ns):
                    self._sizes[path] = (entry.st_size, entry.st_mtime_ns, now)
                elif now - since >= _STABLE_S:
                    stable.append(path)
        self._sizes = {path: entry for path, entry in self._sizes.items() if path in present}
        return stable

    def _remove_ingested(self, path: Path, result: IngestResult) -> None:
        if self._after is After.DELETE:
            path.unlink(missing_ok=True)
            return
        subfolder = self._folder / ("waiting" if result.outcome == "quarantined" else "received")
        target = subfolder / path.relative_to(self._folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        number = 1
        while target.exists():
            number += 1
            target = target.with_name(f"{path.stem}-{number}{path.suffix}")
        shutil.move(path, target)


def install(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.command("ingest")(ingest_command)
    cli.command("watch")(watch_command)
