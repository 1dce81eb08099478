# SPDX-License-Identifier: Apache-2.0
"""Commands that bring files in: once, or whenever some lie in a folder."""

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
from medhub.errors import MedhubError, NotFound
from medhub.foundation.app_context import AppContext
from medhub.foundation.settings import Settings
from medhub.ingest import service as ingest
from medhub.ingest.context import Answer, IngestContext, too_large
from medhub.ingest.file_sources import Reader, SourceFile, find_files
from medhub.ingest.models import Route
from medhub.ingest.patient_matching import IngestSource
from medhub.ingest.pipeline import MOST_BYTES, MOST_FILES, receive_files
from medhub.ingest.quarantine import quarantine_unassigned
from medhub.records import service as records
from medhub.records.pathway import get_pathway

Data = Annotated[
    Path | None, typer.Option("--data", help="Folder of the database, blobs and keys; MEDHUB_DATA if not given.")
]
Project = Annotated[str, typer.Option(help="Name or id of the project.")]
PathwayName = Annotated[
    str | None, typer.Option("--pathway", help="Name of the pathway; without it the project's settings say.")
]

# A file is whole when it has not changed for so long.
_QUIET_S = 2.0
_LOOK_S = 1.0


class After(StrEnum):
    """What becomes of a watched file once it is durable."""

    DELETE = "delete"
    MOVE = "move"


@dataclass
class _Way:
    """By which way files come in: for a patient who is named, or for whom they name themselves."""

    app: AppContext
    door: IngestSource
    receiving: IngestContext | None

    def bring(self, files: list[tuple[SourceFile, bytes | None]]) -> list[Answer]:
        """Bring in a batch; ``None`` stands for a file that is too large."""
        whole = [data for _, data in files if data is not None]
        if self.receiving is None:
            taken = iter(receive_files(self.app, COMMAND_LINE, self.door, whole))
        else:
            taken = iter([ingest.receive(self.app, COMMAND_LINE, self.receiving, data) for data in whole])
        return [next(taken) if data is not None else self._too_large(found) for found, data in files]

    def _too_large(self, found: SourceFile) -> Answer:
        refusal = too_large(self.app, found.size)
        if self.receiving is None:
            return quarantine_unassigned(self.app, COMMAND_LINE, self.door, b"", refusal, found.size)
        return ingest.quarantine(self.app, COMMAND_LINE, self.receiving, b"", refusal, found.size)


def _way(app: AppContext, project: str, patient: str | None, pathway: str | None, route: Route) -> _Way:
    with app.database.reading() as session:
        known = accounts.find_project(session, project)
        if pathway is not None:
            get_pathway(app.settings, pathway)
        door = IngestSource(known.id, route, pathway=pathway)
        if patient is None:
            return _Way(app, door, None)
        who = records.find_patient(session, known.id, patient)
        return _Way(app, door, ingest.begin(session, app, COMMAND_LINE, who.id, pathway or "smear-review"))


