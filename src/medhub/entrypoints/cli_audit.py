# SPDX-License-Identifier: Apache-2.0
"""Commands of the audit log: verification and checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from medhub.audit import checkpoints
from medhub.audit.service import verify_chain
from medhub.entrypoints.cli_data_folder import Data, open_app
from medhub.errors import Invalid

audit_app = typer.Typer(help="The audit log.", no_args_is_help=True)


@audit_app.command("verify")
def verify(
    checkpoint: Annotated[
        list[Path] | None, typer.Option(help="A checkpoint that the log must contain; repeatable.")
    ] = None,
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Verify the hash chain of the audit log and print the first invalid entry; exit code 1 if there is one."""
    with open_app(data) as app, app.database.reading() as session:
        result = verify_chain(session)
        broken_at, reason = result.broken_at, result.reason
        for path in checkpoint or []:
            noted = checkpoints.read_checkpoint(_read(path), app.keys)
            difference = checkpoints.contradiction(session, noted)
            if difference is not None and (broken_at is None or noted.seq < broken_at):
                broken_at, reason = noted.seq, difference
    value = {
        "entries": result.entries,
        "intact": broken_at is None,
        "broken_at": broken_at,
        "reason": reason,
        "last_hash": result.last_hash,
        "keyed_from": result.keyed_from,
    }
    text = (
        f"The chain is intact: {result.entries} entries, the last hash is {result.last_hash}."
        if broken_at is None
        else f"The chain is broken at entry {broken_at}: {reason}"
    )
    print(json.dumps(value, ensure_ascii=False) if as_json else text)
    if broken_at is not None:
        raise typer.Exit(1)


@audit_app.command("checkpoint")
def checkpoint(
    out: Annotated[Path | None, typer.Option(help="File to write; without it, the checkpoint is printed.")] = None,
    accept: Annotated[
        str | None, typer.Option(help="Reason for which entries are missing; it is recorded in the log.")
    ] = None,
    data: Data = None,
) -> None:
    """Export a signed checkpoint of the audit log, to store on another machine; exit code 4 if it is not intact."""
    with open_app(data) as app:
        if accept is not None:
            with app.database.writing() as session:
                checkpoints.accept_gaps(session, accept)
        with app.database.reading() as session:
            text = checkpoints.make_checkpoint(session, app.keys)
    if out is None:
        print(text)
    else:
        out.write_text(text + "\n")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"The checkpoint {path.name} cannot be read.", field="checkpoint") from error
