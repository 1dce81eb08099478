# SPDX-License-Identifier: Apache-2.0
"""The DICOM listener as a process beside the web server: ``python -m medhub.entrypoints.dimse.process PARENT``."""

from __future__ import annotations

import signal
import sys
import threading

from rich.console import Console

from medhub.entrypoints.assembly import build
from medhub.entrypoints.dimse import listener
from medhub.errors import MedhubError
from medhub.foundation import logging
from medhub.foundation.installation import Installation
from medhub.foundation.isolated import end_with_parent
from medhub.foundation.settings import Settings


def listen(house: Installation) -> None:
    """Listen until the process is asked to end."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    settings, console = house.settings, Console(stderr=True, highlight=False)

    def ready(port: int) -> None:
        way = " (TLS)" if settings.dicom_tls_certificate is not None else ""
        console.print(
            f"DICOM nodes reach Medhub at {settings.dicom_host}:{port}{way} as {settings.dicom_ae_title}",
            soft_wrap=True,
        )

    listener.run(house, ready, ended)


def main(parent: int) -> None:
    """Listen until the web server ends."""
    end_with_parent(parent)
    settings = Settings()
    logging.configure(as_json=settings.log_json)
    house = build(settings, migrate=False)
    try:
        listen(house)
    except MedhubError as error:
        print(error.message, file=sys.stderr)  # noqa: T201  # as the command line does
        raise SystemExit(5) from None
    finally:
        house.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