def _batches(
    app: AppContext, reader: Reader, found: Iterable[SourceFile]
) -> Iterator[list[tuple[SourceFile, bytes | None]]]:
    batch: list[tuple[SourceFile, bytes | None]] = []
    size = 0
    for one in found:
        data = reader.read(one) if one.size <= app.settings.upload_max_bytes else None
        # Twice as many as are cleaned at once: one half is written while the other is cleaned.
        if batch and (len(batch) >= 2 * MOST_FILES or size + one.size > 2 * MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((one, data))
        size += one.size
    if batch:
        yield batch


def ingest_command(
    paths: Annotated[list[Path], typer.Argument(help="Files, folders, ZIPs, or media with a DICOMDIR.")],
    project: Project,
    patient: Annotated[
        str | None,
        typer.Option(help="Code of the patient to whom all files belong; without it each DICOM file says whose it is."),
    ] = None,
    pathway: PathwayName = None,
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Bring files in; exit code 1 if any was quarantined. The server classifies them as soon as it runs."""
    app = build(Settings(data=data.absolute()) if data is not None else Settings())
    results: list[dict[str, Any]] = []
    reader = Reader(app)
    try:
        way = _way(app, project, patient, pathway, "command")
        found = list(find_files(app, paths))
        if not found:
            raise NotFound("There are no files in what was named.")
        for batch in _with_bar(_batches(app, reader, found), len(found), as_json):
            results += [
                {"path": one.name, "outcome": answer.outcome, "reason": answer.reason, "image_id": answer.image_id}
                for (one, _), answer in zip(batch, way.bring(batch), strict=True)
            ]
    finally:
        reader.close()
        app.close()
    if as_json:
        print(json.dumps(results, ensure_ascii=False))
    else:
        _print(results)
    if any(result["outcome"] == "quarantined" for result in results):
        raise typer.Exit(1)


def _print(results: list[dict[str, Any]]) -> None:
    for result in results:
        if result["outcome"] != "accepted":
            print(f"{result['outcome']}: {result['path']}: {result['reason']}")
    counts = Counter(result["outcome"] for result in results)
    print(", ".join(f"{counts[outcome]} {outcome}" for outcome in ("accepted", "duplicate", "quarantined")))


def _with_bar(
    batches: Iterator[list[tuple[SourceFile, bytes | None]]], total: int, quiet: bool
) -> Iterator[list[tuple[SourceFile, bytes | None]]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as progress:
        task = progress.add_task("Bringing in", total=total)
        for batch in batches:
            yield batch
            progress.advance(task, len(batch))


def watch_command(
    folder: Annotated[Path, typer.Argument(help="Folder in which files are laid.", exists=True, file_okay=False)],
    project: Project,
    after: Annotated[
        After, typer.Option(help="What becomes of a file that is durable here: deleted, or moved into a subfolder.")
    ] = After.MOVE,
    pathway: PathwayName = None,
    data: Data = None,
) -> None:
    """Bring in whatever is laid into a folder, until it is interrupted; each file is taken once it stops growing."""
    app = build(Settings(data=data.absolute()) if data is not None else Settings())
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    watched = Watched(folder, after)
    try:
        way = _way(app, project, None, pathway, "watch")
        print(f"Watching {folder}", flush=True)
        while not ended.wait(_LOOK_S):
            for outcome, count in sorted(watched.look(way).items()):
                print(f"{count} {outcome}", flush=True)
    finally:
        app.close()


class Watched:
    """A folder in which files are laid; those that are taken are deleted, or moved to ``received`` or ``waiting``."""

    def __init__(self, folder: Path, after: After) -> None:
        self._folder, self._after = folder, after
        self._own = {folder / name for name in ("received", "waiting")}
        self._seen: dict[Path, tuple[int, int, float]] = {}  # size, time of change, since when it has not changed

    def look(self, way: _Way) -> Counter[str]:
        """Bring in the files that have stopped growing; what became of how many."""
        counts: Counter[str] = Counter()
        reader = Reader(way.app)
        whole = [SourceFile(str(path), path, size=path.stat().st_size) for path in self._whole()]
        for batch in _batches(way.app, reader, whole):
            try:
                answers = way.bring(batch)
            except MedhubError as error:  # as a full disk, or a database that is away: they are tried again
                print(error.message, flush=True)
                break
            for (found, _), answer in zip(batch, answers, strict=True):
                counts[answer.outcome] += 1
                self._put_away(found.path, answer)
        return counts

    def _whole(self) -> list[Path]:
        now, whole = time.monotonic(), []
        present: set[Path] = set()
        for root, folders, names in os.walk(self._folder):
            folders[:] = [name for name in sorted(folders) if Path(root) / name not in self._own]
            for name in sorted(names):
                path = Path(root) / name
                if name.startswith(".") or path.is_symlink() or not path.is_file():
                    continue
                present.add(path)
                entry = path.stat()
                size, changed, since = self._seen.get(path, (-1, 0, now))
                if (size, changed) != (entry.st_size, entry.st_mtime_ns):
                    self._seen[path] = (entry.st_size, entry.st_mtime_ns, now)
                elif now - since >= _QUIET_S:
                    whole.append(path)
        self._seen = {path: seen for path, seen in self._seen.items() if path in present}
        return whole

    def _put_away(self, path: Path, answer: Answer) -> None:
        if self._after is After.DELETE:
            path.unlink(missing_ok=True)
            return
        place = self._folder / ("waiting" if answer.outcome == "quarantined" else "received")
        target = place / path.relative_to(self._folder)
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
