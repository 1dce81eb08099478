# SPDX-License-Identifier: Apache-2.0
"""The command that lets a data set leave."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from medhub.accounts import service as accounts
from medhub.accounts.actor import COMMAND_LINE
from medhub.entrypoints.bootstrap import build
from medhub.errors import Conflict, Invalid
from medhub.export import service, tasks, transfer
from medhub.export.models import Export, ExportSending
from medhub.export.selection import Selection
from medhub.foundation.app_context import AppContext
from medhub.foundation.settings import Settings
from medhub.records import service as records

Data = Annotated[
    Path | None, typer.Option("--data", help="Folder of the database, blobs and keys; MEDHUB_DATA if not given.")
]


class _Form(StrEnum):
    DICOM = "dicom"
    TRAINING = "training"
    METADATA = "metadata"


class _Picture(StrEnum):
    PNG = "png"
    JPEG = "jpeg"


def export_command(
    project: Annotated[str, typer.Argument(help="Name or id of the project.")],
    out: Annotated[Path, typer.Option(help="The ZIP to be written.")],
    form: Annotated[_Form, typer.Option(help="DICOM files, pictures with labels, or metadata alone.")] = _Form.DICOM,
    picture: Annotated[_Picture, typer.Option(help="What the pictures of a data set are.")] = _Picture.PNG,
    patient: Annotated[list[str] | None, typer.Option(help="Code of a patient; may be given several times.")] = None,
    pathway: Annotated[str | None, typer.Option(help="Only the signed verdicts of this pathway.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="What a search must find, as Modality=CT or StudyDate=2020-; may be given several times."),
    ] = None,
    send_to: Annotated[str | None, typer.Option(help="Then send the objects to this DICOM node (AE title).")] = None,
    stow: Annotated[str | None, typer.Option(help="Then send them to the DICOMweb archive at this address.")] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the bearer token for that archive.", exists=True, dir_okay=False)
    ] = None,
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Let a data set leave; exit code 1 if the last look found something, on which a person decides in the cli."""
    if sum((bool(patient), pathway is not None, bool(where))) > 1:
        raise Invalid("Name patients, a pathway, or what a search must find: one of them.", field="pathway")
    if (send_to or stow) and form is not _Form.DICOM:
        raise Invalid("Only DICOM files are sent.", field="form")
    wanted = _wanted(where or ())
    if not out.absolute().parent.is_dir():
        raise Invalid(f"There is no folder {out.parent} to write to.", field="out")
    app = build(Settings(data=data.absolute()) if data is not None else Settings())
    try:
        with app.database.reading() as session:
            project_id = accounts.find_project(session, project).id
            ids = tuple(records.find_patient(session, project_id, code).id for code in patient or ())
        kind = "patients" if ids else "verdicts" if pathway is not None else "search" if wanted else "project"
        with app.database.writing() as session:
            made = service.order(
                session,
                app,
                COMMAND_LINE,
                project_id=project_id,
                chosen=Selection(kind, ids, pathway, wanted),  # type: ignore[arg-type]
                form=form.value,
                picture=picture.value if form is _Form.TRAINING else None,
            )
        export = _make(app, made, quiet=as_json)
        if export.state == "ready":
            with app.database.reading() as session:
                _, path = service.fetch(session, app.settings, COMMAND_LINE, export.id)
            shutil.copyfile(path, out)
            _send(app, export, path, send_to, stow, token_file)
        with app.database.reading() as session:
            waiting = service.counts_of(session, [export.id])[export.id].open
    finally:
        app.close()
    if as_json:
        told = ("id", "state", "images", "patients", "size_bytes", "digest", "anonymity")
        print(json.dumps({**{name: getattr(export, name) for name in told}, "open_findings": waiting}))
    elif export.state == "ready":
        k = f", k = {export.anonymity['k']}" if export.anonymity else ""
        print(f"{out}: {export.images} images of {export.patients} patients{k}, SHA-256 {export.digest}")
    elif export.state == "blocked":
        print(
            f"{waiting} values may say who somebody is. Decide on them in the app, under Exports; nothing was written."
        )
    else:
        raise Conflict(export.failure or f"The export ended: it is {export.state}.")
    if export.state != "ready":
        raise typer.Exit(1)


def _wanted(where: Sequence[str]) -> dict[str, str] | None:
    pairs = [one.partition("=") for one in where]
    if not all(keyword and sign for keyword, sign, _ in pairs):
        raise Invalid("Write what a search must find as Keyword=value, such as Modality=CT.", field="where")
    return {keyword: value for keyword, _, value in pairs} or None


def _send(
    app: AppContext, export: Export, path: Path, node: str | None, archive: str | None, token_file: Path | None
) -> None:
    """Send what was written on to where it is wanted; raises ``Conflict`` where some of it is not taken there."""
    if node is not None:
        with app.database.writing() as session:
            ordered = transfer.order(session, COMMAND_LINE, export.id, node)
        transfer.send_export(app, ordered.id)
        with app.database.reading() as session:
            failure = session.get_one(ExportSending, ordered.id).failure
        if failure is not None:
            raise Conflict(failure)
    if archive is not None:
        token = token_file.read_text().strip() if token_file is not None else None
        with app.database.writing() as session:
            transfer.record_stow(session, COMMAND_LINE, export.id, archive)
        refused = transfer.stow(path, archive, token)
        if refused:
            raise Conflict(f"The archive did not take {len(refused)} of {export.images} objects.")


def _make(app: AppContext, export: Export, *, quiet: bool) -> Export:
    """Go on with an export until a person must decide or it has ended; a server that runs may do some of it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as progress:
        bar = progress.add_task("Looking through", total=export.images)
        while export.state in service.AT_WORK:
            before = (export.state, export.looked)
            tasks.go_on(app, export.id)
            with app.database.reading() as session:
                export = session.get_one(Export, export.id)
            description = "Packing" if export.state == "packing" else "Looking through"
            progress.update(bar, completed=export.looked, description=description)
            if before == (export.state, export.looked):
                time.sleep(0.2)
    return export


def install(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("export")(export_command)
