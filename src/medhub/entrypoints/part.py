# SPDX-License-Identifier: Apache-2.0
"""One more web process of a server: ``python -m medhub.entrypoints.part PARENT SOCKET GENERATION``.

The numbers are the parent's process and two descriptors.
"""

from __future__ import annotations

import mmap
import socket
import sys

from medhub.accounts.signing_in import Generation
from medhub.entrypoints import processes
from medhub.entrypoints.assembly import build
from medhub.entrypoints.web import create_app
from medhub.foundation import logging
from medhub.foundation.isolated import end_with_parent
from medhub.foundation.settings import Settings


def main(parent: int, listening: int, generation: int) -> None:
    """Answer requests until the first process ends."""
    end_with_parent(parent)
    settings = Settings()
    logging.configure(as_json=settings.log_json)
    house = build(settings)
    try:
        shared = Generation(mmap.mmap(generation, Generation.BYTES))
        app = create_app(house, run_jobs=False, generation=shared)
        processes.answer(app, socket.socket(fileno=listening), settings)
    finally:
        house.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
