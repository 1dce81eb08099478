# SPDX-License-Identifier: Apache-2.0
"""The command that lets a data set leave."""

from __future__ import annotations

import json
import shutil
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from medhub.accounts import service as accounts
from medhub.accounts.actor import COMMAND_LINE
from medhub.entrypoints.assembly import build
from medhub.errors import Conflict, Invalid
from medhub.export import service, tasks
from medhub.export.models import Export
from medhub.export.selection import Selection
from medhub.foundation.installation import Installation
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
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Let a data set leave; exit code 1 if the last look found something, on which a person decides in the app."""
    if patient and pathway is not None:
        raise Invalid("Name patients or a pathway, not both.", field="pathway")
    if not out.absolute().parent.is_dir():
        raise Invalid(f"There is no folder {out.parent} to write to.", field="out")
    house = build(Settings(data=data.absolute()) if data is not None else Settings())
    try:
        with house.database.reading() as session:
            project_id = accounts.find_project(session, project).id
            ids = tuple(records.find_patient(session, project_id, code).id for code in patient or ())
        kind = "patients" if ids else "verdicts" if pathway is not None else "project"
        with house.database.writing() as session:
            made = service.order(
                session,
                house,
                COMMAND_LINE,
                project_id=project_id,
                chosen=Selection(kind, ids, pathway),  # type: ignore[arg-type]
                form=form.value,
                picture=picture.value if form is _Form.TRAINING else None,
            )
        export = _make(house, made, quiet=as_json)
        if export.state == "ready":
            with house.database.reading() as session:
                _, path = service.fetch(session, house.settings, COMMAND_LINE, export.id)
            shutil.copyfile(path, out)
        with house.database.reading() as session:
            waiting = service.counts_of(session, [export.id])[export.id].open
    finally:
        house.close()
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


def _make(house: Installation, export: Export, *, quiet: bool) -> Export:
    """Go on with an export until a person must decide or it has ended; a server that runs may do some of it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as progress:
        bar = progress.add_task("Looking through", total=export.images)
        while export.state in service.AT_WORK:
            before = (export.state, export.looked)
            tasks.go_on(house, export.id)
            with house.database.reading() as session:
                export = session.get_one(Export, export.id)
            description = "Packing" if export.state == "packing" else "Looking through"
            progress.update(bar, completed=export.looked, description=description)
            if before == (export.state, export.looked):
                time.sleep(0.2)
    return export


def install(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export_command)
