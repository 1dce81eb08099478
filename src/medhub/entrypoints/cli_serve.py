# SPDX-License-Identifier: Apache-2.0
"""Commands that run: the server, a worker; and the demonstration."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from medhub.classification.registry import get_classifier
from medhub.entrypoints.bootstrap import build
from medhub.entrypoints.demo import make_demonstration
from medhub.entrypoints.flow import abandoned, handlers
from medhub.entrypoints.server_processes import answer, dicom_listener, listen, others, shared_generation
from medhub.errors import MedhubError
from medhub.export.tasks import destroy_expired_exports
from medhub.foundation import logging
from medhub.foundation.app_context import AppContext
from medhub.foundation.jobs import Runner
from medhub.foundation.settings import Settings
from medhub.ingest.service import destroy_expired
from medhub.records.pathway import all_pathways
from medhub.records.service import delete_orphaned_blobs

Data = Annotated[
    Path | None, typer.Option("--data", help="Folder of the database, blobs and keys; MEDHUB_DATA if not given.")
]
HOUSEKEEPING_S = 3600


def _open(data: Path | None) -> AppContext:
    settings = Settings(data=data.absolute()) if data is not None else Settings()
    logging.configure(as_json=settings.log_json)
    return build(settings)


def serve(
    data: Data = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 if not given.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 8000 if not given.")] = None,
    processes: Annotated[
        int | None, typer.Option(help="Processes that answer requests; 1 if not given.", min=1, max=64)
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Set up the demonstration project if it is not there.")] = False,
) -> None:
    """Start everything: web server, job runner, decoding processes, on an embedded database unless told otherwise."""
    from medhub.entrypoints.web import create_app

    app = _open(data)
    console = Console(stderr=True, highlight=False)
    settings = app.settings
    address, number = host or settings.host, port if port is not None else settings.port
    listening = listen(address, number)
    if demo:
        make_demonstration(app, console)
    for pathway in all_pathways(settings).values():
        try:
            get_classifier(settings, pathway.classifier)
        except MedhubError as error:
            console.print(
                f"The pathway {pathway.name} has no classifier, so all its images go to people: {error.message}"
            )
    app.blobs.sweep()
    generation, descriptor = shared_generation()
    count = processes or settings.processes
    stop = _start_housekeeping(app)
    number = listening.getsockname()[1]
    console.print(f"Medhub is at http://{address}:{number}  (data in {settings.data}; Ctrl+C ends it)", soft_wrap=True)
    try:
        with others(count - 1, listening, descriptor, settings), dicom_listener(settings):
            answer(create_app(app, generation=generation), listening, settings)
    finally:
        stop.set()
        app.close()


def _start_housekeeping(app: AppContext) -> threading.Event:
    """Destroy what has expired, now and every hour, until the event is set."""
    stop = threading.Event()

    def keep() -> None:
        log = logging.get_logger()
        while True:
            try:
                destroy_expired(app)
                destroy_expired_exports(app)
                delete_orphaned_blobs(app)
                app.database.truncate_journal()
            except Exception as error:
                log.error("housekeeping.failed", error=type(error).__name__)
            if stop.wait(HOUSEKEEPING_S):
                return

    threading.Thread(target=keep, name="housekeeping", daemon=True).start()
    return stop


def worker(
    data: Data = None,
    threads: Annotated[int, typer.Option(help="Jobs that run side by side.", min=1, max=64)] = 1,
) -> None:
    """Run jobs beside the server, on this machine or on another that reaches the same database and blobs."""
    app = _open(data)
    runners = [
        Runner(app.database, handlers(app), abandoned=abandoned(app), lease_s=app.settings.job_lease_s)
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
    """Set up the demonstration project: accounts for each role, patients, real cell images."""
    app = _open(data)
    try:
        make_demonstration(app, Console(stderr=True, highlight=False))
    finally:
        app.close()


def install(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.command("serve")(serve)
    cli.command("worker")(worker)
    cli.command("demo")(demo)
