# SPDX-License-Identifier: Apache-2.0
"""The commands ``serve``, ``worker`` and ``demo``."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from medhub.accounts.authentication import delete_ended_sign_ins
from medhub.accounts.sign_in_throttle import delete_old_failures
from medhub.classification.registry import get_classifier
from medhub.entrypoints.bootstrap import build
from medhub.entrypoints.cli_data_folder import Data, load_settings
from medhub.entrypoints.demo import create_demonstration
from medhub.entrypoints.flow import failure_handlers, job_handlers
from medhub.entrypoints.server_processes import (
    dicom_listener,
    extra_processes,
    listen,
    serve_requests,
    shared_generation,
)
from medhub.errors import MedhubError
from medhub.export.tasks import destroy_expired_exports
from medhub.foundation import logging
from medhub.foundation.app_context import AppContext
from medhub.foundation.jobs import Runner
from medhub.ingest.service import destroy_expired
from medhub.records.pathway import all_pathways
from medhub.records.patient_blobs import delete_orphaned_blobs
from medhub.reports.service import enqueue_missing_reports

HOUSEKEEPING_S = 3600


def _open_app(data: Path | None) -> AppContext:
    settings = load_settings(data)
    logging.configure(as_json=settings.log_json)
    return build(settings)


def serve(
    data: Data = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; default: 8000.")] = None,
    processes: Annotated[
        int | None, typer.Option(help="Processes that answer requests; default: 1.", min=1, max=64)
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Create the demonstration project if it does not exist.")
    ] = False,
) -> None:
    """Start the web server, the job runner and the decoding processes; the default database is SQLite."""
    from medhub.entrypoints.web import create_app

    app = _open_app(data)
    console = Console(stderr=True, highlight=False)
    settings = app.settings
    address, number = host or settings.host, port if port is not None else settings.port
    listening = listen(address, number)
    for pathway in all_pathways(settings).values():
        try:
            get_classifier(settings, pathway.classifier)
        except MedhubError as error:
            console.print(
                f"The pathway {pathway.name} has no classifier, so its images get no predictions: {error.message}"
            )
    app.blobs.sweep()
    generation, descriptor = shared_generation()
    count = processes or settings.processes
    stop = _start_housekeeping(app)
    number = listening.getsockname()[1]
    accounts = create_demonstration(app, console) if demo else None
    console.print(
        f"Medhub is at http://{address}:{number}  (data in {settings.data}; press Ctrl+C to stop)", soft_wrap=True
    )
    if accounts is not None:  # last: nothing may push the passwords, which are shown once, out of sight
        console.print(accounts)
    try:
        with extra_processes(count - 1, listening, descriptor, settings), dicom_listener(settings):
            serve_requests(create_app(app, generation=generation), listening, settings)
    finally:
        stop.set()
        app.close()


def _start_housekeeping(app: AppContext) -> threading.Event:
    """Delete expired data now and every hour, until the event is set."""
    stop = threading.Event()

    def clean_up() -> None:
        log = logging.get_logger()
        while True:
            try:
                destroy_expired(app)
                destroy_expired_exports(app)
                delete_orphaned_blobs(app)
                delete_old_failures(app)
                delete_ended_sign_ins(app)
                enqueue_missing_reports(app)
                app.database.truncate_journal()
            except Exception as error:
                log.error("housekeeping.failed", error=type(error).__name__)
            if stop.wait(HOUSEKEEPING_S):
                return

    threading.Thread(target=clean_up, name="housekeeping", daemon=True).start()
    return stop


def worker(
    data: Data = None,
    threads: Annotated[int, typer.Option(help="Number of jobs that run at the same time.", min=1, max=64)] = 1,
) -> None:
    """Run jobs in addition to the server, on this machine or another one with access to the database and the blobs."""
    app = _open_app(data)
    runners = [
        Runner(app.database, job_handlers(app), abandoned=failure_handlers(app), lease_s=app.settings.job_lease_s)
        for _ in range(threads)
    ]
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    for runner in runners:
        runner.start()
    ended.wait()
    for runner in runners:
        runner.stop()
    app.close()


def demo(data: Data = None) -> None:
    """Create the demonstration project: an account for each role, patients, and cell images."""
    app = _open_app(data)
    try:
        console = Console(stderr=True, highlight=False)
        accounts = create_demonstration(app, console)
        if accounts is not None:
            console.print(accounts)
    finally:
        app.close()


def install(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.command("serve")(serve)
    cli.command("worker")(worker)
    cli.command("demo")(demo)
