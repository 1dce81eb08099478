# SPDX-License-Identifier: Apache-2.0
"""The commands ``jobs failed`` and ``jobs retry``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from medhub.entrypoints.cli_data_folder import Data, open_app
from medhub.errors import NotFound
from medhub.foundation import clock, jobs

job_commands = typer.Typer(help="Background jobs that failed.", no_args_is_help=True)


@job_commands.command("failed")
def list_failed_jobs(data: Data = None) -> None:
    """List the jobs that were given up, with the kind of their last error."""
    with open_app(data) as app, app.database.reading() as session:
        failed, count = jobs.list_failed(session), jobs.count_failed(session)
    table = Table("id", "job", "attempts", "error", "failed")
    for job in failed:
        moment = clock.iso(job.finished_at) if job.finished_at is not None else ""
        table.add_row(job.id, job.kind, str(job.attempts), job.error or "", moment)
    console = Console()
    console.print(table if failed else "No job has failed.")
    if count > len(failed):
        console.print(f"{count - len(failed)} older ones are not shown.")


@job_commands.command("retry")
def retry_jobs(
    job_id: Annotated[str | None, typer.Argument(help="Id of the job; all failed jobs if not given.")] = None,
    data: Data = None,
) -> None:
    """Run failed jobs again."""
    with open_app(data) as app, app.database.writing() as session:
        count = jobs.retry_failed(session, job_id)
    if job_id is not None and not count:
        raise NotFound("There is no failed job with this id. List them with: medhub jobs failed")
    Console().print(f"{count} job{'' if count == 1 else 's'} will run again.")


def install(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.add_typer(job_commands, name="jobs")
