# SPDX-License-Identifier: Apache-2.0
"""The DICOM listener as a process: ``python -m medhub.entrypoints.dimse.listener_process PARENT``."""

from __future__ import annotations

import signal
import sys
import threading

from rich.console import Console

from medhub.entrypoints.bootstrap import build
from medhub.entrypoints.dimse import listener
from medhub.errors import MedhubError
from medhub.foundation import logging
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation_worker import end_with_parent
from medhub.foundation.settings import Settings


def listen(app: AppContext) -> None:
    """Listen until SIGINT or SIGTERM."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    settings, console = app.settings, Console(stderr=True, highlight=False)

    def ready(port: int) -> None:
        tls = " (TLS)" if settings.dicom_tls_certificate is not None else ""
        console.print(
            f"DICOM nodes reach Medhub at {settings.dicom_host}:{port}{tls} as {settings.dicom_ae_title}",
            soft_wrap=True,
        )

    listener.run(app, ready, ended)


def main(parent: int) -> None:
    """Listen until the web server ends."""
    end_with_parent(parent)
    settings = Settings()
    logging.configure(as_json=settings.log_json)
    app = build(settings, migrate=False)
    try:
        listen(app)
    except MedhubError as error:
        print(error.message, file=sys.stderr)  # noqa: T201  # as the command line does
        raise SystemExit(5) from None
    finally:
        app.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
