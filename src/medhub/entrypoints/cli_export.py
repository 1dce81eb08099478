# SPDX-License-Identifier: Apache-2.0
"""The command ``medhub export``."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from medhub.accounts import service as accounts
from medhub.accounts.actor import COMMAND_LINE
from medhub.entrypoints.bootstrap import build
from medhub.entrypoints.cli_data_folder import Data
from medhub.errors import Conflict, Invalid
from medhub.export import service, tasks, transfer
from medhub.export.export_findings import count_findings
from medhub.export.formats import FormatName, get_format
from medhub.export.lifecycle import ACTIVE_STATES
from medhub.export.models import Export, ExportSending
from medhub.export.selection import Selection
from medhub.export.stow_client import store_to_archive
from medhub.foundation.app_context import AppContext
from medhub.foundation.settings import Settings
from medhub.records import service as records


def export_command(
    project: Annotated[str, typer.Argument(help="Name or id of the project.")],
    out: Annotated[Path, typer.Option(help="The ZIP file to write.")],
    form: Annotated[FormatName, typer.Option(help="DICOM files, pictures with labels, or metadata only.")] = "dicom",
    picture: Annotated[service.PictureType, typer.Option(help="Picture type of a data set for training.")] = "png",
    patient: Annotated[list[str] | None, typer.Option(help="Code of a patient; repeatable.")] = None,
    pathway: Annotated[str | None, typer.Option(help="Only the signed verdicts of this pathway.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Search by a DICOM attribute, such as Modality=CT or StudyDate=2020-; repeatable."),
    ] = None,
    send_to: Annotated[str | None, typer.Option(help="Also send the objects to this DICOM node (AE title).")] = None,
    stow: Annotated[str | None, typer.Option(help="Also send them to the DICOMweb archive at this address.")] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the bearer token for that archive.", exists=True, dir_okay=False)
    ] = None,
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Export a data set; exit code 1 if the PHI scan found values on which a person must decide in the web app."""
    if sum((bool(patient), pathway is not None, bool(where))) > 1:
        raise Invalid("Use only one of --patient, --pathway and --where.", field="pathway")
    export_format = get_format(form)
    if (send_to or stow) and not export_format.has_dicom_headers:
        raise Invalid("Only DICOM files can be sent.", field="form")
    search = _parse_search(where or ())
    if not out.absolute().parent.is_dir():
        raise Invalid(f"There is no folder {out.parent} to write to.", field="out")
    app = build(Settings(data=data.absolute()) if data is not None else Settings())
    try:
        with app.database.reading() as session:
            project_id = accounts.find_project(session, project).id
            ids = tuple(records.find_patient(session, project_id, code).id for code in patient or ())
        kind = "patients" if ids else "verdicts" if pathway is not None else "search" if search else "project"
        with app.database.writing() as session:
            export = service.create_export(
                session,
                app,
                COMMAND_LINE,
                project_id=project_id,
                selection=Selection(kind, ids, pathway, search),  # type: ignore[arg-type]
                form=form,
                picture=picture if export_format.picture_types else None,
            )
        export = _build_export(app, export, quiet=as_json)
        if export.state == "ready":
            with app.database.reading() as session:
                _, path = service.get_export_file(session, app.settings, COMMAND_LINE, export.id)
            shutil.copyfile(path, out)
            _send_export(app, export, path, send_to, stow, token_file)
        with app.database.reading() as session:
            open_findings = count_findings(session, [export.id])[export.id].open
    finally:
        app.close()
    _print_result(export, out, open_findings, as_json=as_json)
    if export.state != "ready":
        raise typer.Exit(1)


def _print_result(export: Export, out: Path, open_findings: int, *, as_json: bool) -> None:
    """Print how an export ended; raises ``Conflict`` if it failed."""
    if as_json:
        names = ("id", "state", "images", "patients", "size_bytes", "digest", "anonymity")
        print(json.dumps({**{name: getattr(export, name) for name in names}, "open_findings": open_findings}))
    elif export.state == "ready":
        k = f", k = {export.anonymity['k']}" if export.anonymity else ""
        print(f"{out}: {export.images} images of {export.patients} patients{k}, SHA-256 {export.digest}")
    elif export.state == "blocked":
        print(
            f"{open_findings} values may identify a patient. Decide on them in the app, under Exports; "
            "nothing was written."
        )
    else:
        raise Conflict(export.failure or f"The export ended: its state is {export.state}.")


def _parse_search(where: Sequence[str]) -> dict[str, str] | None:
    pairs = [condition.partition("=") for condition in where]
    if not all(keyword and sign for keyword, sign, _ in pairs):
        raise Invalid("Write a search as Keyword=value, such as Modality=CT.", field="where")
    return {keyword: value for keyword, _, value in pairs} or None


def _send_export(
    app: AppContext, export: Export, path: Path, node: str | None, archive: str | None, token_file: Path | None
) -> None:
    """Send an export to a node or an archive; raises ``Conflict`` if some objects are rejected."""
    if node is not None:
        with app.database.writing() as session:
            sending = transfer.create_sending(session, COMMAND_LINE, export.id, node)
        transfer.send_export(app, sending.id)
        with app.database.reading() as session:
            failure = session.get_one(ExportSending, sending.id).failure
        if failure is not None:
            raise Conflict(failure)
    if archive is not None:
        token = token_file.read_text().strip() if token_file is not None else None
        with app.database.writing() as session:
            transfer.record_stow(session, COMMAND_LINE, export.id, archive)
        rejected = store_to_archive(path, archive, token)
        if rejected:
            raise Conflict(f"The archive rejected {len(rejected)} of {export.images} objects.")


def _build_export(app: AppContext, export: Export, *, quiet: bool) -> Export:
    """Run the steps of an export until it is blocked or ends; a running server may run some of them."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as progress:
        bar = progress.add_task("Scanning", total=export.images)
        while export.state in ACTIVE_STATES:
            before = (export.state, export.scanned)
            tasks.advance_export(app, export.id)
            with app.database.reading() as session:
                export = session.get_one(Export, export.id)
            description = "Packing" if export.state == "packing" else "Scanning"
            progress.update(bar, completed=export.scanned, description=description)
            if before == (export.state, export.scanned):
                time.sleep(0.2)
    return export


def install(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("export")(export_command)
