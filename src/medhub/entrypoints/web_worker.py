# SPDX-License-Identifier: Apache-2.0
"""An extra web process of a server: ``python -m medhub.entrypoints.web_worker PARENT SOCKET GENERATION``.

The arguments are the process id of the parent and two file descriptors.
"""

from __future__ import annotations

import mmap
import socket
import sys

from medhub.accounts.authentication import Generation
from medhub.entrypoints import server_processes
from medhub.entrypoints.bootstrap import build
from medhub.entrypoints.web import create_app
from medhub.foundation import logging
from medhub.foundation.isolation_worker import end_with_parent
from medhub.foundation.settings import Settings


def main(parent: int, socket_descriptor: int, generation_descriptor: int) -> None:
    """Serve requests until the first process ends."""
    end_with_parent(parent)
    settings = Settings()
    logging.configure(as_json=settings.log_json)
    app = build(settings)
    try:
        shared = Generation(mmap.mmap(generation_descriptor, Generation.BYTES))
        web_app = create_app(app, run_jobs=False, generation=shared)
        server_processes.serve_requests(web_app, socket.socket(fileno=socket_descriptor), settings)
    finally:
        app.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
